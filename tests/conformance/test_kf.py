"""微信客服 against the emulator: checks 51 to 56, and what a resident and an officer see of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from bot.actions import deliveries, media, outbox, tickets
from bot.actions.audit import Actor
from bot.actions.messages import HANDLING_LEASE
from bot.actions.streams import LEASE
from bot.app import create_app
from bot.channels.kf import Kf
from bot.config import parse_config
from bot.message import MessageKind, Reply
from bot.store.models import (
    Author,
    Delivery,
    DeliveryState,
    Direction,
    MessageState,
    PulledStream,
    ResidentAddress,
    StoredMessage,
    Ticket,
    TicketState,
)
from scheduler import jobs
from scheduler.outbox import Outbox
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.wecom.kf import HUMAN, POOL, CustomerService
from tests.fakes.wechat.wecom.pusher import CorpPusher
from tests.support.child import killed_while
from tests.support.kf import ACCOUNT, SETTINGS, kf_of
from tests.support.knowledge import KnownSayings
from tests.support.rows import first_fast
from tests.support.small_pictures import jpeg
from tests.support.station import CHANNEL, DATA_KEY, NAME, FrozenClock, House, until

WANG, ZHAO = "wmWangOfFenglin", "wmZhaoOfHubin"
JPEG = jpeg()
QUESTION, ANSWER = "身份证丢了怎么办", "带户口簿到任一派出所补办。"


@dataclass
class Desk:
    """A station with a 微信客服 account, and the platform it hangs on."""

    house: House
    kf: Kf
    wechat: FakeWeChat
    pusher: CorpPusher

    @property
    def platform(self) -> CustomerService:
        return self.wechat.wecom.kf

    async def quiet(self) -> None:
        """What was begun has ended: fetched, decided, sent."""
        await self.decided()
        await self.house.work()

    async def decided(self) -> None:
        """All but the sending has ended."""
        while (self.kf._reading is not None and not self.kf._reading.done()) or self.kf._tasks:
            await asyncio.wait({*self.kf._tasks, *([self.kf._reading] if self.kf._reading else [])})
        await self.house.dispatcher.close()

    async def says(self, text: str, who: str = WANG) -> str:
        number = await self.platform.writes(ACCOUNT, who, text)
        await self.quiet()
        return number

    def phone(self, who: str = WANG) -> list[str]:
        """What the resident reads of ours."""
        return [bubble.words for bubble in self.platform.chat(ACCOUNT, who) if bubble.via == "api"]

    def session(self, who: str = WANG) -> Any:
        return self.platform.session(ACCOUNT, who)

    def menu(self, who: str = WANG) -> list[dict[str, Any]]:
        """The choices of the newest menu on the phone."""
        bubble = [one for one in self.platform.chat(ACCOUNT, who) if one.kind == "msgmenu"][-1]
        choices: list[dict[str, Any]] = bubble.message["msgmenu"]["list"]
        return [one["click"] for one in choices]

    async def officer_replies(self, text: str, picture: bytes | None = None) -> None:
        """An officer takes the open matter and writes; the outbox has not sent it yet."""
        number, officer = await self.house.take("zhang", WANG), await self.house.officer("zhang")
        async with self.house.store.write() as session:
            ticket = await session.get_one(Ticket, number)
            kept = await media.keep(session, ticket.station_id, picture, None) if picture else None
            said = Reply(text, picture=kept.id if kept else None)
            with patch.object(tickets, "REPLY_CHARACTERS", 5000):  # as long as an interface may ever allow
                await tickets.reply(session, ticket, officer, said, actor=Actor(ticket.station_id, officer.id))

    async def conversation(self, who: str = WANG) -> Any:
        return await self.house.conversation(who)

    async def last_delivery(self) -> Delivery:
        return (await self.house.deliveries())[-1]


@asynccontextmanager
async def desk_of(house: House, wechat: FakeWeChat, **changed: Any) -> AsyncIterator[Desk]:
    """One process of the station on the emulator; several may share a database."""
    kf = kf_of(house, wechat.url, **changed)
    house.outbox = Outbox(house.store, house.station.id, {CHANNEL: kf})
    app = web.Application()
    app.add_routes(kf.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/callback/{CHANNEL}"
    try:
        async with CorpPusher(url, corp=wechat.wecom, modules=("kf",)) as pusher:
            yield Desk(house, kf, wechat, pusher)
    finally:
        await kf.close()
        await house.dispatcher.close()
        await runner.cleanup()


@pytest.fixture
async def wechat(frozen: FrozenClock) -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        for userid, name in (("zhang", "张伟"), ("li", "李娜")):
            wechat.wecom.members.add(userid, name)
        wechat.wecom.kf.add_account(ACCOUNT, servicers=("zhang", "li"))
        yield wechat


@pytest.fixture
async def desk(house: House, wechat: FakeWeChat) -> AsyncIterator[Desk]:
    async with desk_of(house, wechat) as desk:
        yield desk


# -- the same bot, the same officers ----------------------------------------------------------------------------------


async def test_a_resident_asks_and_reads_the_answer(desk: Desk) -> None:
    await desk.says(QUESTION)
    (answer,) = desk.phone()
    assert ANSWER in answer
    assert (await desk.last_delivery()).state is DeliveryState.SENT


async def test_a_tapped_choice_says_the_words_of_the_choice(desk: Desk) -> None:
    await desk.says("身份证")  # did you mean …
    choice = desk.menu()[0]
    await desk.platform.writes(ACCOUNT, WANG, choice["content"], menu_id=choice["id"])
    await desk.quiet()
    assert ANSWER in desk.phone()[-1]


async def test_an_officer_takes_the_matter_and_the_bot_is_silent(desk: Desk) -> None:
    await desk.says("找民警")
    await desk.house.take("zhang", WANG)
    said = len(desk.phone())
    await desk.says(QUESTION)
    assert len(desk.phone()) == said
    assert (await desk.house.heard())[-1].decision == "held"


async def test_a_customer_whose_union_id_is_known_elsewhere_is_that_resident(desk: Desk, frozen: FrozenClock) -> None:
    follower = await desk.house.add_resident("o-wang", address={"union_id": "u-wang", "channel": "gongzhong"})
    await desk.says("楼上太吵了")
    assert (await desk.house.resident(WANG)).id != follower
    desk.wechat.wecom.contacts.outsiders[WANG].unionid = "u-wang"
    clockwork = replace(desk.house.desk, channels={CHANNEL: desk.kf})
    for _ in range(2):
        await jobs.look_up_followers(clockwork)
    assert (await desk.house.resident(WANG)).id == follower
    assert len(desk.wechat.calls("kf/customer/batchget")) == 1


async def test_a_picture_is_fetched_and_kept(desk: Desk) -> None:
    sent = desk.wechat.wecom.media.add(JPEG, "image/jpeg")
    await desk.platform.sends(ACCOUNT, WANG, "image", {"media_id": sent})
    await desk.quiet()
    desk.house.desk = jobs.Desk(**{**vars(desk.house.desk), "channels": {CHANNEL: desk.kf}})
    await jobs.fetch_pictures(desk.house.desk)
    (heard,) = await desk.house.heard()
    assert (heard.kind, heard.media_id is not None) == (MessageKind.IMAGE, True)


async def test_a_file_is_acknowledged_and_an_unknown_kind_is_only_stored(desk: Desk) -> None:
    await desk.platform.sends(ACCOUNT, WANG, "file", {"media_id": "m"})
    await desk.quiet()
    assert len(desk.phone()) == 1
    await desk.platform.sends(ACCOUNT, WANG, "hologram", {"angle": 3})
    await desk.quiet()
    assert len(desk.phone()) == 1
    assert [row.kind for row in await desk.house.heard()] == [MessageKind.UNKNOWN] * 2


async def test_the_whole_program_answers_and_stops_in_good_order(furnished_sqlite_url: str, wechat: FakeWeChat) -> None:
    settings = {
        "station": {"name": NAME},
        "database": {"url": furnished_sqlite_url},
        "security": {"data_key": DATA_KEY},
        "channels": [{**SETTINGS, "api_base": f"{wechat.url}/wecom"}],
    }
    runner = web.AppRunner(await create_app(parse_config(settings, {}), KnownSayings()), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/callback/{CHANNEL}"
    async with CorpPusher(url, corp=wechat.wecom, modules=("kf",)):
        await wechat.wecom.kf.writes(ACCOUNT, WANG, QUESTION)
        await until(lambda: len(wechat.wecom.kf.chat(ACCOUNT, WANG)) == 2)
        wechat.hold("sync_msg")
        await wechat.wecom.kf.writes(ACCOUNT, WANG, "你好")  # it is being fetched when the program stops
        await runner.cleanup()
    assert ANSWER in wechat.wecom.kf.chat(ACCOUNT, WANG)[1].words
    async with House.opened(furnished_sqlite_url) as house:
        (stream,) = await house.all(select(PulledStream))
        assert stream.reader is None  # who starts next need not wait for a lease


# -- the callback's edge ----------------------------------------------------------------------------------------------


async def test_the_platform_checks_the_address(desk: Desk) -> None:
    checked = await desk.pusher.check_address("1616140317555161061")
    assert (checked.status, checked.body) == (200, b"1616140317555161061")
    refused = await desk.pusher.check_address(msg_signature="0" * 40)
    assert (refused.status, refused.body) == (403, b"")


@pytest.mark.parametrize("corrupt", ["other_app", "other_key", "msg_signature", "no_msg_signature", "base64"])
async def test_a_forged_callback_fetches_nothing(desk: Desk, corrupt: Any) -> None:
    push = await desk.pusher.event(
        "", "kf_msg_or_event", {"OpenKfId": ACCOUNT, "Token": "x"}, module="kf", corrupt=corrupt, deliveries=1
    )
    await desk.quiet()
    assert (push.status, push.body) == (403, b"")
    assert desk.wechat.calls("sync_msg") == []


async def test_a_body_too_large_is_refused(desk: Desk) -> None:
    signed = desk.pusher.sign(b"<xml><Event>x</Event></xml>", module="kf")
    async with (
        aiohttp.ClientSession() as http,
        http.post(desk.pusher.url, params=signed.query, data=b"x" * 70_000) as response,
    ):
        assert response.status == 413


async def test_an_event_about_another_account_is_taken_and_fetches_nothing(desk: Desk) -> None:
    for fields in ({"OpenKfId": "wk-other", "Token": "x"}, {}):
        name = "kf_msg_or_event" if fields else "kf_account_auth_change"
        push = await desk.pusher.event("", name, fields, module="kf")
        assert push.verdict == "silent"
    await desk.quiet()
    assert desk.wechat.calls("sync_msg") == []


# -- 51 ---------------------------------------------------------------------------------------------------------------


async def test_51_a_storm_of_wake_ups_is_one_reading(desk: Desk) -> None:
    desk.platform.silent = True
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    desk.platform.silent = False
    go_on = desk.wechat.hold("sync_msg", times=1)
    await asyncio.gather(*(desk.platform.wake(ACCOUNT) for _ in range(20)))
    go_on.set()
    await desk.quiet()
    assert len(desk.wechat.calls("sync_msg")) <= 2  # the one under way, and one for all who came during it
    assert len(desk.phone()) == 1


async def test_51_two_processes_read_one_at_a_time_and_what_came_meanwhile_is_not_left(
    any_house: House, wechat: FakeWeChat, furnished_url: str
) -> None:
    async with (
        House.opened(furnished_url) as other_house,
        desk_of(any_house, wechat) as one,
        desk_of(other_house, wechat) as other,
    ):
        go_on = wechat.hold("sync_msg", "delay_after", times=1)
        one.kf.wake()
        await until(lambda: bool(wechat.calls("sync_msg")))  # it reads: its answer does not hold what comes now
        await other.says(QUESTION)
        assert len(wechat.calls("sync_msg")) == 1
        go_on.set()
        await one.quiet()
        assert len(wechat.calls("sync_msg")) == 2
        assert [ANSWER in text for text in one.phone()] == [True]


async def test_51_a_reader_that_died_is_followed_when_its_lease_is_over(desk: Desk, frozen: FrozenClock) -> None:
    await desk.says("你好")
    async with desk.house.store.write() as session:
        stream = (await session.execute(select(PulledStream))).scalar_one()
        stream.reader, stream.leased_until = "dead", frozen.now + LEASE
    await desk.says(QUESTION)
    assert len(desk.phone()) == 1
    frozen.forward(seconds=LEASE.total_seconds() + 1)
    await jobs.pull_messages(jobs.Desk(**{**vars(desk.house.desk), "channels": {CHANNEL: desk.kf}}))
    await desk.quiet()
    assert len(desk.phone()) == 2


async def test_51_a_lost_callback_is_made_good_by_the_tick(desk: Desk) -> None:
    desk.platform.silent = True
    await desk.says(QUESTION)
    assert desk.phone() == []
    await desk.kf.pull()
    await desk.quiet()
    assert ANSWER in desk.phone()[0]


async def test_51_a_fetch_that_failed_is_tried_again_soon_and_not_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.channels.kf.AGAIN_SECONDS", (0.0, 0.0))
    desk.wechat.fault("sync_msg", "status", 502, times=3)
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    await until(lambda: len(desk.wechat.calls("sync_msg")) == 3)
    await desk.quiet()
    assert desk.phone() == []
    desk.wechat.faults.clear()
    await desk.kf.pull()
    await desk.quiet()
    assert ANSWER in desk.phone()[0]
    assert len(desk.wechat.calls("sync_msg")) == 4


async def test_51_the_same_row_twice_is_one_message(desk: Desk) -> None:
    await desk.says(QUESTION)
    async with desk.house.store.write() as session:
        (await session.execute(select(PulledStream))).scalar_one().cursor = ""  # its place was lost
    await desk.kf.pull()
    await desk.quiet()
    assert len(await desk.house.heard()) == 1
    assert len(desk.phone()) == 1


@pytest.mark.parametrize("moment", first_fast(["fetched", "kept"]))
async def test_51_killed_between_fetching_and_committing_nothing_is_lost_and_nothing_said_twice(
    moment: str, furnished_url: str, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    """A power cut with the page in hand but not committed, and one right after its commit."""
    wechat.rules.kf_page = 2
    for text in (QUESTION, "你好", "身份证到期换领"):
        await wechat.wecom.kf.writes(ACCOUNT, WANG, text)
    async with killed_while(moment, furnished_url, wechat.url):
        assert wechat.calls("kf/send_msg$") == []
    frozen.forward(seconds=max(LEASE, HANDLING_LEASE).total_seconds() + 1)
    async with House.opened(furnished_url) as house, desk_of(house, wechat) as desk:
        await desk.kf.pull()
        await desk.quiet()
        await jobs.resume_messages(house.desk)
        await desk.quiet()
        assert [row.body for row in await house.heard()] == [QUESTION, "你好", "身份证到期换领"]
        assert len(desk.phone()) == 3
        assert sum(ANSWER in text for text in desk.phone()) == 1


# -- 52 ---------------------------------------------------------------------------------------------------------------


async def test_52_an_empty_page_with_more_behind_it_is_not_the_end(desk: Desk) -> None:
    desk.platform.empty_pages = 2
    await desk.says(QUESTION)
    assert ANSWER in desk.phone()[0]
    assert len(desk.wechat.calls("sync_msg")) == 3


async def test_52_many_pages_are_read_to_the_end_and_in_order(desk: Desk) -> None:
    desk.wechat.rules.kf_page = 2
    desk.platform.silent = True
    for number in range(5):
        await desk.platform.writes(ACCOUNT, WANG, f"第{number}句")
    await desk.kf.pull()
    await desk.quiet()
    assert [row.body for row in await desk.house.heard()] == [f"第{number}句" for number in range(5)]
    assert len(desk.wechat.calls("sync_msg")) == 3
    await desk.kf.pull()
    assert len(desk.wechat.calls("sync_msg")) == 4  # from where it stood


async def test_52_a_stale_callback_token_is_dropped_and_the_cursor_used_alone(desk: Desk) -> None:
    desk.platform.silent = True
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    desk.kf.wake("ENC-of-yesterday")
    await desk.quiet()
    assert [call.errcode for call in desk.wechat.calls("sync_msg")] == [95007, 0]
    assert ANSWER in desk.phone()[0]


async def test_52_what_was_written_before_the_first_start_is_on_record_and_not_answered(
    desk: Desk, frozen: FrozenClock
) -> None:
    desk.platform.silent = True
    await desk.platform.writes(ACCOUNT, WANG, "三小时前的话")
    frozen.forward(hours=3)
    await desk.platform.writes(ACCOUNT, ZHAO, QUESTION)
    frozen.forward(minutes=9)
    await desk.kf.pull()
    await desk.quiet()
    assert (desk.phone(WANG), len(desk.phone(ZHAO))) == ([], 1)
    old = next(row for row in await desk.house.heard() if row.address == WANG)
    assert (old.state, old.conversation_id is not None) == (MessageState.HANDLED, True)


async def test_52_a_session_that_ended_before_the_first_start_is_no_word_of_the_resident(
    desk: Desk, frozen: FrozenClock
) -> None:
    refused = {"refused_until": frozen.now + timedelta(days=9), "refused_why": "拒收", "last_inbound_at": None}
    await desk.house.add_resident(WANG, address={"channel": desk.kf.name, **refused})
    ended = {"event_type": "session_status_change", "external_userid": WANG, "change_type": 3, "msg_code": "CODE"}
    row = {"msgid": "old-1", "send_time": int(frozen.now.timestamp()), "origin": 4, "msgtype": "event", "event": ended}
    desk.platform.accounts[ACCOUNT].rows.append(row)
    frozen.forward(hours=3)
    await desk.kf.pull()
    await desk.quiet()
    address = await desk.house.one(select(ResidentAddress).where(ResidentAddress.address == WANG))
    assert (address.last_inbound_at, address.refused_why) == (None, "拒收")
    assert len(await desk.house.heard()) == 1


async def test_52_what_came_while_the_program_was_away_is_answered(desk: Desk, frozen: FrozenClock) -> None:
    await desk.says("你好")
    desk.platform.silent = True
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    frozen.forward(minutes=45)
    await desk.kf.pull()
    await desk.quiet()
    assert ANSWER in desk.phone()[-1]


async def test_52_a_page_too_large_is_fetched_in_smaller_ones(desk: Desk) -> None:
    desk.platform.silent = True
    for _ in range(20):
        await desk.platform.writes(ACCOUNT, WANG, "长" * 30_000)
    await desk.kf.pull()
    await desk.quiet()
    assert len(await desk.house.heard()) == 20


@pytest.mark.parametrize("row", [{}, {"msgid": "x"}, {"msgtype": "text", "msgid": "y", "send_time": -1}])
async def test_52_a_row_that_is_none_holds_up_no_other(desk: Desk, row: Any) -> None:
    desk.platform.accounts[ACCOUNT].rows.append({"send_time": desk.wechat.now(), **row})
    await desk.says(QUESTION)
    assert ANSWER in desk.phone()[0]


# -- 53 ---------------------------------------------------------------------------------------------------------------


async def test_53_what_a_servicer_writes_is_on_record_and_never_answered(desk: Desk) -> None:
    await desk.says("你好")
    said = len(desk.phone())
    await desk.platform.servicer_writes(ACCOUNT, WANG, "zhang", QUESTION)
    await desk.quiet()
    assert len(desk.phone()) == said
    row = await desk.house.one(select(StoredMessage).where(StoredMessage.author == Author.OFFICER))
    assert (row.direction, row.body, row.state) == (Direction.OUT, QUESTION, MessageState.HANDLED)


async def test_53_events_of_the_account_are_taken_without_an_answer(desk: Desk) -> None:
    await desk.platform.servicer_status(ACCOUNT, "zhang", receiving=False)
    await desk.platform.rejects(ACCOUNT, WANG)
    await desk.quiet()
    assert desk.phone() == []
    (refused,) = await desk.house.heard()
    assert refused.details is not None
    assert refused.details["event"][2] == "reject_customer_msg_switch_change"


async def test_53_a_recalled_message_is_hidden_and_kept(desk: Desk) -> None:
    number = await desk.says("不该发的话")
    await desk.platform.recalls(ACCOUNT, WANG, number)
    await desk.quiet()
    (heard,) = await desk.house.heard()
    assert (heard.recalled, heard.body) == (True, "不该发的话")


# -- 54 ---------------------------------------------------------------------------------------------------------------


async def test_54_the_bot_is_silent_while_a_servicer_has_the_session_and_speaks_when_it_has_ended(desk: Desk) -> None:
    await desk.says("你好")
    await desk.platform.servicer_writes(ACCOUNT, WANG, "zhang", "我来处理")
    desk.session().state, desk.session().servicer = HUMAN, "zhang"
    said = len(desk.phone())
    await desk.says(QUESTION)
    assert len(desk.phone()) == said
    assert (await desk.conversation()).served_by == "zhang"
    await desk.platform.servicer_ends(ACCOUNT, WANG)
    await desk.says(QUESTION)
    assert ANSWER in desk.phone()[-1]


async def test_54_the_bot_is_silent_while_the_resident_waits_in_the_pool(house: House, wechat: FakeWeChat) -> None:
    for servicer in wechat.wecom.kf.accounts[ACCOUNT].servicers.values():
        servicer.receiving = False
    async with desk_of(house, wechat, servicers=["zhang", "li"]) as desk:
        await desk.says("找民警")
        assert desk.session().state == POOL  # 95019 twice, then the pool
        assert (await desk.conversation()).served_by == ""
        said = len(desk.phone())
        await desk.says(QUESTION)
        assert len(desk.phone()) == said
        await desk.platform.servicer_takes(ACCOUNT, WANG, "li")
        await desk.quiet()
        assert (await desk.conversation()).served_by == "li"


async def test_54_a_session_that_ended_without_a_word_is_noticed_with_the_next_message(
    desk: Desk, frozen: FrozenClock
) -> None:
    await desk.says("你好")
    await desk.platform.servicer_writes(ACCOUNT, WANG, "zhang", "我来处理")
    desk.session().state, desk.session().servicer = HUMAN, "zhang"
    await desk.quiet()
    frozen.forward(hours=49)
    await desk.says(QUESTION)
    assert ANSWER in desk.phone()[-1]
    assert (await desk.conversation()).served_by is None


async def test_54_a_matter_goes_to_the_next_servicer_when_one_has_stopped(house: House, wechat: FakeWeChat) -> None:
    wechat.wecom.kf.accounts[ACCOUNT].servicers["zhang"].receiving = False
    async with desk_of(house, wechat, servicers=["zhang", "nobody", "li"]) as desk:
        await desk.says("找民警")
        assert [call.errcode for call in wechat.calls("service_state/trans")] == [95019, 95014, 0]
        assert (desk.session().state, desk.session().servicer) == (HUMAN, "li")
        (ticket,) = await house.tickets()
        assert ticket.state is TicketState.OPEN  # it stands in our own queue all the same


async def test_54_a_forbidden_move_is_looked_at_again_and_decided_once_more(house: House, wechat: FakeWeChat) -> None:
    async with desk_of(house, wechat, servicers=["zhang"]) as desk:
        wechat.fault("service_state/trans", "errcode", 95016, times=1)
        await desk.says("找民警")
        assert len(wechat.calls("service_state/get")) == 1
        assert desk.session().servicer == "zhang"

        wechat.fault("service_state/trans", "errcode", 95016)
        before = len(wechat.calls("service_state/trans"))
        await desk.says("找民警", ZHAO)
        assert len(wechat.calls("service_state/trans")) - before == 2  # and not for ever


async def test_54_a_move_whose_answer_was_lost_is_not_made_twice(house: House, wechat: FakeWeChat) -> None:
    async with desk_of(house, wechat, servicers=["zhang"]) as desk:
        wechat.fault("service_state/trans", "close_after", times=1)
        await desk.says("找民警")
        assert len(wechat.calls("service_state/trans")) == 1
        assert (await desk.conversation()).served_by == "zhang"


async def test_54_a_session_taken_unnoticed_refuses_the_send_and_the_officer_is_told(desk: Desk) -> None:
    await desk.says("你好")
    desk.session().state, desk.session().servicer = HUMAN, "zhang"
    await desk.says(QUESTION)
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.code) == (DeliveryState.FAILED, "95018")
    assert "企业微信" in (delivery.reason or "")
    assert (await desk.conversation()).served_by == "zhang"


# -- 55 ---------------------------------------------------------------------------------------------------------------


async def test_55_a_send_whose_answer_was_lost_is_repeated_with_its_number_and_arrives_once(
    desk: Desk, frozen: FrozenClock
) -> None:
    desk.wechat.fault("kf/send_msg$", "close_after", times=1)
    await desk.says(QUESTION)
    assert (await desk.last_delivery()).state is DeliveryState.QUEUED
    frozen.forward(seconds=10)
    await desk.house.work()
    assert [call.errcode for call in desk.wechat.calls("kf/send_msg$")][-1] == 95033
    assert (await desk.last_delivery()).state is DeliveryState.SENT
    assert len(desk.phone()) == 1


async def test_55_killed_between_sending_and_writing_it_down_it_is_sent_once_more_and_arrives_once(
    desk: Desk, frozen: FrozenClock
) -> None:
    """The platform has the message, and the power goes before our row says so."""
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    await desk.decided()
    async with desk.house.store.write() as session:
        (parcel,), _ = await outbox.claim(
            session, desk.house.station.id, most=9, now=frozen.now, rules={CHANNEL: desk.kf.rules}
        )
    await desk.kf.send(parcel.address, parcel.reply, delivery_id=parcel.id)
    frozen.forward(seconds=deliveries.LEASE.total_seconds() + 1)
    await desk.house.work()
    assert [call.errcode for call in desk.wechat.calls("kf/send_msg$")] == [0, 95033]
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.unknown) == (DeliveryState.SENT, False)
    assert len(desk.phone()) == 1


async def test_55_texts_that_wait_are_not_joined_because_their_numbers_follow_from_their_words(desk: Desk) -> None:
    await desk.says("找民警")
    for words in ("第一句", "第二句"):
        await desk.officer_replies(words)
    await desk.house.work()
    assert desk.phone()[-2:] == ["第一句", "第二句"]


async def test_55_a_platform_that_never_acknowledges_leaves_a_reply_that_may_have_arrived(
    desk: Desk, frozen: FrozenClock
) -> None:
    desk.wechat.fault("kf/send_msg$", "close_after")
    await desk.says(QUESTION)
    for _ in range(5):
        frozen.forward(minutes=15)
        await desk.house.work()
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.unknown, delivery.attempts) == (DeliveryState.FAILED, True, 5)
    assert delivery.reason == deliveries.UNKNOWN_REASON
    assert len(desk.phone()) == 1


async def test_55_what_ends_the_program_each_time_is_not_tried_for_ever(desk: Desk, frozen: FrozenClock) -> None:
    await desk.platform.writes(ACCOUNT, WANG, QUESTION)
    await desk.decided()
    for _ in range(10):
        async with desk.house.store.write() as session:
            station = desk.house.station.id
            await deliveries.sweep(session, station, frozen.now, repeatable=[CHANNEL])
            await outbox.claim(session, station, most=9, now=frozen.now, rules={CHANNEL: desk.kf.rules})
        frozen.forward(seconds=deliveries.LEASE.total_seconds() + 1)
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.unknown, delivery.attempts) == (DeliveryState.FAILED, True, 5)


async def test_55_what_was_sent_of_a_long_text_is_not_sent_again(desk: Desk, frozen: FrozenClock) -> None:
    await desk.says("找民警")
    await desk.officer_replies("\n".join(f"第{line}条 " + "字" * 60 for line in range(30)))
    desk.wechat.fault("kf/send_msg$", "status", 500, times=1, nth=[2])
    before = len(desk.phone())
    await desk.house.work()
    frozen.forward(seconds=10)
    await desk.house.work()
    text = "".join(desk.phone()[before:])
    assert [text.count(f"第{line}条") for line in range(30)] == [1] * 30
    assert all(len(part.encode()) <= 2048 for part in desk.phone())


@pytest.mark.parametrize("code", [95001, 95002])
async def test_55_used_up_or_over_48_hours_waits_for_his_next_message_and_says_why(desk: Desk, code: int) -> None:
    desk.wechat.fault("kf/send_msg$", "errcode", code, times=1)
    await desk.says(QUESTION)
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.code) == (DeliveryState.QUEUED, str(code))
    assert "下次" in (delivery.reason or "")
    await desk.says("你好")
    assert ANSWER in desk.phone()[0]


async def test_55_a_picture_the_platform_no_longer_knows_is_uploaded_once_more(desk: Desk) -> None:
    await desk.says("找民警")
    await desk.officer_replies("请看图", picture=JPEG)
    desk.wechat.fault("kf/send_msg$", "errcode", 40007, nth=[2], times=1)
    await desk.house.work()
    assert (await desk.last_delivery()).state is DeliveryState.SENT
    assert len(desk.wechat.calls("media/upload")) == 2
    assert [bubble.kind for bubble in desk.platform.chat(ACCOUNT, WANG)][-2:] == ["text", "image"]


# -- 56 ---------------------------------------------------------------------------------------------------------------


async def test_56_who_enters_by_a_community_s_link_is_welcomed_and_linked(desk: Desk) -> None:
    await desk.platform.enters(ACCOUNT, WANG, "card", "fenglin")
    await desk.quiet()
    (welcome,) = desk.phone()
    assert "枫林派出所" in welcome
    assert "枫林社区" in welcome
    assert (await desk.conversation()).resident.community.name == "枫林社区"
    assert (await desk.last_delivery()).state is DeliveryState.SENT
    assert len(desk.wechat.calls("send_msg_on_event")) == 1
    assert desk.wechat.calls("kf/send_msg$") == []


async def test_56_a_forged_scene_links_to_no_community(desk: Desk) -> None:
    await desk.platform.enters(ACCOUNT, WANG, "card", "fenglin%27%20OR%201")
    await desk.quiet()
    assert len(desk.phone()) == 1
    assert (await desk.conversation()).resident.community_id is None


async def test_56_who_comes_back_is_linked_without_a_second_welcome(desk: Desk) -> None:
    await desk.platform.enters(ACCOUNT, WANG)
    await desk.platform.enters(ACCOUNT, WANG, "card", "hubin")
    await desk.quiet()
    assert len(desk.phone()) == 1
    assert (await desk.conversation()).resident.community.name == "湖滨社区"


async def test_56_a_welcome_that_would_come_late_is_not_tried(desk: Desk, frozen: FrozenClock) -> None:
    desk.platform.silent = True
    await desk.platform.enters(ACCOUNT, WANG, "card", "fenglin")
    frozen.forward(seconds=21)
    await desk.kf.pull()
    await desk.quiet()
    assert desk.wechat.calls("send_msg_on_event") == []
    assert await desk.house.deliveries() == []
    assert (await desk.conversation()).resident.community.name == "枫林社区"


async def test_56_a_refused_code_fails_quietly_and_nothing_comes_later(desk: Desk, frozen: FrozenClock) -> None:
    desk.wechat.fault("send_msg_on_event", "errcode", desk.wechat.rules.kf_code_refused, times=1)
    await desk.platform.enters(ACCOUNT, WANG)
    await desk.quiet()
    assert (await desk.last_delivery()).state is DeliveryState.SKIPPED
    frozen.forward(minutes=5)
    await desk.says("你好")
    assert desk.phone() == ["您好，请讲。"]


async def test_56_a_welcome_whose_answer_was_lost_is_not_given_twice(desk: Desk, frozen: FrozenClock) -> None:
    desk.wechat.fault("send_msg_on_event", "close_after", times=1)
    await desk.platform.enters(ACCOUNT, WANG)
    await desk.quiet()
    frozen.forward(minutes=1)
    await desk.says("你好")
    await desk.house.work()
    assert len(desk.phone()) == 2
    assert {delivery.state for delivery in await desk.house.deliveries()} == {DeliveryState.SENT}


async def test_56_when_a_servicer_has_ended_the_session_the_bot_says_that_it_listens_again(desk: Desk) -> None:
    await served(desk)
    await desk.platform.servicer_ends(ACCOUNT, WANG)
    await desk.quiet()
    assert "人工接待已结束" in desk.phone()[-1]
    assert (await desk.last_delivery()).state is DeliveryState.SENT
    assert len(desk.wechat.calls("send_msg_on_event")) == 1
    assert (await desk.conversation()).served_by is None


async def test_56_nothing_is_said_of_a_session_that_ended_a_while_ago(desk: Desk, frozen: FrozenClock) -> None:
    await served(desk)
    said = len(desk.phone())
    desk.platform.silent = True
    await desk.platform.servicer_ends(ACCOUNT, WANG)
    frozen.forward(seconds=21)
    await desk.kf.pull()
    await desk.quiet()
    assert len(desk.phone()) == said
    assert desk.wechat.calls("send_msg_on_event") == []


async def test_56_an_officer_who_holds_the_matter_here_is_not_talked_over_when_the_session_ends(desk: Desk) -> None:
    await served(desk)
    await desk.house.take("li", WANG)
    await desk.platform.servicer_ends(ACCOUNT, WANG)
    await desk.quiet()
    assert desk.wechat.calls("send_msg_on_event") == []


async def test_56_what_waited_for_the_resident_still_waits_when_a_servicer_ends(
    desk: Desk, frozen: FrozenClock
) -> None:
    """The end of a session is no act of his: it opens no window."""
    await desk.says("找民警")
    frozen.forward(hours=49)
    await desk.officer_replies("请回电")
    await desk.house.work()
    await desk.platform.servicer_writes(ACCOUNT, WANG, "zhang", "我来处理")
    await desk.platform.servicer_ends(ACCOUNT, WANG)
    await desk.quiet()
    assert "请回电" not in desk.phone()
    assert any(row.waits for row in await desk.house.deliveries())


async def served(desk: Desk) -> None:
    """A servicer took the session in the platform's own client."""
    await desk.says("你好")
    desk.session().state = POOL
    await desk.platform.servicer_takes(ACCOUNT, WANG, "zhang")
    await desk.platform.servicer_writes(ACCOUNT, WANG, "zhang", "我来处理")
    await desk.quiet()


async def test_56_what_was_accepted_and_did_not_arrive_is_failed_with_its_reason(desk: Desk) -> None:
    desk.platform.fail_next.append(13)
    await desk.says(QUESTION)
    assert (await desk.last_delivery()).state is DeliveryState.SENT
    await desk.wechat.settle()
    await desk.quiet()
    delivery = await desk.last_delivery()
    assert (delivery.state, delivery.code) == (DeliveryState.FAILED, "fail_13")
    assert "安全检查" in (delivery.reason or "")


async def test_56_a_failure_of_a_message_that_is_not_ours_changes_nothing(desk: Desk) -> None:
    await desk.says(QUESTION)
    for number in ("deadbeef-1-0", "something", ""):
        event = {"event_type": "msg_send_fail", "external_userid": WANG, "fail_msgid": number, "fail_type": 5}
        desk.platform.add_row(ACCOUNT, "", 4, {"msgtype": "event", "event": event})
    await desk.kf.pull()
    await desk.quiet()
    assert (await desk.last_delivery()).state is DeliveryState.SENT
