"""The station's communities and who answers for them."""

from pydantic import Field

from bot.api.call import Call
from bot.api.shapes import Page, Paged, Person, Place
from bot.store import listings
from bot.store.station_queries import beats


class CommunityAnswer(Place):
    code: str = Field(description="印在二维码里的代码，不会改变")
    officers: tuple[Person, ...]


class Communities(Page):
    communities: tuple[CommunityAnswer, ...]


async def show_all(call: Call, asked: Paged) -> Communities:
    async with call.store.read() as session:
        rows, more = await listings.communities(session, call.station_id, page=asked.page)
        officers = (await beats(session, call.station_id)).by_community
    return Communities(
        page=asked.page,
        more=more,
        communities=tuple(
            CommunityAnswer(
                id=row.id,
                name=row.name,
                code=row.code,
                officers=tuple(Person.of(officer) for officer in officers.get(row.id, ())),
            )
            for row in rows
        ),
    )
