"""The index behind the search in chat logs."""

from sqlalchemy import text

from bot.store import search
from tests.support.station import WANG, House


async def test_a_damaged_message_does_not_keep_the_others_from_being_found(any_house: House) -> None:
    house = any_house
    for said in ("楼上漏水了", "楼道里堆满纸箱", "门口路灯坏了"):
        await house.hear(said, WANG)
    damaged, *_ = [row.id for row in await house.heard()]
    async with house.store.write() as session:
        await session.execute(
            text("UPDATE messages SET body = :noise WHERE id = :id"), {"noise": bytes(40), "id": damaged}
        )
    while True:
        async with house.store.write() as session:
            if not await search.index_pending(session, house.station.id, lambda words: set(words)):
                break
    async with house.store.read() as session:
        for word, count in (("路", 1), ("纸", 1), ("漏", 0)):
            wanted = search.Criteria(words=(word,), author="resident")
            found, total = await search.search(session, house.station.id, wanted)
            assert (len(found), total) == (count, count)
