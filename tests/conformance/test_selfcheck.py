"""The self-check of the channels against the emulator: each thing that can be wrong, and what is said about it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from bot import checkup
from bot.actions import conversations, parking
from bot.actions.conversations import Address
from bot.callbacks import CallbackSigns
from bot.checks import ChannelReport, Check
from bot.message import Reply
from bot.reach import Rules
from bot.store.models import Author, ChannelSign, ParkedChannel
from scheduler import jobs
from tests.conformance.station import Account, account_of, open_account
from tests.fakes.wechat import FakeWeChat, Pusher
from tests.fakes.wechat.faults import Effect
from tests.fakes.wechat.pusher import AES_KEY, TOKEN
from tests.support.station import CHANNEL, DATA_KEY, NAME, FrozenClock, House

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"
PROJECT = Path(__file__).parents[2]


@pytest.fixture
async def wechat(frozen: FrozenClock) -> AsyncIterator[FakeWeChat]:
    frozen.now = datetime.now(UTC)  # the emulator's Date header is the real time
    async with FakeWeChat() as wechat:
        yield wechat


@pytest.fixture
async def account(house: House, wechat: FakeWeChat) -> AsyncIterator[Account]:
    async with open_account(house, wechat) as account:
        yield account


async def report(house: House, account: Account) -> ChannelReport:
    (found,) = await checkup.report(
        house.store, house.station.id, {CHANNEL: account.channel}, "https://police.example.org"
    )
    return found


def line(report: ChannelReport, name: str) -> Check:
    (found,) = [check for check in report.checks if check.name.zh == name]
    return found


async def seen(house: House, *, why: str = "") -> None:
    """A callback came, believed or refused for a reason."""
    signs = CallbackSigns(house.store, house.station.id, [CHANNEL])
    signs._note(CHANNEL, why)
    await signs.close()


async def test_a_channel_that_works_is_good_in_every_line(house: House, account: Account) -> None:
    await seen(house)
    await account.pusher.text(OPENID, "身份证丢了怎么办")
    await house.dispatcher.close()
    await jobs.reconcile_followers(account.desk)
    found = await report(house, account)
    assert [check.name.zh for check in found.checks if check.good is not True] == []
    assert found.good
    assert "119 分钟" in line(found, "接口凭证").found.zh or "120 分钟" in line(found, "接口凭证").found.zh
    assert line(found, "今日发送额度").found.en == "500000 of 500000 left"


@pytest.mark.parametrize(
    ("effect", "value", "wrong", "remedy"),
    [
        ("errcode", 40125, "接口凭证", "AppSecret"),
        ("errcode", 40013, "接口凭证", "AppID"),
        ("errcode", 40164, "本机 IP", "白名单"),
        ("errcode", 50004, "接口凭证", "冻结"),
        ("status", 500, "接口凭证", "连接不上"),
        ("html", None, "接口凭证", "连接不上"),
    ],
)
async def test_a_token_that_is_not_given_names_the_remedy(
    house: House, account: Account, wechat: FakeWeChat, effect: Effect, value: object, wrong: str, remedy: str
) -> None:
    await seen(house)
    wechat.fault("stable_token", effect, value)
    found = await report(house, account)
    assert not found.good
    check = line(found, wrong)
    assert check.good is False
    assert remedy in check.remedy.zh
    assert check.remedy.en


async def test_a_clock_that_is_wrong_is_told_by_the_platforms_date(
    house: House, account: Account, frozen: FrozenClock
) -> None:
    frozen.forward(minutes=7)
    check = line(await report(house, account), "本机时钟")
    assert check.good is False
    assert "seconds ahead" in check.found.en
    assert "chrony" in check.remedy.en


async def test_a_quota_that_is_used_up_is_told(house: House, account: Account, wechat: FakeWeChat) -> None:
    wechat.rules.daily_limits["message/custom/send"] = 0
    check = line(await report(house, account), "今日发送额度")
    assert (check.good, check.found.en) == (False, "0 of 0 left")


async def test_an_account_without_that_api_has_no_line_that_is_wrong_for_it(
    house: House, account: Account, wechat: FakeWeChat
) -> None:
    await seen(house)
    wechat.fault("openapi/quota/get", "errcode", 48001)
    found = await report(house, account)
    assert line(found, "今日发送额度").good is None
    assert found.good


async def test_a_callback_that_never_came_says_where_to_enter_its_address(house: House, account: Account) -> None:
    check = line(await report(house, account), "平台回调")
    assert check.good is False
    assert f"https://police.example.org/callback/{CHANNEL}" in check.remedy.zh


@pytest.mark.parametrize(
    ("corrupt", "remedy"), [("msg_signature", "Token"), ("other_app", "AppID"), ("pad_zero", "EncodingAESKey")]
)
async def test_a_callback_that_is_refused_says_what_to_compare(
    house: House, account: Account, wechat: FakeWeChat, corrupt: str, remedy: str
) -> None:
    signs = CallbackSigns(house.store, house.station.id, [CHANNEL])
    app = web.Application(middlewares=[signs.middleware()])
    app.add_routes(account_of(house, wechat).routes())
    async with TestServer(app) as server, Pusher(str(server.make_url(f"/callback/{CHANNEL}"))) as pusher:
        await pusher.text(OPENID, "你好", corrupt=corrupt)
        await signs.close()
        check = line(await report(house, account), "平台回调")
        assert check.good is False
        assert remedy in check.remedy.zh

        await pusher.text(OPENID, "你好")  # a right one comes: forged ones mean nothing any more
        await pusher.text(OPENID, "你好", corrupt="msg_signature")
        await signs.close()
    assert line(await report(house, account), "平台回调").good is True


async def test_signs_of_callbacks_are_written_once_a_minute(house: House) -> None:
    signs = CallbackSigns(house.store, house.station.id, [CHANNEL])

    async def believe(_request: web.Request) -> web.Response:
        return web.Response(text="success")

    app = web.Application(middlewares=[signs.middleware()])
    app.router.add_post("/callback/{name}", believe)
    writes = 0
    write = signs._write

    async def counted(name: str, why: str) -> None:
        nonlocal writes
        writes += 1
        await write(name, why)

    signs._write = counted  # type: ignore[method-assign]
    async with TestServer(app) as server, ClientSession() as http:
        for _ in range(50):
            await http.post(server.make_url(f"/callback/{CHANNEL}"))
            await http.post(server.make_url("/callback/nobody"))
        await signs.close()
    assert writes == 1
    assert await house.count(ChannelSign) == 1


async def test_what_waits_too_long_and_a_parked_channel_are_told(
    any_house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with open_account(any_house, wechat) as account:
        await account.pusher.text(OPENID, "你好")
        await any_house.dispatcher.close()
        async with any_house.store.write() as session:
            where = Address(CHANNEL, OPENID)
            conversation = await conversations.find(session, any_house.station.id, where)
            assert conversation is not None
            await conversations.say(session, conversation, Reply("已办好"), author=Author.BOT, now=frozen.now)
            await parking.park(
                session,
                any_house.station.id,
                CHANNEL,
                until=frozen.now,
                code="48001",
                reason="公众号没有发送消息的权限，请管理员登录公众平台查看。",
                alarm=True,
                heals=False,
                now=frozen.now,
            )
        frozen.forward(minutes=6)
        found = await report(any_house, account)
    queue, sending = line(found, "发送队列"), line(found, "发送状态")
    assert (queue.good, sending.good) == (False, False)
    assert queue.found.en == "1 wait, the oldest since 6 minutes ago"
    assert "登录公众平台" in sending.remedy.zh
    assert line(found, "最近收到").found.zh == "6 分钟前"


async def stop(house: House, frozen: FrozenClock, code: str) -> None:
    """The platform stopped the channel with this error."""
    async with house.store.write() as session:
        await parking.park(
            session,
            house.station.id,
            CHANNEL,
            until=frozen.now + timedelta(minutes=5),
            code=code,
            reason="请管理员在公众平台加上本机的 IP。",
            alarm=True,
            heals=False,
            now=frozen.now,
        )


async def test_the_check_says_the_rest_when_it_is_not_to_be_learnt_whether_a_channel_is_mended(
    house: House, account: Account, wechat: FakeWeChat, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_code: str) -> bool:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(account.channel, "is_mended", fails)
    await stop(house, frozen, "40164")
    found = await report(house, account)
    assert line(found, "发送状态").good is False
    assert line(found, "发送队列").good is True


async def test_the_check_takes_the_bar_away_when_what_stopped_the_channel_is_mended(
    house: House, account: Account, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    await stop(house, frozen, "40164")
    wechat.fault("stable_token", "errcode", 40164)
    assert line(await report(house, account), "发送状态").good is False
    wechat.faults.clear()
    assert line(await report(house, account), "发送状态").good is True
    assert await house.count(ParkedChannel) == 0
    await stop(house, frozen, "48001")
    assert line(await report(house, account), "发送状态").good is False


async def test_a_channel_that_cannot_even_check_itself_is_not_well(house: House) -> None:
    class Broken:
        name, kind, rules = CHANNEL, "fake", Rules()

        def routes(self) -> list[web.RouteDef]:
            return []

        async def check(self) -> list[Check]:
            raise RuntimeError("made to fail")

    (found,) = await checkup.report(house.store, house.station.id, {CHANNEL: Broken()}, "")  # type: ignore[dict-item]
    assert line(found, "自检").good is False


# -- the command line -------------------------------------------------------------------------------------------------


async def command(name: str, wechat: FakeWeChat, url: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `python -m bot NAME` on settings of its own."""
    account = {
        "kind": "official_account", "name": CHANNEL, "app_id": wechat.app_id, "secret": "${WECHAT_SECRET}",
        "token": TOKEN, "encoding_aes_key": AES_KEY, "api_base": wechat.url,
    }  # fmt: skip
    settings = {
        "station": {"name": NAME},
        "server": {"public_url": "https://police.example.org"},
        "security": {"data_key": "${DATA_KEY}"},
        "database": {"url": url},
        "channels": [{"kind": "webchat", "name": "web"}, account],
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bot", name, "--config", str(file)),
        cwd=PROJECT,
        env={**os.environ, "WECHAT_SECRET": wechat.secret, "DATA_KEY": DATA_KEY},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode or 0, out.decode(), err.decode()


async def test_the_command_ends_with_0_when_all_is_well(
    furnished_sqlite_url: str, house: House, wechat: FakeWeChat, tmp_path: Path
) -> None:
    await seen(house)
    code, out, err = await command("check-channels", wechat, furnished_sqlite_url, tmp_path)
    assert code == 0, out + err
    assert "fenglin (official_account)\n  ok   callback: believed" in out
    assert "BAD" not in out
    for secret in (*wechat.tokens, wechat.secret, AES_KEY, TOKEN):
        assert secret not in out + err


@pytest.mark.slow
async def test_the_command_ends_with_1_when_something_is_wrong(
    furnished_sqlite_url: str, house: House, wechat: FakeWeChat, tmp_path: Path
) -> None:
    await seen(house)
    code, _, _ = await command("check-channels", wechat, furnished_sqlite_url, tmp_path)
    assert (code, len(wechat.tokens)) == (0, 1), "it has a token that it could give away"
    wechat.fault("stable_token", "errcode", 40164)
    code, out, err = await command("check-channels", wechat, furnished_sqlite_url, tmp_path)
    assert code == 1
    assert "BAD  our IP address: not in the platform's list; add this machine's address" in out
    for secret in (*wechat.tokens, wechat.secret, AES_KEY, TOKEN):
        assert secret not in out + err


@pytest.mark.slow
async def test_the_menu_is_set_by_its_command(
    furnished_sqlite_url: str, house: House, wechat: FakeWeChat, tmp_path: Path
) -> None:
    code, out, _ = await command("wechat-menu", wechat, furnished_sqlite_url, tmp_path)
    assert (code, out) == (0, f"{CHANNEL}: the menu is set; phones show it within five minutes\n")
    assert [button["name"] for button in wechat.menu.buttons] == ["咨询办事", "防骗求助", "我的民警"]
    wechat.fault("menu/create", "errcode", 48001)
    code, _, err = await command("wechat-menu", wechat, furnished_sqlite_url, tmp_path)
    assert code == 2
    assert "did not take the menu (code 48001)" in err
