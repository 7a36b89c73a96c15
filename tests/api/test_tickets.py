"""A resident's matter from the queue to its end, by API; what is shown, what is kept about who looked."""

from typing import Any

import pytest

from bot.actions.audit import check_chain
from bot.store import listings
from bot.store.models import Conversation
from tests.support.station import FrozenClock

from .conftest import HOME, NAME, PHONE, QUESTION, House


async def test_a_matter_from_the_queue_to_its_end(house: House) -> None:
    chen, zhang = await house.caller("chen"), await house.caller("zhang")
    [waiting] = (await chen.read("/tickets", state="open"))["tickets"]
    path = f"/tickets/{waiting['id']}"
    assert (waiting["subject"], waiting["resident"]["name"], waiting["assignee"]) == (QUESTION, "王**", None)

    assert (await chen.post(f"{path}/reply", {"text": "您好"})).slug == "not-allowed"
    assert (await chen.do(f"{path}/take"))["assignee"]["name"] == "陈建国"
    assert (await chen.do(f"{path}/take"))["state"] == "assigned", "taking twice is taking once"
    assert (await zhang.post(f"{path}/take")).slug == "conflict"
    said = await chen.do(f"{path}/reply", {"text": "请带户口簿\r\n到所里办理。 "})
    assert said["ticket"]["answered_at"] is not None
    noted = await chen.do(f"{path}/note", {"text": "已核对户籍。"})
    assert (await chen.do(f"{path}/wait"))["state"] == "waiting"

    handed = await chen.do(f"{path}/hand-over", {"to": house.furniture.officers["zhang"]})
    assert (handed["state"], handed["assignee"]["name"]) == ("assigned", "张敏")
    assert (await chen.post(f"{path}/close", {"outcome": "resolved"})).slug == "not-allowed"
    assert (await zhang.do(f"{path}/release"))["assignee"] is None
    await zhang.do(f"{path}/take")
    refused = await zhang.post(f"{path}/close", {"outcome": "resolved", "money_saved_yuan": 5000})
    assert (refused.status, "劝阻诈骗成功" in refused.body["detail"]) == (422, True), "money is saved from a fraud only"
    closed = await zhang.do(
        f"{path}/close", {"outcome": "fraud_stopped", "money_saved_yuan": 5000, "farewell": "祝您顺利。"}
    )
    assert (closed["state"], closed["outcome"], closed["money_saved_yuan"]) == ("closed", "fraud_stopped", 5000)
    assert (await zhang.post(f"{path}/reply", {"text": "还有"})).slug == "conflict"

    whole = await chen.read(path)
    assert [(line["author"], line["text"]) for line in whole["messages"]] == [
        ("resident", QUESTION),
        ("bot", "已为您转给民警。"),
        ("officer", "请带户口簿\n到所里办理。"),
        ("officer", "祝您顺利。"),
    ]
    assert whole["messages"][0]["understood"] == {
        "decision": "officer",
        "topic": "idcard.lost",
        "candidates": [["idcard.lost", 0.91], ["idcard.renew", 0.4]],
    }
    assert whole["messages"][2] | {"at": ""} == {
        "id": said["message_id"],
        "at": "",
        "author": "officer",
        "officer": {"id": house.furniture.officers["chen"], "name": "陈建国"},
        "kind": "text",
        "text": "请带户口簿\n到所里办理。",
        "forgotten": False,
        "understood": None,
        "delivery": {"state": "queued", "reason": None, "waits": False, "unknown": False},
    }
    assert [(note["id"], note["text"]) for note in whole["notes"]] == [(noted["note_id"], "已核对户籍。")]
    assert [event["action"] for event in whole["events"]] == [
        f"ticket.{what}" for what in ("opened", "taken", "waiting", "handed_over", "released", "taken", "closed")
    ]
    async with house.store.read() as session:
        assert (await session.get_one(Conversation, house.furniture.conversation)).owner_id is None
        assert not (await check_chain(session, house.station.id)).broken


async def test_while_an_officer_holds_it_the_conversation_is_his(house: House) -> None:
    chen = await house.caller("chen")
    await chen.do(f"/tickets/{house.ticket}/take")
    async with house.store.read() as session:
        conversation = await session.get_one(Conversation, house.furniture.conversation)
    assert conversation.owner_id == house.furniture.officers["chen"]


async def test_personal_data_is_masked_everywhere(house: House) -> None:
    chief = await house.caller("suo")
    whole = await chief.read(f"/tickets/{house.ticket}")
    assert whole["resident"] == {
        "id": whole["resident"]["id"], "name": "王**", "phone": "138****5678", "home": "3幢****", "language": "zh",
    }  # fmt: skip
    heard = [
        whole,
        await chief.read("/tickets"),
        await chief.do("/search", {"reason": "核实投诉"}),
        await chief.do("/broadcasts/reach", {"audience": {}}),
    ]
    for personal in (NAME, PHONE, HOME, "visitor-1"):
        assert personal not in str(heard)


async def test_looking_at_a_ticket_is_kept_once_an_hour(house: House, time: FrozenClock) -> None:
    chen, fu = await house.caller("chen"), await house.caller("fu")
    for caller in (chen, chen, fu):
        await caller.read(f"/tickets/{house.ticket}")
    time.forward(minutes=61)
    await chen.read(f"/tickets/{house.ticket}")
    people = house.furniture.officers
    assert [event.actor_id for event in await house.audit("ticket.viewed")] == [
        people["chen"],
        people["fu"],
        people["chen"],
    ]
    assert {event.ip for event in await house.audit("ticket.viewed")} == {"127.0.0.1"}


async def test_the_list_can_be_narrowed(house: House) -> None:
    chen = await house.caller("chen")
    assert (await chen.read("/tickets", mine="true"))["tickets"] == []
    await chen.do(f"/tickets/{house.ticket}/take")
    assert len((await chen.read("/tickets", mine="true", state="assigned"))["tickets"]) == 1
    assert (await chen.read("/tickets", state="open"))["tickets"] == []
    assert (await (await house.caller("zhang")).read("/tickets", mine="true"))["tickets"] == []


async def test_a_long_list_comes_in_pages(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    chen = await house.caller("chen")
    draft = {"title": "提醒", "body": "正文", "audience": {}}
    numbers = [(await chen.do("/broadcasts", draft))["id"] for _ in range(3)]
    monkeypatch.setattr(listings, "PAGE_ROWS", 2)
    first, second = await chen.read("/broadcasts"), await chen.read("/broadcasts", page="2")
    assert [row["id"] for row in first["broadcasts"] + second["broadcasts"]] == numbers[::-1]
    assert (first["page"], first["more"], second["page"], second["more"]) == (1, True, 2, False)
    assert (await chen.read("/tickets", page="1000"))["tickets"] == []


async def test_a_long_conversation_is_read_backwards(house: House) -> None:
    chen = await house.caller("chen")
    path = f"/tickets/{house.ticket}"
    await chen.do(f"{path}/take")
    said = await chen.do(f"{path}/reply", {"text": "最后一句"})
    earlier = await chen.read(path, before=str(said["message_id"]))
    assert [line["text"] for line in earlier["messages"]] == [QUESTION, "已为您转给民警。"]
    assert earlier["older"] is False


@pytest.mark.parametrize("to", ["guan", "shen", "elsewhere", "missing"])
async def test_a_matter_goes_only_to_somebody_here_who_may_answer(to: str, houses: list[House]) -> None:
    here, next_door = houses
    chen = await here.caller("chen")
    await chen.do(f"/tickets/{here.ticket}/take")
    number = {"elsewhere": next_door.furniture.officers["zhang"], "missing": 987654} | here.furniture.officers
    heard = await chen.post(f"/tickets/{here.ticket}/hand-over", {"to": number[to]})
    assert heard.status == 422
    assert (heard.slug, heard.fields) == (("refused", []) if to in ("guan", "shen") else ("invalid", ["to"]))
    assert (await chen.read(f"/tickets/{here.ticket}"))["ticket"]["assignee"]["name"] == "陈建国"


async def test_colleagues_are_those_a_matter_can_go_to(house: House) -> None:
    whole: dict[str, Any] = await (await house.caller("chen")).read(f"/tickets/{house.ticket}")
    assert {person["name"] for person in whole["colleagues"]} == {"张敏", "傅小军", "索立新"}
