"""The fake WeChat keeps the platform's rules, so that a test against it means something."""

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.conftest import OPENID, Caller
from tests.fakes.wechat import CHINA, FakeWeChat


async def test_grants_replace_each_other_and_never_add(wechat: FakeWeChat, caller: Caller) -> None:
    assert await caller.send() == 40003
    wechat.follower(OPENID)
    assert await caller.send() == 45015
    wechat.inbound(OPENID, "VIEW")
    assert await caller.send() == 45015
    wechat.inbound(OPENID)
    wechat.inbound(OPENID)
    assert [await caller.send() for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
    wechat.inbound(OPENID, "CLICK")
    assert [await caller.send() for _ in range(4)] == [0, 0, 0, 45047]
    wechat.inbound(OPENID, "SCAN")
    wechat.advance(61)
    assert await caller.send() == 45015
    wechat.inbound(OPENID)
    wechat.inbound(OPENID, "CLICK")  # gives less than what is left
    assert [await caller.send() for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
    wechat.inbound(OPENID)
    wechat.inbound(OPENID, "unsubscribe")
    assert await caller.send() == 45015


async def test_texts_have_a_limit_in_bytes(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.inbound(OPENID)
    assert await caller.send(words="好" * 682) == 0
    assert await caller.send(words="好" * 683) == 45002
    assert await caller.send(words="") == 44004
    assert wechat.texts(OPENID) == ["好" * 682]


async def test_the_stable_token_stays_until_five_minutes_before_its_end(wechat: FakeWeChat, caller: Caller) -> None:
    first = caller.token
    assert (await caller.stable_token())["access_token"] == first
    wechat.advance(7200 - 299)
    second = await caller.stable_token()
    assert second["access_token"] != first
    caller.token = first
    assert await caller.send() == 40003  # still taken
    wechat.advance(300)
    assert await caller.send() == 42001
    caller.token = "nonsense"
    assert await caller.send() == 40014
    caller.token = ""
    assert await caller.send() == 41001
    assert (await caller.stable_token(force_refresh=True))["access_token"] != second["access_token"]
    assert (await caller.stable_token(force_refresh=True))["errcode"] == 45011
    assert (await caller.stable_token(secret="wrong"))["errcode"] == 40125


async def test_the_old_token_call_kills_its_last_token_but_not_the_stable_one(
    wechat: FakeWeChat, caller: Caller, http: aiohttp.ClientSession
) -> None:
    query = {"grant_type": "client_credential", "appid": wechat.app_id, "secret": wechat.secret}
    tokens = []
    for _ in range(2):
        async with http.get(f"{wechat.url}/cgi-bin/token", params=query) as response:
            tokens.append((await response.json(content_type=None))["access_token"])
    wechat.advance(301)
    assert await caller.send() == 40003
    for token, code in zip(tokens, (42001, 40003), strict=True):
        caller.token = token
        assert await caller.send() == code
    async with http.get(f"{wechat.url}/cgi-bin/stable_token") as response:
        assert (await response.json(content_type=None))["errcode"] == 43002


async def test_mass_sending_filters_silently_after_four_in_a_month(wechat: FakeWeChat, caller: Caller) -> None:
    openids = [OPENID, "o-resident-2", "o-stranger"]
    wechat.follower(OPENID)
    wechat.follower("o-resident-2").following = False

    async def mass(number: str, touser: list[str]) -> dict[str, Any]:
        body = {"touser": touser, "msgtype": "text", "text": {"content": "警示"}, "clientmsgid": number}
        return await caller.post("message/mass/send", body)

    assert (await mass("a", [OPENID]))["errcode"] == 40130
    assert (await mass("a", openids * 3334))["errcode"] == 40032
    assert (await mass("x" * 33, openids))["errcode"] == 45067
    first = await mass("a", openids)
    again = await mass("a", openids)
    assert (first["errcode"], again["errcode"], again["msg_id"]) == (0, 45065, first["msg_id"])
    for number in "bcde":
        await mass(number, openids)
    assert [len(job.sent) for job in wechat.jobs.values()] == [1, 1, 1, 1, 0]
    event = wechat.jobs["a"].event()
    assert (event["MsgID"], event["TotalCount"], event["SentCount"]) == (str(first["msg_id"]), "3", "1")
    month = datetime.fromtimestamp(wechat.now(), CHINA).month
    wechat.advance(9 * 86400)
    assert datetime.fromtimestamp(wechat.now(), CHINA).month != month
    await caller.stable_token()
    await mass("f", openids)
    assert len(wechat.jobs["f"].sent) == 1


async def test_media_live_three_days(wechat: FakeWeChat, caller: Caller, http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    form.add_field("media", b"\xff\xd8\xff...", filename="a.jpg", content_type="image/jpeg")
    async with http.post(
        f"{wechat.url}/cgi-bin/media/upload?type=image&access_token={caller.token}", data=form
    ) as response:
        media_id = (await response.json(content_type=None))["media_id"]
    wechat.inbound(OPENID)
    picture = {"touser": OPENID, "msgtype": "image", "image": {"media_id": media_id}}
    assert (await caller.post("message/custom/send", picture))["errcode"] == 0
    wechat.advance(3 * 86400 + 1)
    await caller.stable_token()
    wechat.inbound(OPENID)
    assert (await caller.post("message/custom/send", picture))["errcode"] == 40007


async def test_the_journal_and_its_secrets(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.inbound(OPENID)
    await caller.send()
    written = json.dumps([vars(call) for call in wechat.journal])
    assert wechat.secret not in written
    assert caller.token not in written
    assert [(call.path, call.errcode) for call in wechat.journal][-1] == ("/cgi-bin/message/custom/send", 0)


async def test_faults_strike_when_they_should(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.inbound(OPENID)
    wechat.inbound("o-resident-2")
    wechat.fault("custom/send", "errcode", -1, nth=[2])
    assert [await caller.send() for _ in range(3)] == [0, -1, 0]
    wechat.faults.clear()
    wechat.fault("custom/send", "errcode", 50002, openid="o-resident-2")
    assert [await caller.send(), await caller.send("o-resident-2")] == [0, 50002]
    wechat.faults.clear()
    wechat.fault("custom/send", "errcode", -1, probability=0.5)
    codes = [await caller.send(words=str(n)) for n in range(30)]
    assert 5 < codes.count(-1) < 25


async def test_another_process_is_controlled_over_http(http: aiohttp.ClientSession) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.wechat", stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert child.stdout is not None
        url = (await asyncio.wait_for(child.stdout.readline(), 20)).decode().strip()

        async def control(what: str, **given: Any) -> Any:
            async with http.post(f"{url}/_ctl/{what}", json=given) as response:
                return await response.json()

        await control("inbound", openid=OPENID)
        await control("fault", path="custom/send", effect="errcode", value=45011, nth=[1])
        before = (await control("clock", advance=0))["now"]
        assert (await control("clock", advance=100))["now"] >= before + 100
        outside = FakeWeChat()
        outside.url = url
        caller = Caller(outside, http)
        await caller.stable_token()
        assert [await caller.send(), await caller.send()] == [45011, 0]
        await control("expire")
        assert await caller.send() == 42001
        assert (await control(f"follower/{OPENID}"))["window"]["left"] == 4
        assert [call["errcode"] for call in await control("journal")] == [0, 45011, 0, 42001]
    finally:
        child.terminate()
        await child.wait()
