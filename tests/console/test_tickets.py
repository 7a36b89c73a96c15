"""The queue and one ticket: who sees what, who may speak, what is kept, what is logged."""

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import get_args

import pytest
from aiohttp import FormData
from sqlalchemy import select, update

from bot import clock
from bot.actions import conversations, tickets
from bot.actions.conversations import Address
from bot.config import ChannelSettings
from bot.console.learning_texts import FAMILIES
from bot.console.texts import CHANNELS
from bot.message import MessageKind
from bot.store.live import Kind
from bot.store.models import (
    Author,
    Conversation,
    Delivery,
    DeliveryState,
    Direction,
    Outcome,
    Priority,
    ResidentAddress,
    StoredMessage,
    TicketState,
)
from tests.console.house import PNG, Browser, House, MakeHouse
from tests.support.station import FrozenClock


def page_of(house: House, ticket: str = "open") -> str:
    return f"/console/tickets/{house.first.tickets[ticket]}"


async def said_to_resident(house: House, ticket: str = "open") -> list[StoredMessage]:
    row = await house.ticket(ticket)
    async with house.store.read() as session:
        query = select(StoredMessage).where(
            StoredMessage.conversation_id == row.conversation_id,
            StoredMessage.direction == Direction.OUT,
            StoredMessage.author == Author.OFFICER,
        )
        return list((await session.execute(query.order_by(StoredMessage.id))).scalars())


async def owner(house: House, ticket: str = "open") -> int | None:
    row = await house.ticket(ticket)
    async with house.store.read() as session:
        return (await session.get_one(Conversation, row.conversation_id)).owner_id


async def end_deliveries(house: House, state: DeliveryState, reason: str | None = None) -> None:
    async with house.store.write() as session:
        await session.execute(update(Delivery).values(state=state, reason=reason))


# --- the queue ---


async def test_the_queue_is_urgent_first_then_own_communities_then_the_oldest(house: House) -> None:
    station = house.first
    async with house.store.write() as session:
        row = await conversations.find(session, station.station.id, Address("web", f"visitor-{station.residents[2]}"))
        assert row is not None
        await tickets.open_ticket(
            session, row, priority=Priority.HIGH, topic=None, subject="楼上漏水", message_id=None,
            now=clock.now() - timedelta(hours=3), timezone="Asia/Shanghai",
        )  # fmt: skip
    zhang = await (await house.logged_in("zhang")).read("/console/tickets")  # answers for the second community only
    assert zhang.index("骗子转账") < zhang.index("其他社区") < zhang.index("楼上漏水") < zhang.index("身份证丢了")
    async with house.store.write() as session:
        lost = await session.get_one(type(await house.ticket("open")), station.tickets["open"])
        lost.community_id = station.communities[1]
    zhang = await (await house.logged_in("zhang")).read("/console/tickets")
    assert zhang.index("骗子转账") < zhang.index("我的社区") < zhang.index("身份证丢了") < zhang.index("楼上漏水")


async def test_the_queue_masks_residents_and_tells_how_long_they_wait(house: House) -> None:
    page = await (await house.logged_in("chen")).read("/console/tickets")
    assert "王**" in page
    assert "王小明" not in page
    assert "已等 7 分钟" in page
    assert "身份证丢失补办" in page, "the title of the topic"


async def test_own_tickets_say_who_waits_for_an_answer(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    assert "待您回复" not in await browser.read("/console/tickets?tab=mine")
    await house.resident_says("open", "照片还要带吗")
    assert "待您回复" in await browser.read("/console/tickets?tab=mine")
    assert "身份证丢了" not in await browser.read("/console/tickets?tab=open")
    other = await (await house.logged_in("zhang")).read("/console/tickets?tab=mine")
    assert "手上没有" in other


async def test_calls_for_help_are_announced_on_every_page_until_somebody_takes_them(house: House) -> None:
    browser = await house.logged_in("fu")
    assert f'href="{page_of(house, "urgent")}"' in await browser.read("/console/alarm")
    await house.take("chen", "urgent")
    assert "href" not in await browser.read("/console/alarm")


async def call_for_help(house: House, ticket: str = "open") -> None:
    """The resident of a ticket is in danger now, as the urgent handler writes it down."""
    row = await house.ticket(ticket)
    async with house.store.write() as session:
        where = Address("web", f"visitor-{row.resident_id}")
        conversation = await conversations.find(session, row.station_id, where)
        assert conversation is not None
        await tickets.open_ticket(
            session, conversation, priority=Priority.URGENT, topic="emergency.fraud_now", subject="骗子让我转账",
            message_id=None, now=clock.now(), timezone="Asia/Shanghai",
        )  # fmt: skip


FRAGMENT = {"HX-Request": "true"}  # what an open page fetches when it hears that something moved


async def rings(browser: Browser, number: int) -> bool:
    """In the banner and at the head of the queue, or in neither."""
    banner = await (await browser.get("/console/alarm", headers=FRAGMENT)).text()
    queue = await (await browser.get("/console/tickets?tab=open", headers=FRAGMENT)).text()
    in_banner, in_queue = f'data-urgent="{number}"' in banner, "处理中的工单又有紧急消息" in queue
    assert in_banner == in_queue
    if in_queue:
        assert queue.index("处理中的工单又有紧急消息") < queue.index(f"/console/tickets/{number}")
    return in_banner


async def test_a_call_for_help_on_a_held_ticket_rings_for_its_officer_first_and_then_on_every_page(
    house: House, frozen: FrozenClock
) -> None:
    await house.take("chen", "open")
    chen, zhang = await house.logged_in("chen"), await house.logged_in("zhang")
    number = house.first.tickets["open"]
    assert not await rings(chen, number)
    await call_for_help(house)
    assert await rings(chen, number)
    assert not await rings(zhang, number)
    frozen.forward(minutes=1)
    assert await rings(chen, number)
    assert await rings(zhang, number)
    assert "陈建国接手的工单" in await zhang.read("/console/alarm")


async def test_a_page_that_lies_open_does_not_silence_the_call_and_its_officer_reading_it_does(
    house: House, frozen: FrozenClock
) -> None:
    await house.take("chen", "open")
    chen, fu = await house.logged_in("chen"), await house.logged_in("fu")
    number = house.first.tickets["open"]
    await call_for_help(house)
    frozen.forward(minutes=1)
    fragment = await (await chen.get(page_of(house), headers=FRAGMENT)).text()
    assert "还没有人回应" in fragment
    assert "您可以接管" in await fu.read(page_of(house))  # a colleague who looks has not answered
    assert await rings(chen, number)
    assert await rings(fu, number)
    assert "还没有人回应" not in await chen.read(page_of(house))
    assert not await rings(chen, number)
    assert not await rings(fu, number)
    assert len(await house.audited("ticket.attended")) == 1


async def test_a_colleague_takes_over_a_call_or_silences_it(house: House, frozen: FrozenClock) -> None:
    await house.take("chen", "open")
    frozen.forward(hours=9)  # 18:30: he went off duty
    await call_for_help(house)
    fu, number = await house.logged_in("fu"), house.first.tickets["open"]
    assert await rings(fu, number)
    response = await fu.post(f"{page_of(house)}/attend")
    assert response.status == 303
    assert not await rings(fu, number)
    await call_for_help(house)
    assert (await fu.post(f"{page_of(house)}/take")).status == 303
    assert await owner(house) == house.first.officers["fu"]
    assert not await rings(fu, number)


async def test_the_resident_hears_that_the_officer_is_writing(house: House) -> None:
    chen, zhang = await house.logged_in("chen"), await house.logged_in("zhang")
    await house.take("chen", "open")
    async with house.store.live.listen() as heard:
        assert (await zhang.post(f"{page_of(house)}/typing")).status == 403
        assert heard.empty()
        assert (await chen.post(f"{page_of(house)}/typing")).status == 204
        change = heard.get_nowait()
    assert (change.kind, change.id, change.what) == (
        Kind.CONVERSATION,
        (await house.ticket("open")).conversation_id,
        "typing",
    )


# --- reading ---


async def test_a_ticket_shows_what_was_said_and_how_it_was_understood(house: House) -> None:
    page = await (await house.logged_in("chen")).read(page_of(house))
    for words in (
        "身份证丢了怎么补办",
        "已为您转给民警。",
        "转给民警：身份证丢失补办",
        "91 分",
        "依据的词：身份证",
        "进入队列",
    ):
        assert words in page
    for personal in ("王小明", "13812345678", "3幢502室"):
        assert personal not in page
    for masked in ("王**", "138****5678", "3幢****", "1956 年"):
        assert masked in page


KINDS: Mapping[str, tuple[MessageKind, str, dict[str, object] | None, str]] = {
    "location": (MessageKind.LOCATION, "", {"location": [29.7123456, 120.2, "枫桥镇步森大道"]}, "29.71235，120.20000"),
    "voice": (MessageKind.VOICE, "我在菜市场门口", None, "我在菜市场门口"),
    "deaf": (MessageKind.VOICE, "", None, "平台没有识别出文字"),
    "link": (MessageKind.LINK, "", {"url": "http://bad.example/x", "extra": {"title": "领补贴"}}, "领补贴"),
    "coming": (MessageKind.IMAGE, "", {"media": "platform-7"}, "正在从平台获取"),
    "gone": (MessageKind.IMAGE, "", {}, "平台已不再保存"),
    "left": (MessageKind.EVENT, "", {"event": ["unsubscribe", "", "unsubscribe"]}, "居民取消了关注"),
    "odd": (MessageKind.UNKNOWN, "", {"extra": {"MsgType": "dice"}}, "不支持的消息类型"),
    "script": (MessageKind.TEXT, "<script>alert(1)</script>", None, "&lt;script&gt;alert(1)"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_message_can_be_read(house: House, kind: str) -> None:
    message, body, details, shown = KINDS[kind]
    await house.resident_says("open", body, kind=message, details=details)
    page = await (await house.logged_in("chen")).read(page_of(house))
    assert shown in page
    assert 'href="http://bad.example' not in page


async def test_a_picture_opens_for_the_station_only_and_never_as_a_page(house: House) -> None:
    path = house.address("/console/media/{id:x}")
    response = await (await house.logged_in("chen")).get(path)
    assert await response.read() == PNG
    assert response.content_type == "image/png"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert (await (await house.logged_in("chen", station=1)).get(path)).status == 404
    assert (await (await house.logged_in("guan")).get(path)).status == 403


async def test_long_conversations_are_read_in_pages(house: House) -> None:
    for number in range(120):
        await house.resident_says("open", f"第{number:03d}句")
    browser = await house.logged_in("chen")
    newest = await browser.read(page_of(house))
    assert "第119句" in newest
    assert "第005句" not in newest
    before = newest.partition("?before=")[2].partition('"')[0]
    older = await browser.read(f"{page_of(house)}?before={before}")
    assert "第005句" in older
    assert "第119句" not in older


async def test_looking_is_logged_once_an_hour(house: House) -> None:
    browser = await house.logged_in("chen")
    for _ in range(3):
        await browser.read(page_of(house))
    await (await house.logged_in("zhang")).read(page_of(house))
    viewed = await house.audited("ticket.viewed")
    assert [event.actor_id for event in viewed] == [house.first.officers["chen"], house.first.officers["zhang"]]


async def test_personal_data_is_shown_once_with_a_reason_that_is_kept(house: House) -> None:
    browser = await house.logged_in("chen")
    without = await browser.post(f"{page_of(house)}/reveal", why=" ")
    assert without.status == 422
    assert "13812345678" not in await without.text()
    shown = await browser.post(f"{page_of(house)}/reveal", why="电话核实被骗情况")
    assert shown.status == 200
    for personal in ("王小明", "13812345678", "3幢502室"):
        assert personal in await shown.text()
    assert "13812345678" not in await browser.read(page_of(house)), "a new look hides it again"
    [event] = await house.audited("resident.revealed")
    assert event.why == "电话核实被骗情况"
    assert event.subject == f"resident:{house.first.residents[0]}"
    auxiliary = await house.logged_in("fu")
    assert (await auxiliary.post(f"{page_of(house)}/reveal", why="想看看")).status == 403


async def test_the_topics_to_choose_from_stand_under_their_families(house: House) -> None:
    page = await (await house.logged_in("chen")).read(page_of(house))
    families = re.findall(r'<optgroup label="([^"]+)">(.*?)</optgroup>', page, re.DOTALL)
    names = [name for name, _ in families]
    assert names == [name for family, name in FAMILIES.items() if name in names and family != "emergency"]
    assert 'value="idcard.lost" selected' in dict(families)["身份证"]
    for name, options in families:
        topics = re.findall(r'value="(\w+)\.', options)
        assert topics, name
        assert {FAMILIES[family] for family in topics} == {name}


# --- speaking ---


async def test_an_officer_takes_a_ticket_and_answers(house: House) -> None:
    browser = await house.logged_in("chen")
    assert "接手后才能回复" in await browser.read(page_of(house))
    response = await browser.post(f"{page_of(house)}/take")
    assert response.headers["Location"] == f"{page_of(house)}?done=taken#reply"
    assert await owner(house) == house.first.officers["chen"]
    response = await browser.post(f"{page_of(house)}/reply", text="您好，请带户口簿来补办。")
    assert response.status == 303
    [message] = await said_to_resident(house)
    assert message.body == "您好，请带户口簿来补办。"
    async with house.store.read() as session:
        delivery = (await session.execute(select(Delivery).where(Delivery.message_id == message.id))).scalar_one()
    assert delivery.state is DeliveryState.QUEUED
    page = await browser.read(page_of(house))
    assert "您好，请带户口簿来补办。" in page
    assert "陈建国接手" in page
    assert "等待发送" in page


async def test_only_the_owner_can_send_and_what_the_other_typed_is_kept(house: House) -> None:
    await house.take("chen", "open")
    other = await house.logged_in("zhang")
    response = await other.post(f"{page_of(house)}/reply", text="我这边也核实过了，\n请您放心。")
    assert response.status == 403
    page = await response.text()
    assert "请先接手这条求助" in page
    assert "我这边也核实过了，\n请您放心。" in page
    assert "由陈建国处理中，只有接手的人能回复" in page
    assert await said_to_resident(house) == []
    for deed in ("close", "wait", "release", "hand-over"):
        fields = {"outcome": "resolved", "to": str(house.first.officers["fu"])}
        assert (await other.post(f"{page_of(house)}/{deed}", **fields)).status == 403, deed
    assert (await house.ticket("open")).assignee_id == house.first.officers["chen"]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_of_two_officers_who_take_at_once_one_gets_it(
    make_house: MakeHouse, kind: str, request: pytest.FixtureRequest
) -> None:
    house = await make_house(request.getfixturevalue(f"{kind}_url"))
    first, second = await house.logged_in("chen"), await house.logged_in("zhang")
    answers = await asyncio.gather(*(browser.post(f"{page_of(house)}/take") for browser in (first, second)))
    assert sorted(response.status for response in answers) == [303, 409]
    late = next(response for response in answers if response.status == 409)
    assert "已由同事接手" in await late.text()
    assert len(await house.audited("ticket.taken")) == 1


async def test_an_empty_or_too_long_reply_is_refused_with_a_reason(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    for text, reason in (("  ", "请先写下要回复的内容"), ("长" * 601, "一条回复最多 600 字，现在有 601 字")):
        response = await browser.post(f"{page_of(house)}/reply", text=text)
        assert response.status == 422
        assert reason in await response.text()
    assert await said_to_resident(house) == []


def picture_form(data: bytes, text: str = "") -> FormData:
    form = FormData()
    form.add_field("text", text)
    form.add_field("picture", data, filename="photo.png", content_type="image/png")
    return form


async def test_a_message_that_was_taken_back_is_hidden_on_the_page(house: House) -> None:
    said = await house.resident_says("open", "不该发的话")
    browser = await house.logged_in("chen")
    assert "不该发的话" in await browser.read(page_of(house))
    async with house.store.write() as session:
        (await session.get_one(StoredMessage, said)).recalled = True
    page = await browser.read(page_of(house))
    assert "（已撤回）" in page
    assert "不该发的话" not in page


async def test_the_page_says_that_a_colleague_serves_him_in_the_platform_s_client(house: House) -> None:
    browser = await house.logged_in("chen")
    for servicer, words in (("zhang", "正由 zhang 在企业微信里接待"), ("", "正在企业微信里排队等接待")):
        async with house.store.write() as session:
            row = await house.ticket("open")
            (await session.get_one(Conversation, row.conversation_id)).served_by = servicer
        assert words in await browser.read(page_of(house))


def test_every_channel_has_a_name_officers_know() -> None:
    kinds = {
        get_args(settings.model_fields["kind"].annotation)[0] for settings in get_args(get_args(ChannelSettings)[0])
    }
    assert kinds == set(CHANNELS)
    assert CHANNELS["kf"] == "微信客服"


async def test_a_picture_goes_out_before_its_words(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    response = await browser.post(f"{page_of(house)}/reply", data=picture_form(PNG, "办事地图见上"))
    assert response.status == 303
    picture, words = await said_to_resident(house)
    assert picture.kind is MessageKind.IMAGE
    assert words.body == "办事地图见上"
    shown = await browser.get(f"/console/media/{picture.media_id}")
    assert await shown.read() == PNG


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"<html>not a picture</html>", 422, "只能发送 JPG、PNG、GIF 或 WebP 图片"),
        (PNG + b"\0" * (2 * 1024 * 1024), 422, "图片不能超过 2 MB"),
        (PNG + b"\0" * (4 * 1024 * 1024), 413, "图片请压缩到 2 MB 以内"),
    ],
    ids=["page", "large", "huge"],
)
async def test_what_is_no_picture_or_too_large_is_refused(house: House, data: bytes, status: int, reason: str) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    response = await browser.post(f"{page_of(house)}/reply", data=picture_form(data, "看图"))
    assert response.status == status
    assert reason in await response.text()
    assert await said_to_resident(house) == []


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        (DeliveryState.SENT, None, "已发送"),
        (DeliveryState.DELIVERED, None, "已送达"),
        (DeliveryState.FAILED, "居民已取消关注", "发送失败：居民已取消关注"),
        (DeliveryState.QUEUED, "微信限制：等居民下次发消息时一并送达", "等待发送：微信限制"),
    ],
)
async def test_how_far_a_reply_got_stands_beside_it(
    house: House, state: DeliveryState, reason: str | None, shown: str
) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    await browser.post(f"{page_of(house)}/reply", text="请带户口簿。")
    await end_deliveries(house, state, reason)
    page = await browser.read(page_of(house))
    assert shown in page
    assert ("重发" in page) == (state is DeliveryState.FAILED)


async def test_a_failed_reply_is_sent_again_once_by_its_owner(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    await browser.post(f"{page_of(house)}/reply", text="请带户口簿。")
    await end_deliveries(house, DeliveryState.FAILED, "网络故障")
    [message] = await said_to_resident(house)
    again = f"{page_of(house)}/resend/{message.id}"
    assert (await (await house.logged_in("zhang")).post(again)).status == 403
    assert (await browser.post(again)).status == 303
    twice = await browser.post(again)
    assert twice.status == 409
    assert "现在不需要重发" in await twice.text()
    async with house.store.read() as session:
        query = select(Delivery.state).where(Delivery.message_id == message.id).order_by(Delivery.id)
        assert list((await session.execute(query)).scalars()) == [DeliveryState.FAILED, DeliveryState.QUEUED]
    foreign = f"{page_of(house)}/resend/{message.id + 1000}"
    assert (await browser.post(foreign)).status == 409


async def test_the_officer_is_warned_when_the_resident_has_left(house: House) -> None:
    await house.take("chen", "open")
    async with house.store.write() as session:
        await session.execute(update(ResidentAddress).values(following=False))
    assert "居民已取消关注，请改用电话或上门联系。" in await (await house.logged_in("chen")).read(page_of(house))


async def test_canned_replies_of_the_topic_come_first(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    await browser.post("/console/canned", title="通用问候", body="您好，请稍等。", topic="")
    await browser.post("/console/canned", title="反诈提醒", body="不要转账。", topic="emergency.fraud_now")
    page = await browser.read(page_of(house))
    assert page.index("补办身份证") < page.index("通用问候") < page.index("反诈提醒")
    refused = await browser.post("/console/canned", title="", body="没有标题", topic="")
    assert refused.status == 422
    assert "没有标题" in await refused.text()
    [_, mine] = await house.audited("canned.added")
    await browser.post(f"/console/canned/{mine.subject.removeprefix('canned:')}/remove")
    assert "反诈提醒" not in await browser.read("/console/canned")


# --- notes, handing over, waiting, closing ---


async def test_a_note_stays_inside(house: House) -> None:
    browser = await house.logged_in("zhang")  # needs not own the ticket
    await browser.post(f"{page_of(house)}/note", note="居民情绪激动，注意语气")
    assert "居民情绪激动，注意语气" in await (await house.logged_in("chen")).read(page_of(house))
    assert await said_to_resident(house) == []
    async with house.store.read() as session:
        bodies = (await session.execute(select(StoredMessage.body))).scalars()
        assert not any("情绪激动" in body for body in bodies)
    assert (await browser.post(f"{page_of(house)}/note", note=" ")).status == 422


async def test_a_ticket_is_handed_to_a_colleague_who_can_speak_then(house: House) -> None:
    await house.take("chen", "open")
    chen, zhang = await house.logged_in("chen"), await house.logged_in("zhang")
    assert (await chen.post(f"{page_of(house)}/hand-over")).status == 422
    foreigner = house.houses[1].officers["zhang"]
    assert (await chen.post(f"{page_of(house)}/hand-over", to=str(foreigner))).status == 404
    reviewer = await chen.post(f"{page_of(house)}/hand-over", to=str(house.first.officers["shen"]))
    assert "沈静不能接待居民" in await reviewer.text()
    response = await chen.post(f"{page_of(house)}/hand-over", to=str(house.first.officers["zhang"]))
    assert response.status == 303
    assert "陈建国转交给张敏" in await zhang.read(page_of(house))
    assert (await zhang.post(f"{page_of(house)}/reply", text="您好，我是张敏。")).status == 303
    assert (await chen.post(f"{page_of(house)}/reply", text="还有一句")).status == 403
    assert await owner(house) == house.first.officers["zhang"]


async def test_money_saved_without_a_stopped_fraud_is_refused_and_the_form_keeps_it(house: House) -> None:
    await house.take("chen", "urgent")
    browser = await house.logged_in("chen")
    response = await browser.post(f"{page_of(house, 'urgent')}/close", outcome="no_reply", money="5000")
    page = await response.text()
    assert response.status == 422
    assert "只有办理结果是“劝阻诈骗成功”才能填写挽回金额" in page
    assert 'value="no_reply" selected' in page
    assert 'name="money" inputmode="numeric" maxlength="12" value="5000"' in page
    assert (await house.ticket("urgent")).state is TicketState.ASSIGNED


async def test_who_agreed_on_the_web_page_followed_nothing(house: House) -> None:
    for name in ("consent", "subscribe"):
        event = ["subscribe", "", name]
        await house.resident_says("open", "", kind=MessageKind.EVENT, details={"event": event}, decision="event")
    browser = await house.logged_in("chen")
    page = await browser.read(page_of(house))
    assert (page.count("居民同意保存对话"), page.count("居民关注了公众号")) == (1, 1)


async def test_a_ticket_waits_and_goes_back_to_the_queue(house: House) -> None:
    await house.take("chen", "open")
    browser = await house.logged_in("chen")
    await browser.post(f"{page_of(house)}/wait")
    assert (await house.ticket("open")).state is TicketState.WAITING
    await browser.post(f"{page_of(house)}/release")
    assert (await house.ticket("open")).state is TicketState.OPEN
    assert await owner(house) is None


async def test_closing_takes_an_outcome_and_may_say_good_bye(house: House) -> None:
    await house.take("chen", "urgent")
    browser = await house.logged_in("chen")
    path = f"{page_of(house, 'urgent')}/close"
    for fields, reason in (
        ({"farewell": "再见"}, "请选择办理结果"),
        ({"outcome": "resolved", "money": "三千"}, "挽回金额请填整数"),
        ({"outcome": "resolved", "money": "99999999999"}, "0 到 10 亿"),
    ):
        response = await browser.post(path, **fields)
        assert response.status == 422
        assert reason in await response.text()
    response = await browser.post(path, outcome="fraud_stopped", money="3000", farewell="以后接到这类电话先问我们。")
    assert response.status == 303
    ticket = await house.ticket("urgent")
    assert (ticket.state, ticket.outcome, ticket.money_saved_yuan) == (TicketState.CLOSED, Outcome.FRAUD_STOPPED, 3000)
    assert [message.body for message in await said_to_resident(house, "urgent")] == ["以后接到这类电话先问我们。"]
    assert await owner(house, "urgent") is None
    page = await browser.read(page_of(house, "urgent"))
    assert "陈建国办结：劝阻诈骗成功" in page
    assert "挽回 3,000 元" in page
    assert (await browser.post(f"{page_of(house, 'urgent')}/reply", text="还有")).status == 409


async def test_forms_of_all_kinds_that_make_no_sense_are_no_error_of_ours(house: House) -> None:
    await house.take("chen", "open")
    browser: Browser = await house.logged_in("chen")
    for path, fields in (
        ("reply", {"text": "好\x00的"}),
        ("hand-over", {"to": "九"}),
        ("hand-over", {"to": "9" * 30}),
        ("close", {"outcome": "eaten"}),
        ("note", {"note": "\x00"}),
    ):
        assert (await browser.post(f"{page_of(house)}/{path}", **fields)).status in (303, 422), (path, fields)
    broken = await browser.session.post(
        browser.root + f"{page_of(house)}/note",
        data=b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\ncut off',
        headers={"X-CSRF-Token": browser.csrf, "Content-Type": "multipart/form-data; boundary=x"},
    )
    assert broken.status < 500
    latin = await browser.session.post(
        browser.root + f"{page_of(house)}/note",
        data=b"note=\xff\xfe",
        headers={"X-CSRF-Token": browser.csrf, "Content-Type": "application/x-www-form-urlencoded; charset=nonsense"},
    )
    assert latin.status == 400
