"""The audit log at the console: every action in words, filters, its own readers recorded, and a chain that holds."""

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from bot import clock
from bot.actions.audit import Actor, record
from bot.console.station_texts import AUDIT_ACTIONS
from bot.store.models import AuditEvent
from tests.console.house import House

ROOT = Path(__file__).parents[2]


def recorded_actions() -> set[str]:
    """Every action our code writes into the audit log: the string constants in the third argument of `record`."""
    found: set[str] = set()
    for package in ("bot", "handlers", "scheduler"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                name = getattr(getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", ""))
                if isinstance(node, ast.Call) and name == "record" and len(node.args) > 2:
                    found |= {
                        part.value
                        for part in ast.walk(node.args[2])
                        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value[-1:] != "."
                    }
    return found


def test_every_action_has_its_words() -> None:
    actions = recorded_actions()
    assert len(actions) > 40, "the search above found them"
    assert actions <= set(AUDIT_ACTIONS)


async def test_newest_first_in_words_with_who_and_why(house: House) -> None:
    await house.take("zhang", "open")
    async with house.store.write() as session:
        actor = Actor(house.first.station.id, house.first.officers["chen"], "10.0.0.7")
        await record(session, actor, "resident.revealed", "resident:1", why="电话核实")
    page = await (await house.logged_in("suo")).read("/console/audit")
    assert page.index("查看居民完整信息") < page.index("接手工单", page.index("<table"))
    for words in ("陈建国", "电话核实", "10.0.0.7", "居民 1"):
        assert words in page[page.index("<table") :]


async def test_details_are_words_and_not_what_the_program_keeps(house: House) -> None:
    await house.take("zhang", "open")
    first, ticket = house.first, await house.ticket("open")
    actor = Actor(first.station.id, first.officers["zhang"])
    async with house.store.write() as session:
        for action, details in (
            ("ticket.handed_over", {"to": first.officers["chen"]}),
            ("ticket.closed", {"outcome": "no_reply", "money_saved_yuan": None}),
            ("ticket.topic", {"from": None, "to": "idcard.lost"}),
            ("broadcast.edited", {"approval_voided": False}),
            ("officer.duty", {"duty": {"mon": ["08:30-12:00", "14:00-17:30"]}}),
            ("officer.details", {"fields": ["badge", "phone"]}),
            (
                "review.searched",
                {"officer": first.officers["chen"], "channel": "web", "since": "2026-11-22T16:00:00+00:00"},
            ),
        ):
            await record(session, actor, action, f"ticket:{ticket.id}", details=details)
    table = (await (await house.logged_in("suo")).read("/console/audit")).partition("<table")[2]
    for words in (
        f"<td>工单 {ticket.number}</td>", "至 陈建国", "结果 居民未再回复", "按 密码", "审批作废 否",
        "值班 周一 08:30-12:00、14:00-17:30", "项目 警号、电话", "人员 陈建国；渠道 网页；从 2026-11-23 00:00",
    ):  # fmt: skip
        assert words in table, words
    for raw in ("no_reply", "password", "False", "idcard.lost", f"工单 {ticket.id}<"):
        assert raw not in table, raw


async def test_filters(house: House) -> None:
    await house.take("zhang", "open")
    reviewer = await house.logged_in("shen")

    async def table(query: str) -> str:
        page = await reviewer.read(f"/console/audit?{query}")
        return page.partition("<table")[2]

    assert "接手工单" in await table(f"officer={house.first.officers['zhang']}")
    assert "登录" not in await table(f"officer={house.first.officers['zhang']}")
    assert "接手工单" in await table("action=ticket.taken")
    assert "添加人员" not in await table("action=ticket.taken")
    today = f"{clock.now() + timedelta(hours=8):%Y-%m-%d}"
    assert "接手工单" in await table(f"since={today}&until={today}&action=ticket.taken")
    assert await table("until=2020-01-01") == ""
    for wrong in ("since=yesterday", "action=nonsense", "since=2026-02-02&until=2026-02-01"):
        page = await reviewer.read(f"/console/audit?{wrong}")
        assert 'id="problem"' in page, wrong


async def test_older_pages(house: House) -> None:
    async with house.store.write() as session:
        for n in range(70):
            await record(session, Actor(house.first.station.id), "ticket.noted", f"conversation:{n}")
    reviewer = await house.logged_in("shen")
    seen: list[str] = []
    path = "/console/audit?action=ticket.noted"
    while path:
        page = await reviewer.read(path)
        seen += [part.partition("<")[0] for part in page.split("<td>对话 ")[1:]]
        path = page.partition('class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert seen == [str(n) for n in range(69, -1, -1)]


async def test_reading_the_log_is_recorded_once_an_hour(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def views() -> int:
        async with house.store.read() as session:
            rows = await session.execute(select(AuditEvent).where(AuditEvent.action == "audit.viewed"))
            return len(rows.all())

    reviewer, chief = await house.logged_in("shen"), await house.logged_in("suo")
    for _ in range(3):
        await reviewer.read("/console/audit")
    assert await views() == 1
    await chief.read("/console/audit")
    assert await views() == 2
    later = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr(clock, "_source", lambda: later)
    await reviewer.read("/console/audit")
    assert await views() == 3


async def test_an_untouched_chain_holds(house: House) -> None:
    reviewer = await house.logged_in("shen")
    await reviewer.read("/console/audit")
    response = await reviewer.post("/console/audit/check")
    assert "日志链完整" in await response.text()
    assert "验证日志链" in await reviewer.read("/console/audit?action=audit.checked")


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (update(AuditEvent).where(AuditEvent.seq == 3).values(why="改过"), "第 3 条：这条记录写入后被改动过"),
        (delete(AuditEvent).where(AuditEvent.seq == 3), "第 3 条：这里起缺少记录"),
        (update(AuditEvent).where(AuditEvent.seq == 3).values(previous_hash="0" * 64), "第 3 条：与前一条记录对不上"),
        (delete(AuditEvent).where(AuditEvent.seq > 5), "第 6 条：日志末尾被截断"),
    ],
)
async def test_a_touched_chain_says_where(house: House, tamper: object, sentence: str) -> None:
    reviewer = await house.logged_in("shen")
    await reviewer.read("/console/audit")
    async with house.store.engine.begin() as connection:
        await connection.execute(tamper)  # type: ignore[call-overload]
    page = await (await reviewer.post("/console/audit/check")).text()
    assert "日志链完整" not in page
    assert sentence in page


@pytest.mark.parametrize("username", ["chen", "fu", "guan"])
async def test_who_may_not_review_sees_no_log(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    assert (await browser.get("/console/audit")).status == 403
    assert (await browser.post("/console/audit/check")).status == 403


async def test_another_stations_log_is_another_log(house: House) -> None:
    await house.take("zhang", "open")
    page = await (await house.logged_in("shen", station=1)).read("/console/audit")
    assert "接手工单" not in page.partition("<table")[2]
