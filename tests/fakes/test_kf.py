"""The fake WeChat customer service keeps the platform's rules."""

from typing import Any

import pytest

from tests.fakes.conftest import Bot, Caller
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.wecom.corp import Corp
from tests.fakes.wechat.wecom.kf import BOT, ENDED, HUMAN, POOL, STATES, UNHANDLED, CustomerService

KF = "wkAJ2GCAAASSm4"
WANG = "wmWang0001"


@pytest.fixture
def kf(corp: Corp, corp_bot: Bot) -> CustomerService:
    corp.kf.add_account(KF, servicers=("zhang", "li"))
    return corp.kf


async def sync(office: Caller, cursor: str = "", **more: Any) -> dict[str, Any]:
    return await office.post("kf/sync_msg", {"open_kfid": KF, "cursor": cursor, **more})


async def say(office: Caller, words: str = "您好", **more: Any) -> int:
    body = {"touser": WANG, "open_kfid": KF, "msgtype": "text", "text": {"content": words}, **more}
    return await office.code("kf/send_msg", body)


async def trans(office: Caller, state: int, servicer: str = "") -> dict[str, Any]:
    body = {"open_kfid": KF, "external_userid": WANG, "service_state": state, "servicer_userid": servicer}
    return await office.post("kf/service_state/trans", body)


async def test_a_callback_wakes_and_the_list_is_pulled(kf: CustomerService, corp_bot: Bot, office: Caller) -> None:
    await kf.writes(KF, WANG, "身份证丢了")
    (wake,) = corp_bot.events("kf_msg_or_event")
    assert (wake["OpenKfId"], wake.get("FromUserName"), wake.get("MsgId")) == (KF, None, None)
    first = await sync(office, token=wake["Token"])
    assert (first["has_more"], [row["text"]["content"] for row in first["msg_list"]]) == (0, ["身份证丢了"])
    assert [row["origin"] for row in first["msg_list"]] == [3]
    await kf.writes(KF, WANG, "怎么办")
    second = await sync(office, first["next_cursor"])
    assert [row["text"]["content"] for row in second["msg_list"]] == ["怎么办"]
    assert (await sync(office, "nonsense"))["errcode"] == 40058
    assert (await sync(office, second["next_cursor"]))["msg_list"] == []


async def test_a_page_may_be_empty_and_more_may_follow(kf: CustomerService, wechat: FakeWeChat, office: Caller) -> None:
    for n in range(5):
        await kf.writes(KF, WANG, str(n))
    wechat.rules.kf_page, kf.empty_pages = 2, 1
    cursor, pages = "", []
    while True:
        answer = await sync(office, cursor)
        pages.append([row["text"]["content"] for row in answer["msg_list"]])
        cursor = answer["next_cursor"]
        if not answer["has_more"]:
            break
    assert pages == [[], ["0", "1"], ["2", "3"], ["4"]]


async def test_the_token_lives_ten_minutes_and_calls_without_it_are_few(
    kf: CustomerService, wechat: FakeWeChat, corp_bot: Bot, office: Caller
) -> None:
    await kf.writes(KF, WANG, "在吗")
    token = corp_bot.got[0]["Token"]
    wechat.advance(599)
    assert (await sync(office, token=token))["errcode"] == 0
    wechat.advance(2)
    assert (await sync(office, token=token))["errcode"] == 95007
    assert [(await sync(office))["errcode"] for _ in range(11)] == [0] * 10 + [45009]
    wechat.advance(61)
    assert (await sync(office))["errcode"] == 0


async def test_only_three_days_can_be_pulled(kf: CustomerService, wechat: FakeWeChat, office: Caller) -> None:
    await kf.writes(KF, WANG, "前天")
    wechat.advance(3 * 86400 + 1)
    await office.corp_token()
    await kf.writes(KF, WANG, "今天")
    assert [row["text"]["content"] for row in (await sync(office))["msg_list"]] == ["今天"]


async def test_five_messages_in_48_hours(kf: CustomerService, wechat: FakeWeChat, office: Caller) -> None:
    assert await say(office) == 40096
    await kf.enters(KF, WANG, "door")
    assert await say(office) == 95031
    await kf.writes(KF, WANG, "在吗")
    assert [await say(office) for _ in range(6)] == [0, 0, 0, 0, 0, 95001]
    await kf.writes(KF, WANG, "还在吗")
    assert await say(office, "长" * 700) == 0
    assert len(kf.chat(KF, WANG)[-1].words.encode()) <= 2048
    wechat.advance(48 * 3600 + 1)
    await office.corp_token()
    assert await say(office) == 95002


async def test_an_own_msgid_is_taken_once(kf: CustomerService, office: Caller) -> None:
    await kf.writes(KF, WANG, "在吗")
    assert [await say(office, msgid="d-7"), await say(office, msgid="d-7")] == [0, 95033]
    assert await say(office, msgid="有中文") == 40058
    assert [bubble.words for bubble in kf.chat(KF, WANG)] == ["在吗", "您好"]


@pytest.mark.parametrize("start", [UNHANDLED, BOT, POOL, HUMAN, ENDED])
@pytest.mark.parametrize("wanted", [UNHANDLED, BOT, POOL, HUMAN, ENDED])
async def test_the_arrows_between_session_states(kf: CustomerService, office: Caller, start: int, wanted: int) -> None:
    await kf.writes(KF, WANG, "在吗")
    session = kf.session(KF, WANG)
    session.state, session.servicer = start, "zhang" if start == HUMAN else ""
    answer = await trans(office, wanted, "li" if wanted == HUMAN else "")
    assert answer["errcode"] == (0 if wanted in STATES[start] else 95016)
    assert ("msg_code" in answer) == (answer["errcode"] == 0 and wanted in {POOL, HUMAN, ENDED})


async def test_the_bot_is_silent_while_a_person_serves(kf: CustomerService, office: Caller) -> None:
    await kf.writes(KF, WANG, "找人")
    assert (await trans(office, BOT))["errcode"] == 0
    assert await say(office) == 0
    assert (await trans(office, POOL))["errcode"] == 0
    assert await say(office) == 95018
    await kf.servicer_takes(KF, WANG, "zhang")
    assert await say(office) == 95018
    state = await office.post("kf/service_state/get", {"open_kfid": KF, "external_userid": WANG})
    assert (state["service_state"], state["servicer_userid"]) == (HUMAN, "zhang")
    await kf.servicer_ends(KF, WANG)
    assert await say(office) == 95013
    await kf.writes(KF, WANG, "还有一件事")
    assert kf.session(KF, WANG).state == UNHANDLED


async def test_a_servicer_must_exist_and_receive(kf: CustomerService, corp: Corp, office: Caller) -> None:
    await kf.writes(KF, WANG, "找人")
    assert (await trans(office, HUMAN, "suo"))["errcode"] == 95014
    await kf.servicer_status(KF, "zhang", receiving=False)
    assert (await trans(office, HUMAN, "zhang"))["errcode"] == 95019
    corp.members.held["li"].status = 2
    assert (await trans(office, HUMAN, "li"))["errcode"] == 95014


async def on_event(office: Caller, code: str, kind: str = "text") -> int:
    content = {"content": "欢迎"} if kind == "text" else {"head_content": "请选", "list": []}
    return await office.code("kf/send_msg_on_event", {"code": code, "msgtype": kind, kind: content})


async def test_the_welcome_is_sent_once_within_20_seconds(
    kf: CustomerService, wechat: FakeWeChat, office: Caller
) -> None:
    code = await kf.enters(KF, WANG, "door", "beat7")
    assert await kf.enters(KF, WANG, "door") == ""  # welcomed within 48 hours
    assert [await on_event(office, code), await on_event(office, code)] == [0, 40058]
    late = await kf.enters(KF, "wmLi")
    wechat.advance(21)
    assert await on_event(office, late) == 40058
    await kf.writes(KF, "wmZhao", "在吗")
    assert await kf.enters(KF, "wmZhao") == ""  # he has spoken
    event = (await sync(office))["msg_list"][0]["event"]
    assert (event["scene"], event["scene_param"], event["welcome_code"]) == ("door", "beat7", code)


async def test_a_code_holds_only_in_the_state_that_made_it(kf: CustomerService, office: Caller) -> None:
    await kf.writes(KF, WANG, "找人")
    pool = (await trans(office, POOL))["msg_code"]
    human = (await trans(office, HUMAN, "zhang"))["msg_code"]
    assert await on_event(office, pool) == 40058
    assert await on_event(office, human, "msgmenu") == 40008
    assert await on_event(office, human) == 0
    end = (await trans(office, ENDED))["msg_code"]
    assert await on_event(office, end, "msgmenu") == 0


async def test_a_message_taken_may_fail_later(kf: CustomerService, wechat: FakeWeChat, office: Caller) -> None:
    await kf.writes(KF, WANG, "在吗")
    kf.fail_next.append(13)
    assert await say(office, msgid="d-1") == 0
    await wechat.settle()
    event = (await sync(office))["msg_list"][-1]["event"]
    assert (event["event_type"], event["fail_msgid"], event["fail_type"]) == ("msg_send_fail", "d-1", 13)
    assert [bubble.by for bubble in kf.chat(KF, WANG)] == ["person"]


async def test_what_a_servicer_types_is_a_row_of_origin_5(kf: CustomerService, office: Caller) -> None:
    await kf.servicer_writes(KF, WANG, "zhang", "您的证办好了")
    rows = (await sync(office))["msg_list"]
    assert [(row["origin"], row["msgtype"]) for row in rows] == [(4, "event"), (5, "text")]
    assert kf.session(KF, WANG).state == HUMAN


async def test_servicers_and_customers_are_listed(kf: CustomerService, wechat: FakeWeChat, office: Caller) -> None:
    added = await office.post("kf/servicer/add", {"open_kfid": KF, "userid_list": ["suo", "nobody"]})
    assert [row["errcode"] for row in added["result_list"]] == [0, 60030]
    await kf.servicer_status(KF, "suo", receiving=False)
    listed = await office.get("kf/servicer/list", open_kfid=KF)
    assert [(row["userid"], row["status"]) for row in listed["servicer_list"]] == [("zhang", 0), ("li", 0), ("suo", 1)]
    await kf.writes(KF, WANG, "在吗")
    customers = await office.post("kf/customer/batchget", {"external_userid_list": [WANG, "wmNobody"]})
    assert [one["external_userid"] for one in customers["customer_list"]] == [WANG]
    assert customers["invalid_external_userid"] == ["wmNobody"]
    assert [one["open_kfid"] for one in (await office.post("kf/account/list", {}))["account_list"]] == [KF]


async def test_a_menu_holds_ten_choices_and_a_tap_comes_as_text(kf: CustomerService, office: Caller) -> None:
    await kf.writes(KF, WANG, "在吗")

    async def menu(count: int) -> int:
        choices = [{"type": "click", "click": {"id": str(n), "content": f"第{n}项"}} for n in range(count)]
        body = {
            "touser": WANG,
            "open_kfid": KF,
            "msgtype": "msgmenu",
            "msgmenu": {"head_content": "请选", "list": choices},
        }
        return await office.code("kf/send_msg", body)

    assert [await menu(10), await menu(11)] == [0, 95008]
    await kf.writes(KF, WANG, "第3项", menu_id="3")
    assert (await sync(office))["msg_list"][-1]["text"] == {"content": "第3项", "menu_id": "3"}
