"""The pages of learning and of the knowledge, over HTTP and in a browser."""

import re

import pytest
from sqlalchemy import select

from bot.store.models import Conversation, EntryVersion, SettledSentence, StoredMessage, VersionState
from tests.console.house import Browser, House
from tests.support.browser import Device, People
from tests.support.two_stations import PASSWORD, inbound

ENTRY = {
    "title": "夜市摆摊登记",
    "short": "到{station.name}领登记表，当天办好。",
    "route": "answer",
    "rule": "枫林夜市管理公告",
    "in_force": "2026-05-01",
    "owner": "社区警务室",
    "checked": "2026-11-20",
    "review_by": "2027-11-20",
    "phrases": "夜市摆摊要登记吗\n我想去夜市卖烤串怎么报名\n夜市的摊位找谁登记",
}
ODD = "麒麟咕咕在啥地儿呀"  # the shipped knowledge makes nothing of it
VERSIONS = "/console/learning/versions"


async def asked(house: House, *texts: str, **columns: object) -> list[int]:
    """Residents of the first station asked these and were not understood."""
    values = {"decision": "unknown", "candidates": [], "words": [], **columns}
    async with house.store.write() as session:
        conversation = await session.get_one(Conversation, house.first.conversations[2])
        rows: list[StoredMessage] = [inbound(conversation, text, **values) for text in texts]
        session.add_all(rows)
        await session.flush()
        return [row.id for row in rows]


async def version(house: House, topic: str) -> EntryVersion:
    async with house.store.read() as session:
        query = select(EntryVersion).where(
            EntryVersion.topic == topic, EntryVersion.station_id == house.first.station.id
        )
        return (await session.execute(query.order_by(EntryVersion.id.desc()).limit(1))).scalar_one()


async def under(browser: Browser, topic: str, *numbers: int, **fields: str) -> int:
    data = [("message", str(number)) for number in numbers] + [("topic", topic), *fields.items()]
    return (await browser.post("/console/learning/topic", data=data)).status


def seal_on(page: str) -> str:
    found = re.search(r'name="seal" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


@pytest.mark.slow
async def test_from_a_question_nobody_answered_to_an_answer(house: House) -> None:
    numbers = await asked(house, ODD, "麒麟咕咕13812345678", "玄武13987654321")
    zhang, suo = await house.logged_in("zhang"), await house.logged_in("suo")
    page = await zhang.read("/console/learning")
    assert ODD in page
    assert "13812345678" not in page
    assert await under(zhang, "派出所地址与办公时间 · station.hours", *numbers[:2]) == 303
    page = await zhang.read("/console/learning")
    assert "麒麟" not in page
    assert "玄武" in page
    drafted = await version(house, "station.hours")
    assert drafted.content == {"phrases": [ODD, "麒麟咕咕（号码）"]}
    here = f"{VERSIONS}/{drafted.id}"
    assert (await zhang.post(f"{here}/approve", seal="x")).status == 403
    assert (await zhang.post(f"{here}/submit")).status == 303
    page = await suo.read(VERSIONS)
    assert "系统自带问法（抽样）" in page
    runtime = house.runtimes[0]
    assert runtime.knowledge.match(ODD).topic != "station.hours"
    assert (await suo.post(f"{here}/approve", seal=seal_on(page))).status == 303
    assert runtime.knowledge.match(ODD).topic == "station.hours", "without a restart"
    assert (await suo.post(f"{here}/roll-back")).status == 303
    assert runtime.knowledge.match(ODD).topic != "station.hours"
    assert ODD in await zhang.read("/console/learning"), "it is to be learnt again"


@pytest.mark.slow
async def test_what_gets_worse_is_shown_in_red_before_anybody_approves(house: House) -> None:
    (number,) = await asked(house, "身份证丢了怎么补办呀", decision="answer", helpful=False)
    zhang = await house.logged_in("zhang")
    await under(zhang, "station.hours", number)
    drafted = await version(house, "station.hours")
    await zhang.post(f"{VERSIONS}/{drafted.id}/submit")
    page = await zhang.read(VERSIONS)
    assert re.search(r'<div class="worse"><h3>有 \d+ 句变差了', page)
    assert "应为 身份证丢失补办" in page


async def test_sentences_can_be_corrected_before_they_are_learnt(house: House) -> None:
    (number,) = await asked(house, "我是3幢王小明，麒麟咕咕在啥地儿呀")
    zhang = await house.logged_in("zhang")
    await under(zhang, "idcard.renew", number, **{f"text-{number}": ODD})
    assert (await version(house, "idcard.renew")).content == {"phrases": [ODD]}


@pytest.mark.parametrize(
    ("topic", "says"),
    [("", "没有这个主题"), ("龙宫", "没有这个主题"), ("emergency.fire", "没有这个主题")],
)
async def test_an_unknown_topic_is_refused_in_words(house: House, topic: str, says: str) -> None:
    (number,) = await asked(house, ODD)
    zhang = await house.logged_in("zhang")
    response = await zhang.post("/console/learning/topic", message=str(number), topic=topic)
    assert response.status == 422
    assert says in await response.text()


async def test_nothing_ticked_is_said(house: House) -> None:
    zhang = await house.logged_in("zhang")
    for path in ("topic", "dismiss"):
        response = await zhang.post(f"/console/learning/{path}", topic="idcard.lost")
        assert response.status == 422
        assert "请先勾选句子" in await response.text()


async def test_dismissed_it_does_not_come_back(house: House) -> None:
    (number,) = await asked(house, ODD)
    zhang = await house.logged_in("zhang")
    assert (await zhang.post("/console/learning/dismiss", message=str(number))).status == 303
    await asked(house, ODD)
    assert ODD not in await zhang.read("/console/learning")
    assert len(await house.audited("learning.dismissed")) == 1


async def test_another_stations_questions_cannot_be_taken(house: House) -> None:
    (number,) = await asked(house, ODD)
    foreign = await house.logged_in("zhang", station=1)
    assert "麒麟" not in await foreign.read("/console/learning")
    assert await under(foreign, "idcard.renew", number) == 422
    async with house.store.read() as session:
        assert not list((await session.execute(select(SettledSentence))).scalars())


async def test_who_reads_the_sentences_stands_in_the_log_once_an_hour(house: House) -> None:
    zhang = await house.logged_in("zhang")
    for _ in range(2):
        await zhang.read("/console/learning")
    (event,) = await house.audited("learning.viewed")
    assert event.actor_id == house.first.officers["zhang"]


@pytest.mark.slow
async def test_a_new_entry_from_the_ticked_sentences(house: House) -> None:
    numbers = await asked(house, "夜市摆摊要登记吗", "夜市的摊位找谁登记", decision="refer", helpful=False)
    zhang, guan = await house.logged_in("zhang"), await house.logged_in("guan")
    form = await zhang.post("/console/learning/new", data=[("message", str(number)) for number in numbers])
    page = await form.text()
    assert "夜市摆摊要登记吗\n夜市的摊位找谁登记" in page or "夜市的摊位找谁登记\n夜市摆摊要登记吗" in page
    data = [("message", str(number)) for number in numbers] + list(ENTRY.items())
    assert (await zhang.post("/console/learning/entries", data=data)).status == 303
    assert "夜市" not in await zhang.read("/console/learning")
    drafted = await version(house, "own.entry1")
    assert (await zhang.post(f"{VERSIONS}/{drafted.id}/submit")).status == 303
    page = await guan.read(VERSIONS)
    assert (await guan.post(f"{VERSIONS}/{drafted.id}/approve", seal=seal_on(page))).status == 303
    page = await guan.read("/console/knowledge/own.entry1")
    assert "到枫林派出所领登记表" in page or "到派出所领登记表" in page
    assert "本所词条" in page
    assert "夜市摆摊登记" in await guan.read("/console/knowledge?q=夜市摆摊要登记吗")


async def test_an_incomplete_entry_keeps_what_was_typed(house: House) -> None:
    zhang = await house.logged_in("zhang")
    response = await zhang.post("/console/learning/entries", **{**ENTRY, "phrases": "夜市摆摊要登记吗"})
    page = await response.text()
    assert response.status == 422
    assert "至少写 3 种" in page
    assert "枫林夜市管理公告" in page


async def test_the_stations_own_words_over_a_shipped_answer(house: House) -> None:
    guan = await house.logged_in("guan")
    form = await guan.read("/console/knowledge/idcard.renew/change")
    assert "只填要改的地方" in form
    dates = {"checked": "2026-11-22", "review_by": "2027-11-22"}
    response = await guan.post("/console/knowledge/idcard.renew/change", fee="本月免费", route="answer", **dates)
    assert response.status == 303
    assert (await version(house, "idcard.renew")).content == {"fee": "本月免费", **dates, "phrases": []}


async def test_every_topic_is_listed_and_shows_its_answer_source_and_dates(house: House) -> None:
    fu = await house.logged_in("fu")
    page = await fu.read("/console/knowledge")
    for topic in house.runtimes[0].knowledge.entries:
        assert topic.startswith("none.") or f"/console/knowledge/{topic}" in page
    page = await fu.read("/console/knowledge/idcard.lost")
    for words in ("居民看到的回答", "居民身份证法", "核对", "复核"):
        assert words in page
    assert "改成本所的答法" not in page, "an auxiliary reads"
    assert (await fu.get("/console/knowledge/idcard.nothing")).status == 404


async def test_entries_overdue_for_review_are_marked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.console.knowledge._today", lambda visit: "2099-01-01")
    fu = await house.logged_in("fu")
    page = await fu.read("/console/knowledge?overdue=1")
    assert page.count("该复核") > 150
    assert "已过复核日期" in await fu.read("/console/knowledge/idcard.lost")


async def test_topics_whose_rules_nobody_has_read_are_marked(house: House) -> None:
    fu = await house.logged_in("fu")
    entries = house.runtimes[0].knowledge.entries
    unread = [topic for topic, entry in entries.items() if not entry.confirmed]
    assert unread
    page = await fu.read("/console/knowledge?overdue=1")
    assert page.count("依据待核") == len(unread)
    assert all(f"/console/knowledge/{topic}" in page for topic in unread)
    assert "待核" in await fu.read(f"/console/knowledge/{unread[0]}")
    assert "待核" not in await fu.read("/console/knowledge/idcard.temp")


async def test_settings_are_in_the_answers_at_once_and_in_the_log(house: House) -> None:
    guan, fu = await house.logged_in("guan"), await house.logged_in("fu")
    page = await guan.read("/console/knowledge/settings")
    assert "{station.phone}" in page
    assert "户籍窗口的办公时间" in page
    fields = {"station.address": "枫林路 9 号", "station.hours": ""}
    assert (await guan.post("/console/knowledge/settings", **fields)).status == 303
    assert "枫林路 9 号" in await fu.read("/console/knowledge/station.hours")
    (event,) = await house.audited("station.settings")
    assert event.details == {"station.address": ["", "枫林路 9 号"]}
    assert (await fu.get("/console/knowledge/settings")).status == 403


async def test_an_officer_corrects_a_tickets_topic_and_the_bot_is_to_learn_it(house: House) -> None:
    zhang = await house.logged_in("zhang")
    number = house.first.tickets["open"]
    assert (await zhang.post(f"/console/tickets/{number}/topic", topic="station.lecture")).status == 303
    page = await zhang.read("/console/learning")
    assert "民警改了主题" in page
    assert "身份证丢了怎么补办" in page
    response = await zhang.post(f"/console/tickets/{number}/topic", topic="no.such")
    assert response.status == 422


async def test_admins_write_and_approve_but_do_not_read_what_people_say(house: House) -> None:
    guan = await house.logged_in("guan")
    assert (await guan.get("/console/learning")).status == 403
    assert (await guan.get(VERSIONS)).status == 200
    assert (await guan.get("/console/learning/new")).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("device", ["phone", "desk"])
async def test_in_a_browser_a_group_becomes_a_draft_and_is_handed_in(
    house: House, people: People, device: Device
) -> None:
    await asked(house, ODD, "麒麟咕咕13812345678")
    page = await people.open(device, base_url=house.roots[0])
    await page.goto("/console/login?next=/console/learning")
    await page.fill("[name=username]", "zhang")
    await page.fill("[name=password]", PASSWORD)
    await page.click("form button.primary")
    await page.wait_for_url("**/console/learning")
    group = page.locator("form.card").first
    await group.locator("[name=topic]").fill("station.hours")
    await group.get_by_role("button", name="归入主题").click()
    await page.wait_for_url("**/console/learning/versions*")
    wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "nothing hangs over the edge"
    card = page.locator("section.card", has_text="麒麟咕咕（号码）")
    await card.get_by_role("button", name="测量并提交审批").click(timeout=60_000)
    await page.locator("text=已测量并提交").wait_for(timeout=60_000)
    assert (await version(house, "station.hours")).state is VersionState.SUBMITTED
    assert await house.audited("knowledge.submitted")
