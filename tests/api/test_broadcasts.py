"""A warning by API: written, measured, sealed by somebody else, expanded, stopped."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bot import clock
from bot.actions import broadcasts as actions
from bot.actions import recipients
from bot.store.models import Broadcast
from tests.support.station import FrozenClock

from .conftest import Caller, House, add_resident

AUDIENCE: dict[str, Any] = {"age_from": 60, "occupations": ["退休"]}
DRAFT: dict[str, Any] = {"title": "谨防冒充公检法", "body": "警察不会让您转账。", "audience": AUDIENCE}


def in_days(days: float) -> str:
    return (clock.now() + timedelta(days=days)).isoformat()


async def submitted(house: House, by: str = "chen") -> str:
    author = await house.caller(by)
    path = f"/broadcasts/{(await author.do('/broadcasts', DRAFT))['id']}"
    await author.do(f"{path}/submit")
    return path


async def approve(chief: Caller, path: str) -> Any:
    seal = (await chief.read(path))["seal"]
    return await chief.do(f"{path}/approve", {"seal": seal})


async def expand(house: House, path: str) -> None:
    """What the scheduler does when the time has come."""
    async with house.store.write() as session:
        row = await session.get_one(Broadcast, int(path.rsplit("/", 1)[1]))
        await actions.start(session, row)
        while await recipients.expand(session, row, {}):
            pass


async def test_a_warning_from_draft_to_progress(house: House) -> None:
    async with house.store.write() as session:
        row = {"occupation": "退休", "birth_year": 1948}
        await add_resident(session, house.station.id, house.furniture.communities[1], "李秀英", "13987654321", **row)
    chen, chief = await house.caller("chen"), await house.caller("suo")
    reach = await chen.do("/broadcasts/reach", {"audience": AUDIENCE})
    assert (reach["count"], reach["reachable"]) == (2, 1), "as the deliveries below: one has no address"
    assert [sample["name"] for sample in reach["samples"]] == ["王**", "李**"]
    assert reach["samples"][1]["community"]["id"] == house.furniture.communities[1]

    draft = await chen.do("/broadcasts", DRAFT)
    path = f"/broadcasts/{draft['id']}"
    assert (draft["state"], draft["author"]["name"], draft["approver"]) == ("draft", "陈建国", None)
    assert (await chief.post(f"{path}/approve", {"seal": (await chief.read(path))["seal"]})).slug == "conflict"
    assert (await chen.do(f"{path}/submit"))["state"] == "submitted"
    approved = await approve(chief, path)
    assert (approved["state"], approved["approver"]["name"]) == ("approved", "索立新")

    await expand(house, path)
    whole = await chen.read(path)
    assert whole["body"] == DRAFT["body"]
    assert whole["audience"] == {
        "age_from": 60, "age_to": None, "occupations": ["退休"], "communities": [], "languages": [], "genders": [],
    }  # fmt: skip
    assert whole["progress"] == {
        "total": 2, "arrived": 0, "submitted": 0, "waiting": 0, "ended": 1, "states": {"queued": 1, "skipped": 1},
        "reasons": [{"reason": "居民没有可用的联系渠道", "count": 1}],
    }  # fmt: skip
    stopped = await chen.do(f"{path}/stop", {"why": "内容有误"})
    assert (stopped["skipped"], stopped["broadcast"]["state"]) == (1, "cancelled")
    assert (await chen.read(path))["stopped_because"] == "内容有误"
    assert (await chen.post(f"{path}/stop", {"why": "再停一次"})).slug == "conflict"
    assert [row["id"] for row in (await chief.read("/broadcasts", state="cancelled"))["broadcasts"]] == [draft["id"]]
    assert (await chief.read("/broadcasts", state="sending"))["broadcasts"] == []


async def test_nobody_approves_his_own_warning(house: House) -> None:
    path, chief = await submitted(house, by="suo"), await house.caller("suo")
    heard = await chief.post(f"{path}/approve", {"seal": (await chief.read(path))["seal"]})
    assert (heard.status, heard.slug) == (403, "not-allowed")


async def test_what_was_seen_is_what_is_approved(house: House) -> None:
    path, chief = await submitted(house), await house.caller("suo")
    seen = (await chief.read(path))["seal"]
    async with house.store.write() as session:
        (await session.get_one(Broadcast, int(path.rsplit("/", 1)[1]))).body = "请把钱转到安全账户。"
    heard = await chief.post(f"{path}/approve", {"seal": seen})
    assert (heard.status, heard.slug) == (409, "conflict")
    assert (await chief.read(path))["broadcast"]["state"] == "submitted"


async def test_a_warning_sent_back_says_why(house: House) -> None:
    path, chief = await submitted(house), await house.caller("suo")
    assert (await chief.do(f"{path}/send-back", {"why": "请写明电话号码"}))["state"] == "draft"
    assert (await (await house.caller("chen")).read(path))["sent_back_because"] == "请写明电话号码"
    [event] = await house.audit("broadcast.sent_back")
    assert (event.actor_id, event.why) == (house.furniture.officers["suo"], "请写明电话号码")


async def test_times_are_kept_as_the_moment_they_name(house: House, time: FrozenClock) -> None:
    time.now = datetime(2026, 11, 30, tzinfo=UTC)
    chen = await house.caller("chen")
    times = {"send_at": "2026-12-01T08:30:00+08:00", "expires_at": "2026-12-02T00:30:00Z", "repeat": "weekly"}
    made = await chen.do("/broadcasts", DRAFT | times)
    assert (made["send_at"], made["expires_at"]) == ("2026-12-01T00:30:00Z", "2026-12-02T00:30:00Z")


WRONG_FIELDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"title": " "}, "title"),
    ({"title": "长" * 61}, "title"),
    ({"body": "长" * 601}, "body"),
    ({"body": "a\x00b"}, "body"),
    ({"audience": None}, "audience"),
    ({"audience": {"age_from": 121}}, "audience.age_from"),
    ({"audience": {"age_from": "60"}}, "audience.age_from"),
    ({"audience": {"occupations": ["间谍"]}}, "audience.occupations.0"),
    ({"audience": {"communities": [987654]}}, "audience.communities"),
    ({"audience": {"genders": ["x"]}}, "audience.genders.0"),
    ({"audience": {"ages": [60, 70]}}, "audience.ages"),
    ({"repeat": "daily"}, "repeat"),
    ({"send_at": "2026-12-01T08:30:00"}, "send_at"),
    ({"send_at": "0001-01-01T00:00:00+14:00"}, "send_at"),
    ({"send_at": "明天"}, "send_at"),
    ({"send_at": "2001-01-01T08:30:00+08:00"}, "send_at"),
    ({"expires_at": "2001-01-01T08:30:00+08:00"}, "expires_at"),
    ({"send_at": "2099-01-01T08:30:00+08:00"}, "send_at"),
    ({"approver": 4}, "approver"),
)
WRONG_WISHES: tuple[dict[str, Any], ...] = (
    {"audience": {"age_from": 70, "age_to": 60}},
    {"repeat": "weekly"},
    {"send_at": in_days(2), "expires_at": in_days(1)},
)


async def test_a_field_that_is_wrong_is_named(house: House) -> None:
    chen = await house.caller("chen")
    for change, field in WRONG_FIELDS:
        heard = await chen.post("/broadcasts", DRAFT | change)
        assert (heard.status, heard.slug, heard.fields) == (422, "invalid", [field]), change
        assert not heard.body["errors"][0]["detail"].isascii()
        assert field in heard.body["detail"]


async def test_a_wish_that_makes_no_sense_is_refused(house: House) -> None:
    chen = await house.caller("chen")
    for change in WRONG_WISHES:
        heard = await chen.post("/broadcasts", DRAFT | change)
        assert (heard.status, heard.slug) == (422, "refused"), change
    assert (await chen.read("/broadcasts"))["broadcasts"] == []


async def test_a_community_of_the_next_station_is_none(houses: list[House]) -> None:
    here, next_door = houses
    chen = await here.caller("chen")
    audience = {"communities": [here.furniture.communities[0], next_door.furniture.communities[0]]}
    for path, body in (("/broadcasts", DRAFT | {"audience": audience}), ("/broadcasts/reach", {"audience": audience})):
        heard = await chen.post(path, body)
        assert (heard.slug, heard.fields) == ("invalid", ["audience.communities"])


async def test_an_expired_warning_is_not_approved(house: House, time: FrozenClock) -> None:
    chen, chief = await house.caller("chen"), await house.caller("suo")
    path = f"/broadcasts/{(await chen.do('/broadcasts', DRAFT | {'expires_at': in_days(0.04)}))['id']}"
    await chen.do(f"{path}/submit")
    time.forward(hours=1)
    heard = await chief.post(f"{path}/approve", {"seal": (await chief.read(path))["seal"]})
    assert (heard.status, heard.slug) == (422, "refused")
    assert (await chief.read(path))["broadcast"]["state"] == "submitted", "a refusal leaves nothing behind"
