"""The fake official account keeps the platform's rules: mass sending, notices, tags, codes, menu, lists, quotas."""

import asyncio
from typing import Any

import pytest

from tests.fakes.conftest import OPENID, Bot, Caller
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.chat import FAULT_NOTICE

JPEG = b"\xff\xd8\xff" + b"x" * 100


def people(wechat: FakeWeChat, count: int) -> list[str]:
    openids = [f"o-{n}" for n in range(count)]
    for openid in openids:
        wechat.follower(openid)
    return openids


def mass(number: str, touser: list[str], **more: Any) -> dict[str, Any]:
    return {"touser": touser, "msgtype": "text", "text": {"content": "警示"}, "clientmsgid": number, **more}


# -- mass sending -----------------------------------------------------------------------------------------------------


async def test_the_finished_job_is_told_a_minute_after_the_answer(wechat: FakeWeChat, bot: Bot, caller: Caller) -> None:
    openids = [*people(wechat, 3), "o-stranger"]
    wechat.follower("o-1").refuses = 50002
    answer = await caller.post("message/mass/send", mass("a", openids))
    assert (await caller.post("message/mass/get", {"msg_id": answer["msg_id"]}))["msg_status"] == "SENDING"
    assert bot.got == []
    await wechat.settle(60)
    (event,) = bot.events("MASSSENDJOBFINISH")
    counts = [event[name] for name in ("TotalCount", "FilterCount", "SentCount", "ErrorCount")]
    assert (event["MsgID"], event["Status"], counts) == (str(answer["msg_id"]), "send success", ["4", "3", "2", "1"])
    assert (await caller.post("message/mass/get", {"msg_id": answer["msg_id"]}))["msg_status"] == "SEND_SUCCESS"
    assert [bubble.words for bubble in wechat.chat("o-0")] == ["警示"]


async def test_the_finished_job_may_be_told_before_the_answer_twice_and_refused(
    wechat: FakeWeChat, bot: Bot, caller: Caller
) -> None:
    wechat.rules.mass_finish, wechat.rules.mass_finish_times = "before", 2
    wechat.rules.mass_status = "err(20008)"
    answer = await caller.post("message/mass/send", mass("a", people(wechat, 2)))
    assert [event["Status"] for event in bot.events("MASSSENDJOBFINISH")] == ["err(20008)"] * 2
    assert (await caller.post("message/mass/get", {"msg_id": answer["msg_id"]}))["msg_status"] == "SEND_FAIL"
    assert wechat.chat("o-0") == []


async def test_a_failed_submission_is_repeated_after_a_minute(wechat: FakeWeChat, caller: Caller) -> None:
    openids = people(wechat, 2)
    wechat.fault("mass/send", "errcode", -1, times=1)
    assert [await caller.code("message/mass/send", mass("a", openids)) for _ in range(2)] == [-1, 45066]
    wechat.advance(61)
    assert await caller.code("message/mass/send", mass("a", openids)) == 0


async def test_without_an_own_number_the_same_words_to_the_same_people_collide(
    wechat: FakeWeChat, caller: Caller
) -> None:
    body = mass("", people(wechat, 2))
    assert [await caller.code("message/mass/send", body) for _ in range(2)] == [0, 45065]
    wechat.advance(24 * 3600 + 1)
    await caller.stable_token()
    assert await caller.code("message/mass/send", body) == 0


async def test_to_all_goes_once_a_day_and_to_a_tag_by_its_members(wechat: FakeWeChat, caller: Caller) -> None:
    people(wechat, 3)

    async def to_all(number: str, **which: Any) -> int:
        body = {"filter": which, "msgtype": "text", "text": {"content": number}, "clientmsgid": number}
        return await caller.code("message/mass/sendall", body)

    assert [await to_all("a", is_to_all=True), await to_all("b", is_to_all=True)] == [0, 45028]
    wechat.advance(86_400)
    await caller.stable_token()
    assert await to_all("c", is_to_all=True) == 0
    tag = (await caller.post("tags/create", {"tag": {"name": "老人"}}))["tag"]["id"]
    await caller.post("tags/members/batchtagging", {"openid_list": ["o-1"], "tagid": tag})
    assert [await to_all("d", tag_id=tag), await to_all("e", tag_id=999)] == [0, 40152]
    assert wechat.jobs["d"].sent == ["o-1"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"msgtype": "wxcard", "wxcard": {}}, 45113),
        ({"msgtype": "poem", "poem": {}}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"msgtype": "image", "image": {"media_id": "gone"}}, 40007),
        ({"msgtype": "image", "images": {"media_ids": ["gone"]}}, 40007),
        ({"touser": "o-0"}, 47001),
    ],
)
async def test_a_mass_message_that_is_wrong(
    wechat: FakeWeChat, caller: Caller, more: dict[str, Any], code: int
) -> None:
    assert await caller.code("message/mass/send", mass("a", people(wechat, 2)) | more) == code


async def test_a_subscription_account_sends_to_no_list_and_once_a_day(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.rules.account_type = "subscription"
    assert await caller.code("message/mass/send", mass("a", people(wechat, 2))) == 40200
    tag = (await caller.post("tags/create", {"tag": {"name": "全体"}}))["tag"]["id"]
    body = {"filter": {"tag_id": tag}, "msgtype": "text", "text": {"content": "警示"}}
    codes = [await caller.code("message/mass/sendall", body | {"clientmsgid": n}) for n in "ab"]
    assert codes == [0, 45028]


async def test_a_preview_costs_no_quota_and_speed_has_five_steps(wechat: FakeWeChat, caller: Caller) -> None:
    people(wechat, 1)
    body = {"touser": "o-0", "msgtype": "text", "text": {"content": "预览"}}
    assert [await caller.code("message/mass/preview", body) for _ in range(101)] == [0] * 100 + [45009]
    assert wechat.follower("o-0").mass_in_month == {}
    assert [await caller.code("message/mass/speed/set", {"speed": n}) for n in (4, 5)] == [0, 45083]
    assert (await caller.post("message/mass/speed/get", {}))["speed"] == 4


# -- notices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"thing1": {"value": "可疑转账"}, "time2": {"value": "2026-11-22 12:00"}}, 0),
        ({"thing1": {"value": "可" * 21}, "time2": {"value": "2026-11-22"}}, 47003),
        ({"thing1": {"value": "可疑转账"}}, 47003),
        ({"thing1": {"value": ""}, "time2": {"value": "2026-11-22"}}, 47003),
    ],
)
async def test_a_template_checks_its_fields(
    wechat: FakeWeChat, caller: Caller, data: dict[str, Any], code: int
) -> None:
    wechat.follower(OPENID)
    wechat.notices.add_template("T1", ("thing1", "time2"))
    body = {"touser": OPENID, "template_id": "T1", "data": data}
    assert await caller.code("message/template/send", body) == code


async def test_a_template_tells_its_result_and_is_sent_once_per_number(
    wechat: FakeWeChat, bot: Bot, caller: Caller
) -> None:
    wechat.notices.add_template("T1", ("thing1",))
    data = {"thing1": {"value": "可疑转账"}}
    body = {"touser": OPENID, "template_id": "T1", "data": data, "client_msg_id": "d-1"}
    assert await caller.code("message/template/send", body) == 40003
    wechat.follower(OPENID).following = False
    assert await caller.code("message/template/send", body) == 43004
    wechat.follower(OPENID).following = True
    assert await caller.code("message/template/send", body | {"template_id": "T9"}) == 40037
    first, again = [await caller.post("message/template/send", body) for _ in range(2)]
    assert first["msgid"] == again["msgid"]
    wechat.follower(OPENID).refuses = 48002
    await caller.post("message/template/send", body | {"client_msg_id": "d-2"})
    await wechat.settle(1)
    statuses = [event["Status"] for event in bot.events("TEMPLATESENDJOBFINISH")]
    assert statuses == ["success", "failed:user block"]
    assert len(wechat.chat(OPENID)) == 1


async def test_a_subscription_notice_uses_up_a_consent(wechat: FakeWeChat, bot: Bot, caller: Caller) -> None:
    wechat.notices.add_subscription("S1", ("thing1",))
    wechat.follower(OPENID)
    body = {"touser": OPENID, "template_id": "S1", "data": {"thing1": {"value": "已办结"}}}

    async def send() -> int:
        return await caller.code("message/subscribe/bizsend", body)

    assert await send() == 43101
    await wechat.notices.accept(OPENID, "S1", "S2")
    assert [await send(), await send()] == [0, 43101]
    await wechat.notices.accept(OPENID, "S1", always=True)
    assert [await send(), await send()] == [0, 0]
    await wechat.notices.revoke(OPENID, "S1")
    assert await send() == 43101
    await wechat.notices.reject(OPENID, "S1")
    await wechat.settle(1)
    assert [event["Event"] for event in bot.got] == [
        *["subscribe_msg_popup_event"] * 2,
        "subscribe_msg_change_event",
        "subscribe_msg_popup_event",
        *["subscribe_msg_sent_event"] * 3,
    ]


# -- tags -------------------------------------------------------------------------------------------------------------


async def test_tags_have_limits(wechat: FakeWeChat, caller: Caller) -> None:
    openids = people(wechat, 51)

    async def create(name: str) -> dict[str, Any]:
        return await caller.post("tags/create", {"tag": {"name": name}})

    tag = (await create("老人"))["tag"]["id"]
    assert [(await create(name)).get("errcode") for name in ("老人", "长" * 31)] == [45157, 45158]

    async def put(openid_list: list[str], tagid: int) -> int:
        return await caller.code("tags/members/batchtagging", {"openid_list": openid_list, "tagid": tagid})

    assert [await put(openids, tag), await put(openids[:50], tag), await put(["o-x"], tag)] == [40032, 0, 40003]
    assert [await put(["o-0"], 9), await put(["o-0"], 2)] == [45159, 45058]
    for n in range(19):
        assert await put(["o-0"], (await create(f"标签{n}"))["tag"]["id"]) == 0
    assert await put(["o-0"], (await create("多了"))["tag"]["id"]) == 45059
    assert len((await caller.post("user/tag/get", {"tagid": tag}))["data"]["openid"]) == 50
    assert len((await caller.post("tags/getidlist", {"openid": "o-0"}))["tagid_list"]) == 20
    counts = {one["name"]: one["count"] for one in (await caller.get("tags/get"))["tags"]}
    assert counts["老人"] == 50
    await caller.post("tags/delete", {"tag": {"id": tag}})
    assert wechat.follower("o-1").tags == []


async def test_two_writes_to_one_resident_may_not_overlap(wechat: FakeWeChat, caller: Caller) -> None:
    people(wechat, 3)
    wechat.rules.tag_write_seconds = 0.2
    tag = (await caller.post("tags/create", {"tag": {"name": "老人"}}))["tag"]["id"]

    async def put(*openids: str) -> int:
        return await caller.code("tags/members/batchtagging", {"openid_list": openids, "tagid": tag})

    assert sorted(await asyncio.gather(put("o-0", "o-1"), put("o-1", "o-2"))) == [0, 45169]
    assert sum(await asyncio.gather(put("o-0"), put("o-1"))) == 0


async def test_a_tagging_may_succeed_in_part(wechat: FakeWeChat, caller: Caller) -> None:
    people(wechat, 3)
    tag = (await caller.post("tags/create", {"tag": {"name": "老人"}}))["tag"]["id"]
    wechat.tags.fail_once = {"o-1"}
    body = {"openid_list": ["o-0", "o-1"], "tagid": tag}
    answer = await caller.post("tags/members/batchtagging", body)
    assert (answer["errcode"], answer["fail_openid_list"]) == (45171, ["o-1"])
    assert wechat.tags.members(tag) == ["o-0"]
    assert await caller.code("tags/members/batchtagging", body) == 0


# -- codes and menu ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "scene", "seconds", "code"),
    [
        ("QR_LIMIT_STR_SCENE", {"scene_str": "beat:7"}, None, 0),
        ("QR_LIMIT_STR_SCENE", {"scene_str": "x" * 65}, None, 40053),
        ("QR_LIMIT_STR_SCENE", {"scene_str": ""}, None, 40053),
        ("QR_LIMIT_SCENE", {"scene_id": 100_000}, None, 0),
        ("QR_LIMIT_SCENE", {"scene_id": 100_001}, None, 40053),
        ("QR_SCENE", {"scene_id": 100_001}, 60, 0),
        ("QR_SCENE", {"scene_id": 0}, 60, 40053),
        ("QR_STR_SCENE", {"scene_str": "x"}, 2_592_000, 0),
        ("QR_STR_SCENE", {"scene_str": "x"}, 2_592_001, 40053),
        ("QR", {"scene_str": "x"}, None, 40052),
    ],
)
async def test_codes_have_ranges(
    caller: Caller, action: str, scene: dict[str, Any], seconds: int | None, code: int
) -> None:
    body: dict[str, Any] = {"action_name": action, "action_info": {"scene": scene}}
    if seconds is not None:
        body["expire_seconds"] = seconds
    assert await caller.code("qrcode/create", body) == code


async def test_a_scan_follows_or_comes_back(wechat: FakeWeChat, bot: Bot, caller: Caller) -> None:
    body = {"action_name": "QR_STR_SCENE", "expire_seconds": 60, "action_info": {"scene": {"scene_str": "beat:7"}}}
    ticket = (await caller.post("qrcode/create", body))["ticket"]
    async with caller.http.get(f"{wechat.url}/cgi-bin/showqrcode", params={"ticket": ticket}) as response:
        assert (await response.read()).startswith(b"\x89PNG")
    await wechat.scan(ticket, OPENID)
    assert await caller.send() == 0
    await wechat.scan("beat:8", OPENID)
    assert [(one["Event"], one["EventKey"]) for one in bot.got] == [("subscribe", "qrscene_beat:7"), ("SCAN", "beat:8")]
    info = await caller.get("user/info", openid=OPENID)
    assert (info["subscribe"], info["qr_scene_str"], "unionid" in info) == (1, "beat:7", False)
    wechat.advance(61)
    with pytest.raises(ValueError, match="expired"):
        await wechat.scan(ticket, OPENID)


async def test_a_conditional_menu_is_seen_by_those_it_is_for(wechat: FakeWeChat, bot: Bot, caller: Caller) -> None:
    def menu(name: str, **rule: str) -> dict[str, Any]:
        return {"button": [{"type": "click", "name": name, "key": name}], **({"matchrule": rule} if rule else {})}

    async def seen(openid: str) -> str:
        found = await caller.post("menu/trymatch", {"user_id": openid})
        return str(found["button"][0]["name"])

    english, android, plain = people(wechat, 3)
    wechat.follower(english).tags, wechat.follower(english).phone = [100, 101], "1"
    wechat.follower(plain).phone = "1"
    assert await caller.code("menu/addconditional", menu("甲", tag_id="101")) == 65303, "everybody's menu comes first"
    await caller.post("menu/create", menu("众"))
    for rule, code in (({}, 65304), ({"sex": "1", "tag_id": "101"}, 65320), ({"client_platform_type": "9"}, 40035)):
        assert await caller.code("menu/addconditional", menu("甲", **rule)) == code
    first = (await caller.post("menu/addconditional", menu("甲", tag_id="101")))["menuid"]
    await caller.post("menu/addconditional", menu("安", client_platform_type="2"))
    await caller.post("menu/addconditional", menu("无", tag_id="100"))  # not the tag he was given last
    assert [await seen(openid) for openid in (english, android, plain)] == ["甲", "安", "众"]
    assert await caller.code("menu/trymatch", {"user_id": "o-nobody"}) == 65302

    await wechat.tap(english, "甲")
    assert bot.events("CLICK")[-1]["EventKey"] == "甲"
    with pytest.raises(LookupError):
        await wechat.tap(plain, "甲")

    listed = (await caller.get("menu/get"))["conditionalmenu"]
    assert [one["matchrule"] for one in listed] == [{"tag_id": "100"}, {"client_platform_type": "2"}, {"tag_id": "101"}]
    assert await caller.code("menu/delconditional", {"menuid": first}) == 0
    assert await caller.code("menu/delconditional", {"menuid": first}) == 65301
    assert await seen(english) == "众"
    await caller.get("menu/delete")
    assert wechat.menu.conditional == []


async def test_the_menu_wants_raw_chinese_and_its_sizes(caller: Caller, wechat: FakeWeChat) -> None:
    def menu(*buttons: dict[str, Any]) -> dict[str, Any]:
        return {"button": list(buttons)}

    ask = {"type": "click", "name": "问民警", "key": "ask"}
    rows = [
        (menu(ask), 0),
        (menu(*[ask] * 4), 40016),
        (menu({**ask, "name": "六个汉字多了"}), 40018),
        (menu({**ask, "key": "k" * 129}), 40019),
        (menu({**ask, "type": "dance"}), 40017),
        (menu({"name": "更多", "sub_button": [{**ask, "name": "可以长一些的名字"}]}), 0),
        (menu({"name": "更多", "sub_button": [ask] * 6}), 40023),
        (menu({"name": "更多", "sub_button": [{**ask, "key": ""}]}), 40026),
        (menu({"type": "view", "name": "网页", "url": "https://a.example/" + "x" * 1024}), 40020),
    ]
    assert [await caller.code("menu/create", body) for body, _ in rows] == [code for _, code in rows]
    url = f"{wechat.url}/cgi-bin/menu/create?access_token={caller.token}"
    async with caller.http.post(url, json=menu(ask)) as response:  # json= writes \uXXXX
        assert (await response.json(content_type=None))["errcode"] == 40033


async def test_a_tap_pushes_its_event_and_opens_a_minute(wechat: FakeWeChat, bot: Bot, caller: Caller) -> None:
    assert (await caller.get("menu/get"))["errcode"] == 46003
    buttons = [
        {"type": "click", "name": "找民警", "key": "officer"},
        {"name": "更多", "sub_button": [{"type": "view", "name": "网页", "url": "https://a.example"}]},
        {"type": "scancode_waitmsg", "name": "扫码", "key": "scan"},
    ]
    await caller.post("menu/create", {"button": buttons})
    wechat.follower(OPENID)
    await wechat.tap(OPENID, "网页")
    assert await caller.send() == 45015
    await wechat.tap(OPENID, "officer")
    assert [await caller.send() for _ in range(4)] == [0, 0, 0, 45047]
    with pytest.raises(LookupError):
        await wechat.tap(OPENID, "没有")
    await caller.get("menu/delete")
    assert (await caller.get("menu/get"))["errcode"] == 46003


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_followers_come_in_pages(wechat: FakeWeChat, caller: Caller) -> None:
    openids = people(wechat, 5)
    wechat.follower("o-2").following = False
    wechat.rules.follower_page = 2
    found: list[str] = []
    after = ""
    while (page := await caller.get("user/get", next_openid=after))["count"]:
        found += page["data"]["openid"]
        after = page["next_openid"]
    assert found == [one for one in openids if one != "o-2"]
    wechat.follower("o-0").unionid = "u-0"
    batch = await caller.post("user/info/batchget", {"user_list": [{"openid": "o-0"}, {"openid": "o-2"}]})
    assert [(one["subscribe"], one.get("unionid")) for one in batch["user_info_list"]] == [(1, "u-0"), (0, None)]
    assert await caller.code("user/info/batchget", {"user_list": [{"openid": "o-0"}] * 101}) == 40032


async def test_a_blacklisted_resident_is_refused(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.inbound(OPENID)
    await caller.post("tags/members/batchblacklist", {"openid_list": [OPENID]})
    assert await caller.send() == 43019
    await caller.post("tags/members/batchunblacklist", {"openid_list": [OPENID]})
    assert await caller.send() == 0


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("image", JPEG, None),
        ("image", b"<html>", 40005),
        ("image", JPEG + b"x" * 2 * 1024 * 1024, 40006),
        ("voice", b"#!AMR\n" + b"x", None),
        ("video", b"\0\0\0\x18ftypmp42", None),
        ("thumb", JPEG + b"x" * 65_536, 40006),
        ("poem", JPEG, 40004),
        ("image", b"", 44001),
    ],
)
async def test_uploads_are_checked(caller: Caller, kind: str, data: bytes, code: int | None) -> None:
    assert (await caller.upload(kind, data)).get("errcode") == code


async def test_daily_quotas_end_at_midnight_in_china_or_by_clearing(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.rules.daily_limits["menu/get"] = 2
    assert [(await caller.get("menu/get"))["errcode"] for _ in range(3)] == [46003, 46003, 45009]
    asked = await caller.post("openapi/quota/get", {"cgi_path": "/cgi-bin/menu/get"})
    assert (asked["quota"]["used"], asked["quota"]["remain"]) == (3, 0)
    await caller.post("clear_quota", {"appid": wechat.app_id})
    assert (await caller.get("menu/get"))["errcode"] == 46003
    wechat.rules.daily_limits["menu/get"] = 1
    assert (await caller.get("menu/get"))["errcode"] == 45009
    wechat.advance(12 * 3600)  # from noon
    await caller.stable_token()
    assert (await caller.get("menu/get"))["errcode"] == 46003
    assert (await caller.get("getcallbackip"))["ip_list"]


async def test_typing_needs_a_fresh_word(wechat: FakeWeChat, caller: Caller) -> None:
    wechat.inbound(OPENID)
    codes = [
        await caller.code("message/custom/typing", {"touser": OPENID, "command": command})
        for command in ("Typing", "Typing", "CancelTyping", "Typing", "Dance")
    ]
    assert codes == [0, 45081, 0, 0, 45072]
    wechat.advance(31)
    assert await caller.code("message/custom/typing", {"touser": OPENID, "command": "Typing"}) == 45080


async def test_a_bad_answer_shows_as_a_fault_notice(wechat: FakeWeChat, bot: Bot) -> None:
    pusher = wechat.pusher
    assert pusher is not None
    for answer, verdict in ((b"success", "silent"), (b"", "silent"), (b'{"ok": true}', "fault notice")):
        bot.answer = answer
        assert (await pusher.text(OPENID, "在吗")).verdict == verdict
    bot.status = 500
    assert (await pusher.text(OPENID, "在吗")).verdict == "fault notice"
    shown = [bubble.words for bubble in wechat.chat(OPENID) if bubble.by == "notice"]
    assert shown == [FAULT_NOTICE] * 2


async def test_wrong_methods_paths_and_bodies_are_named(wechat: FakeWeChat, caller: Caller) -> None:
    assert (await caller.get("message/custom/send"))["errcode"] == 43002
    assert await caller.code("message/custom/nothing", {}) == 40066
    assert await caller.code("message/custom/send", [1]) == 47001
    assert (await caller.get("stable_token"))["errcode"] == 43002
