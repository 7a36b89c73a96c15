"""The fake WeCom corporation keeps the platform's rules: apps, officers, contacts, mass messages, groups."""

from typing import Any

import pytest

from tests.fakes.conftest import Bot, Caller
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.wecom.apps import AGENT_ID
from tests.fakes.wechat.wecom.corp import Corp

WANG, LIU, ZHAO = "wmWang01", "wmLiu01", "wmZhao01"


def note(touser: str, **more: Any) -> dict[str, Any]:
    return {"touser": touser, "msgtype": "text", "agentid": AGENT_ID, "text": {"content": "有新的求助"}, **more}


# -- apps -------------------------------------------------------------------------------------------------------------


async def test_the_token_stays_the_same_while_it_lives(wechat: FakeWeChat, office: Caller) -> None:
    first = office.token
    assert (await office.corp_token())["access_token"] == first
    wechat.advance(7200)
    assert (await office.get("user/get", userid="zhang"))["errcode"] == 42001
    assert (await office.corp_token())["access_token"] != first
    assert (await office.corp_token(secret="wrong"))["errcode"] == 40001
    assert (await office.corp_token(corp_id="ww9"))["errcode"] == 40013
    office.token = "nonsense"
    assert (await office.get("user/get", userid="zhang"))["errcode"] == 40014


async def test_an_app_uses_only_the_modules_it_was_authorised_for(corp: Corp, office: Caller) -> None:
    corp.apps.add("another-secret", 7, "app")
    await office.corp_token(secret="another-secret")
    assert await office.code("kf/account/list", {}) == 48002
    assert await office.code("message/send", note("zhang", agentid=7)) == 0
    assert await office.code("message/send", note("zhang")) == 40056


# -- officers ---------------------------------------------------------------------------------------------------------


async def test_a_message_reaches_the_valid_and_names_the_others(corp: Corp, office: Caller) -> None:
    corp.members.held["suo"].status = 2
    answer = await office.post("message/send", note("Zhang|SUO|nobody"))
    assert (answer["errcode"], answer["invaliduser"]) == (0, "suo|nobody")
    assert [bubble.words for bubble in corp.members.held["zhang"].chat] == ["有新的求助"]
    assert await office.code("message/send", note("nobody")) == 81013
    assert await office.code("message/send", note("")) == 82001
    assert await office.code("message/send", note("|".join(f"u{n}" for n in range(1001)))) == 40058
    assert (await office.post("message/send", note("@all")))["errcode"] == 0
    assert len(corp.members.held["li"].chat) == 1
    corp.members.held["li"].departments = [9]
    answer = await office.post("message/send", note("", toparty="9|10"))
    assert answer["invalidparty"] == "10"
    assert len(corp.members.held["li"].chat) == 2


async def test_more_than_thirty_a_minute_are_dropped_without_a_word(
    wechat: FakeWeChat, corp: Corp, office: Caller
) -> None:
    assert {await office.code("message/send", note("zhang", text={"content": str(n)})) for n in range(32)} == {0}
    assert len(corp.members.held["zhang"].chat) == 30
    wechat.advance(61)
    await office.post("message/send", note("zhang"))
    assert len(corp.members.held["zhang"].chat) == 31


async def test_the_same_message_is_not_repeated_when_asked_so(wechat: FakeWeChat, corp: Corp, office: Caller) -> None:
    body = note("zhang", enable_duplicate_check=1, duplicate_check_interval=60)
    for _ in range(2):
        assert await office.code("message/send", body) == 0
    assert len(corp.members.held["zhang"].chat) == 1
    wechat.advance(61)
    answer = await office.post("message/send", body)
    assert len(corp.members.held["zhang"].chat) == 2
    assert await office.code("message/recall", {"msgid": answer["msgid"]}) == 0
    assert len(corp.members.held["zhang"].chat) == 1


async def test_a_card_is_pressed_and_updated_once(corp: Corp, corp_bot: Bot, office: Caller) -> None:
    card = {
        "card_type": "button_interaction",
        "main_title": {"title": "居民求助", "desc": "枫林社区"},
        "task_id": "t-1",
        "button_list": [{"text": "我来处理", "key": "take"}],
    }
    await office.post("message/send", note("zhang", msgtype="template_card", template_card=card))
    await corp.members.press("zhang", "take")
    (event,) = corp_bot.events("template_card_event")
    assert (event["EventKey"], event["TaskId"], event["FromUserName"]) == ("take", "t-1", "zhang")
    update = {"agentid": AGENT_ID, "response_code": event["ResponseCode"], "button": {"replace_name": "已接"}}
    assert [await office.code("message/update_template_card", update) for _ in range(2)] == [0, 40058]
    assert corp.members.held["zhang"].chat[-1].words == "已接"


async def test_a_login_code_is_used_once_within_five_minutes(wechat: FakeWeChat, corp: Corp, office: Caller) -> None:
    async def who(code: str) -> dict[str, Any]:
        return await office.get("auth/getuserinfo", code=code)

    code = corp.members.login_code("zhang")
    assert (await who(code))["userid"] == "zhang"
    assert (await who(code))["errcode"] == 42022
    assert (await who("nonsense"))["errcode"] == 40029
    outsider = await who(corp.members.login_code(openid="o-x"))
    assert (outsider["openid"], outsider.get("userid")) == ("o-x", None)
    late = corp.members.login_code("zhang")
    wechat.advance(301)
    assert (await who(late))["errcode"] == 40029


async def test_the_login_page_sends_back_a_code_and_the_state(wechat: FakeWeChat, corp: Corp, office: Caller) -> None:
    corp.members.at_the_screen = "zhang"
    wechat.rules.trusted_host = "police.example"
    page = f"{wechat.url}/wecom/wwlogin/sso/login"
    query = {"appid": corp.apps.corp_id, "redirect_uri": "https://police.example/back", "state": "s1"}
    async with office.http.get(page, params=query, allow_redirects=False) as response:
        address = response.headers["Location"]
    assert address.startswith("https://police.example/back?code=")
    assert address.endswith("&state=s1")
    elsewhere = query | {"redirect_uri": "https://evil.example/"}
    async with office.http.get(page, params=elsewhere, allow_redirects=False) as response:
        assert (response.status, "50001" in await response.text()) == (200, True)


async def test_members_outside_the_range_are_not_shown(corp: Corp, office: Caller) -> None:
    corp.members.held["suo"].visible = False
    codes = [(await office.get("user/get", userid=userid))["errcode"] for userid in ("zhang", "suo", "nobody")]
    assert codes == [0, 60011, 60111]


# -- contacts ---------------------------------------------------------------------------------------------------------


async def contact_way(office: Caller, *users: str, state: str = "beat7") -> dict[str, Any]:
    body = {"type": 1 if len(users) == 1 else 2, "scene": 2, "user": list(users), "state": state}
    return await office.post("externalcontact/add_contact_way", body)


async def test_a_scan_adds_the_officer_and_the_welcome_has_twenty_seconds(
    wechat: FakeWeChat, corp: Corp, corp_bot: Bot, office: Caller
) -> None:
    way = await contact_way(office, "zhang")
    assert way["qr_code"] == f"{wechat.url}/wwpic/{way['config_id']}/0"
    await corp.contacts.scan(way["config_id"], WANG, name="王秀英")
    (event,) = corp_bot.events("change_external_contact")
    assert (event["ChangeType"], event["UserID"], event["State"]) == ("add_external_contact", "zhang", "beat7")

    async def welcome(code: str) -> int:
        body = {"welcome_code": code, "text": {"content": "您好，我是社区民警"}}
        return await office.code("externalcontact/send_welcome_msg", body)

    assert await welcome(event["WelcomeCode"]) == 0
    assert await welcome(event["WelcomeCode"]) == 41050
    corp.apps.add("another-secret", 7, "contact")
    await office.corp_token(secret="another-secret")
    assert await welcome(event["WelcomeCode"]) == 41096
    await corp.contacts.add("zhang", LIU)
    corp.contacts.talk("zhang", LIU, "在吗")
    assert await welcome(corp_bot.got[-1]["WelcomeCode"]) == 41051
    await corp.contacts.add("zhang", ZHAO)
    wechat.advance(21)
    assert await welcome(corp_bot.got[-1]["WelcomeCode"]) == 41050
    assert [bubble.words for bubble in corp.contacts.chat("zhang", WANG)] == ["您好，我是社区民警"]


async def test_a_contact_way_needs_fit_members_and_short_words(corp: Corp, office: Caller) -> None:
    corp.members.held["li"].real_name = False
    corp.members.held["suo"].has_contacts = False
    codes = [(await contact_way(office, userid))["errcode"] for userid in ("zhang", "li", "suo", "nobody")]
    assert codes == [0, 40098, 84074, 60111]
    assert (await contact_way(office, "zhang", state="x" * 31))["errcode"] == 40058
    listed = await office.post("externalcontact/list_contact_way", {})
    (config,) = listed["contact_way"]
    got = await office.post("externalcontact/get_contact_way", config)
    assert (got["contact_way"]["user"], got["contact_way"]["state"]) == (["zhang"], "beat7")


async def test_contacts_are_listed_remarked_and_tagged(corp: Corp, corp_bot: Bot, office: Caller) -> None:
    await corp.contacts.add("zhang", WANG, state="beat7", name="王秀英")
    corp.contacts.outsiders[WANG].unionid = "u-1"
    tag_group = await office.post("externalcontact/add_corp_tag", {"group_name": "关注", "tag": [{"name": "老人"}]})
    tag = tag_group["tag_group"]["tag"][0]["id"]
    who = {"userid": "zhang", "external_userid": WANG}
    assert await office.code("externalcontact/mark_tag", {**who, "add_tag": [tag]}) == 0
    assert await office.code("externalcontact/mark_tag", {"userid": "li", "external_userid": WANG}) == 84061
    assert await office.code("externalcontact/remark", {**who, "remark": "枫林 王秀英"}) == 0
    assert await office.code("externalcontact/remark", {**who, "remark": "长" * 21}) == 40058
    found = await office.get("externalcontact/get", external_userid=WANG)
    (follow,) = found["follow_user"]
    assert (found["external_contact"]["unionid"], follow["remark"]) == ("u-1", "枫林 王秀英")
    assert [one["tag_name"] for one in follow["tags"]] == ["老人"]
    assert (await office.get("externalcontact/list", userid="zhang"))["external_userid"] == [WANG]
    batch = await office.post("externalcontact/batch/get_by_user", {"userid_list": ["zhang"]})
    assert [one["follow_info"]["tag_id"] for one in batch["external_contact_list"]] == [[tag]]
    await corp.contacts.officer_edits("zhang", WANG, "王秀英 12栋")
    await corp.contacts.customer_removes("zhang", WANG)
    changes = [one["ChangeType"] for one in corp_bot.events("change_external_contact")]
    assert changes == ["add_external_contact", "edit_external_contact", "del_follow_user"]
    assert (await office.get("externalcontact/list", userid="zhang"))["errcode"] == 84061


# -- mass messages ----------------------------------------------------------------------------------------------------


async def results(office: Caller, msgid: str, userid: str) -> dict[str, int]:
    answer = await office.post("externalcontact/get_groupmsg_send_result", {"msgid": msgid, "userid": userid})
    return {row["external_userid"]: row["status"] for row in answer["send_list"]}


async def test_nothing_is_sent_until_the_officer_confirms(wechat: FakeWeChat, corp: Corp, office: Caller) -> None:
    wechat.rules.customer_mass_per_month = 1
    for external in (WANG, LIU, ZHAO):
        await corp.contacts.add("zhang", external)
    wechat.advance(1)
    await corp.contacts.add("li", ZHAO)  # whoever talked last sends
    body = {"external_userid": [WANG, LIU, ZHAO, "wmNobody"], "text": {"content": "谨防冒充客服"}}
    made = await office.post("externalcontact/add_msg_template", body)
    msgid = made["msgid"]
    assert made["fail_list"] == ["wmNobody"]
    assert await results(office, msgid, "zhang") == {WANG: 0, LIU: 0}
    await corp.contacts.customer_removes("zhang", LIU)
    corp.mass.confirm(msgid, "zhang")
    assert await results(office, msgid, "zhang") == {WANG: 1, LIU: 2}
    task = await office.post("externalcontact/get_groupmsg_task", {"msgid": msgid})
    assert {row["userid"]: row["status"] for row in task["task_list"]} == {"zhang": 2, "li": 0}
    assert [bubble.words for bubble in corp.contacts.chat("zhang", WANG)] == ["谨防冒充客服"]
    assert corp.contacts.chat("li", ZHAO) == []
    second = (await office.post("externalcontact/add_msg_template", body))["msgid"]
    corp.mass.confirm(second, "zhang")
    assert await results(office, second, "zhang") == {WANG: 3}
    with pytest.raises(LookupError):
        corp.mass.confirm(second, "zhang")


async def test_whom_an_admin_gave_to_another_is_in_that_ones_list_and_both_hear_of_it(
    corp: Corp, corp_bot: Bot, office: Caller
) -> None:
    await corp.contacts.add("zhang", WANG)
    await corp.contacts.transfer(WANG, "zhang", "li")
    lost, taken = corp_bot.events("change_external_contact")[-2:]
    assert (lost["ChangeType"], lost["UserID"], lost["Source"]) == (
        "del_external_contact",
        "zhang",
        "DELETE_BY_TRANSFER",
    )
    assert (taken["ChangeType"], taken["UserID"], "WelcomeCode" in taken) == ("add_external_contact", "li", False)
    (follower,) = (await office.get("externalcontact/get", external_userid=WANG))["follow_user"]
    assert (follower["userid"], follower["add_way"]) == ("li", 202)
    await corp.contacts.customer_removes("li", WANG)
    assert (await office.get("externalcontact/get", external_userid=WANG))["errcode"] == 84061


async def test_the_members_who_have_client_contact_are_listed(corp: Corp, office: Caller) -> None:
    corp.members.held["suo"].has_contacts = False
    able = (await office.get("externalcontact/get_follow_user_list"))["follow_user"]
    assert {"zhang", "li"} <= set(able)
    assert "suo" not in able


async def test_the_list_names_the_creators_of_what_people_made_and_not_of_what_apps_made(
    wechat: FakeWeChat, corp: Corp, office: Caller
) -> None:
    await corp.contacts.add("zhang", WANG)
    await office.post("externalcontact/add_msg_template", {"sender": "zhang", "text": {"content": "提醒"}})
    corp.mass.make_by_hand("zhang", "提醒", [WANG])
    corp.mass.make_by_hand("zhang", "提醒", [WANG], creator="zhang", personal=True)
    now = int(wechat.now())
    span = {"chat_type": "single", "start_time": now - 60, "end_time": now}

    async def creators(**asked: Any) -> list[str | None]:
        listed = await office.post("externalcontact/get_groupmsg_list_v2", span | asked)
        return [row.get("creator") for row in listed["group_msg_list"]]

    assert await creators() == [None, "admin", "zhang"]
    assert await creators(filter_type=0) == [None, "admin"]
    assert await creators(filter_type=1) == ["zhang"]
    assert await creators(creator="admin") == ["admin"]


async def test_a_task_is_reminded_three_times_a_day_and_cancelled(
    wechat: FakeWeChat, corp: Corp, office: Caller
) -> None:
    await corp.contacts.add("zhang", WANG)
    wechat.rules.dispatch_seconds = 10
    made = await office.post("externalcontact/add_msg_template", {"sender": "zhang", "text": {"content": "提醒"}})
    about = {"msgid": made["msgid"]}
    assert await office.code("externalcontact/get_groupmsg_task", about) == 41063
    wechat.advance(10)
    codes = [await office.code("externalcontact/remind_groupmsg_send", about) for _ in range(4)]
    assert codes == [0, 0, 0, 41094]
    assert await office.code("externalcontact/cancel_groupmsg_send", about) == 0
    with pytest.raises(LookupError):
        corp.mass.confirm(made["msgid"], "zhang")
    now = int(wechat.now())
    span = {"chat_type": "single", "start_time": now - 3600, "end_time": now}
    listed = await office.post("externalcontact/get_groupmsg_list_v2", span)
    assert [row["msgid"] for row in listed["group_msg_list"]] == [made["msgid"]]
    assert await office.code("externalcontact/get_groupmsg_list_v2", span | {"start_time": now - 40 * 86_400}) == 40058


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": {"content": "x"}}, 40058),
        ({"sender": "zhang"}, 40058),
        ({"sender": "zhang", "text": {"content": "长" * 1334}}, 45002),
        ({"sender": "zhang", "attachments": [{"msgtype": "link", "link": {"title": "a", "url": "b"}}] * 10}, 41064),
        ({"sender": "zhang", "attachments": [{"msgtype": "poem"}]}, 41065),
        ({"sender": "suo", "text": {"content": "x"}}, 41048),
        ({"chat_type": "group", "text": {"content": "x"}}, 40058),
    ],
)
async def test_a_mass_message_that_is_wrong(corp: Corp, office: Caller, body: dict[str, Any], code: int) -> None:
    await corp.contacts.add("zhang", WANG)
    assert await office.code("externalcontact/add_msg_template", body) == code


async def test_a_filter_of_tags_means_or_inside_and_between(corp: Corp, office: Caller) -> None:
    for external in (WANG, LIU):
        await corp.contacts.add("zhang", external)
    tags = await office.post(
        "externalcontact/add_corp_tag", {"group_name": "群", "tag": [{"name": "老"}, {"name": "少"}]}
    )
    old, young = (one["id"] for one in tags["tag_group"]["tag"])
    corp.contacts.friendships["zhang", WANG].tags = [old]
    corp.contacts.friendships["zhang", LIU].tags = [young, old]

    async def reached(*groups: list[str]) -> set[str]:
        body = {"text": {"content": "x"}, "tag_filter": {"group_list": [{"tag_list": one} for one in groups]}}
        made = await office.post("externalcontact/add_msg_template", body)
        return set(await results(office, made["msgid"], "zhang"))

    assert await reached([old, young]) == {WANG, LIU}
    assert await reached([old], [young]) == {LIU}


async def test_groups_get_mass_messages_from_their_owner(corp: Corp, corp_bot: Bot, office: Caller) -> None:
    await corp.groups.open("wr1", "枫林社区联络群", "zhang", WANG)
    await corp.groups.join("wr1", LIU)
    assert [one["ChangeType"] for one in corp_bot.events("change_external_chat")] == ["create", "update"]
    listed = await office.post("externalcontact/groupchat/list", {"owner_filter": {"userid_list": ["zhang"]}})
    assert [one["chat_id"] for one in listed["group_chat_list"]] == ["wr1"]
    group = (await office.post("externalcontact/groupchat/get", {"chat_id": "wr1"}))["group_chat"]
    assert {one["userid"]: one["type"] for one in group["member_list"]} == {"zhang": 1, WANG: 2, LIU: 2}
    body = {"chat_type": "group", "sender": "zhang", "text": {"content": "谨防诈骗"}}
    made = await office.post("externalcontact/add_msg_template", body)
    corp.mass.confirm(made["msgid"], "zhang")
    assert [bubble.words for bubble in corp.groups.held["wr1"].chat] == ["谨防诈骗"]


# -- the callback -----------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_not_200_is_delivered_again(corp: Corp, corp_bot: Bot) -> None:
    corp_bot.status = 500
    await corp.contacts.add("zhang", WANG)
    assert len(corp_bot.got) == 3
