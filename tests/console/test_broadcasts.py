"""Warnings at the console: the list, the form and its live count, approval by somebody else, times, refusals."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import FormData
from playwright.async_api import FilePayload
from sqlalchemy import select, update

from bot import clock
from bot.actions.broadcasts import BODY_CHARACTERS
from bot.actions.warning_templates import TEMPLATES, read_templates
from bot.store.models import AuditEvent, Broadcast, BroadcastState, Repeat, Resident, ResidentAddress
from knowledge import Knowledge
from tests.console.house import Browser, House
from tests.support.browser import People
from tests.support.small_pictures import gif, png
from tests.support.two_stations import PASSWORD

PNG = png(b"a poster")
FORM = {"title": "谨防刷单", "body": "要您先垫钱的都是骗子。", "when": "now", "then": "submit"}


async def write(browser: Browser, **fields: str) -> int:
    """Fill in the form and send it; the number of the warning."""
    await browser.read("/console/broadcasts/new")
    response = await browser.post("/console/broadcasts", **(FORM | fields))
    assert response.status == 303, await response.text()
    found = re.search(r"/console/broadcasts/(\d+)", response.headers["Location"])
    assert found
    return int(found[1])


async def row_of(house: House, number: int) -> Broadcast:
    async with house.store.read() as session:
        return await session.get_one(Broadcast, number)


def seal_on(page: str) -> str:
    found = re.search(r'name="seal" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


async def test_an_officer_begins_from_a_template_and_sees_whom_it_is_for(house: House) -> None:
    browser = await house.logged_in("zhang")
    page = await browser.read("/console/broadcasts/new?template=elder_health")
    assert TEMPLATES["elder_health"].title in page
    assert 'name="age_from" inputmode="numeric" maxlength="3" value="60"' in page
    assert re.search(r'<b class="number">3</b> 位居民能收到', page)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.key)
async def test_a_template_can_be_sent_as_it_stands(template: object, knowledge: Knowledge) -> None:
    found = next(row for row in TEMPLATES.values() if row is template)
    assert found.topic in knowledge.entries
    assert knowledge.entries[found.topic].written
    assert len(found.body) <= BODY_CHARACTERS
    assert "110" in found.body
    assert re.search(r"先问我们|问(一句)?民警|联系我们|告诉民警", found.body), "it ends with what to do"


def test_a_template_for_an_unknown_occupation_is_refused(tmp_path: object) -> None:
    file = tmp_path / "templates.yaml"  # type: ignore[operator]
    file.write_text(
        "- {key: a, kind: b, topic: c, title: d, body: e, who: f, audience: {occupations: [飞行员]}}", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="飞行员"):
        read_templates(file)


async def test_the_live_count_shows_three_masked_samples(house: House) -> None:
    browser = await house.logged_in("zhang")
    first = house.first
    response = await browser.post("/console/broadcasts/reach", communities=str(first.communities[0]), age_from="60")
    page = await response.text()
    assert response.status == 200
    assert '<b class="number">2</b>' in page
    assert "王**" in page
    assert "王小明" not in page
    assert "13812345678" not in page
    assert "枫林1社区" in page


async def test_who_never_told_his_age_is_in_no_age_range(house: House) -> None:
    async with house.store.write() as session:
        (await session.get_one(Resident, house.first.residents[0])).birth_year = None
    browser = await house.logged_in("zhang")
    counts = []
    for fields in ({}, {"age_from": "0"}, {"age_to": "120"}):
        page = await (await browser.post("/console/broadcasts/reach", **fields)).text()
        found = re.search(r'class="number">(\d+)<', page)
        assert found
        counts.append(int(found[1]))
    assert counts == [3, 2, 2]


async def test_who_wants_no_warnings_is_not_counted(house: House) -> None:
    async with house.store.write() as session:
        (await session.get_one(Resident, house.first.residents[1])).wants_warnings = False
    browser = await house.logged_in("zhang")
    page = await (await browser.post("/console/broadcasts/reach")).text()
    assert '<b class="number">2</b>' in page
    assert "李" not in page


async def test_the_approver_reads_how_many_can_be_reached_and_how_many_cannot(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer)
    assert "没有可用的联系渠道" not in await chief.read(f"/console/broadcasts/{number}")
    left = house.first.residents[2]
    async with house.store.write() as session:
        await session.execute(
            update(ResidentAddress).where(ResidentAddress.resident_id == left).values(following=False)
        )
    page = await chief.read(f"/console/broadcasts/{number}")
    assert "现在有 <b>2</b> 人能收到。另有 <b>1</b> 人符合条件，但没有可用的联系渠道，收不到。" in page
    assert "发给约 2 人，确定批准？" in page
    live = await (await officer.post("/console/broadcasts/reach")).text()
    assert '<b class="number">2</b> 位居民能收到' in live
    assert "另有 <b>1</b> 位居民符合条件，但没有可用的联系渠道" in live


async def test_a_warning_is_approved_by_somebody_else_exactly_as_he_saw_it(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer)
    page = await chief.read("/console/broadcasts")
    assert page.index("待审批") < page.index("谨防刷单")
    page = await chief.read(f"/console/broadcasts/{number}")
    response = await chief.post(f"/console/broadcasts/{number}/approve", seal=seal_on(page))
    assert response.status == 303
    row = await row_of(house, number)
    assert (row.state, row.approver_id, row.seal) == (
        BroadcastState.APPROVED,
        house.first.officers["suo"],
        seal_on(page),
    )
    assert seal_on(page)[:12] in await chief.read(f"/console/broadcasts/{number}")


async def test_an_officer_cannot_approve(house: House) -> None:
    officer = await house.logged_in("zhang")
    number = await write(officer)
    page = await officer.read(f"/console/broadcasts/{number}")
    assert "批准发送" not in page
    assert (await officer.post(f"/console/broadcasts/{number}/approve", seal="0" * 64)).status == 403
    assert (await row_of(house, number)).state is BroadcastState.SUBMITTED


async def test_a_chief_cannot_approve_what_he_wrote(house: House) -> None:
    chief = await house.logged_in("suo")
    number = await write(chief)
    page = await chief.read(f"/console/broadcasts/{number}")
    assert "要请其他有审批权限的同事批准" in page
    response = await chief.post(f"/console/broadcasts/{number}/approve", seal="0" * 64)
    assert response.status == 403
    assert "自己写的提醒要请别人审批" in await response.text()


async def test_a_chief_cannot_approve_what_he_changed(house: House) -> None:
    """He would be the only one who ever read those words."""
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer)
    row = await row_of(house, number)
    await chief.read(f"/console/broadcasts/{number}/edit")
    response = await chief.post(
        f"/console/broadcasts/{number}/edit", **(FORM | {"body": "换成我的话", "version": str(row.version)})
    )
    assert response.status == 303
    response = await chief.post(f"/console/broadcasts/{number}/approve", seal="0" * 64)
    assert response.status == 403
    assert (await row_of(house, number)).state is BroadcastState.SUBMITTED


async def test_the_approver_is_told_when_the_text_changed_under_his_eyes(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer)
    seen = seal_on(await chief.read(f"/console/broadcasts/{number}"))
    await officer.read(f"/console/broadcasts/{number}/edit")
    await officer.post(f"/console/broadcasts/{number}/edit", **(FORM | {"body": "别的话", "version": "1"}))
    response = await chief.post(f"/console/broadcasts/{number}/approve", seal=seen)
    assert response.status == 409
    assert "您看到的内容已被修改" in await response.text()
    assert (await row_of(house, number)).state is BroadcastState.SUBMITTED


async def test_the_edit_page_says_first_that_the_approval_will_be_void(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer, when="at", send_at=local(hours=30))
    page = await chief.read(f"/console/broadcasts/{number}")
    await chief.post(f"/console/broadcasts/{number}/approve", seal=seal_on(page))
    assert "修改后原来的审批作废" in await officer.read(f"/console/broadcasts/{number}/edit")
    response = await officer.post(
        f"/console/broadcasts/{number}/edit",
        **(FORM | {"then": "draft", "version": "1", "when": "at", "send_at": local(hours=31)}),
    )
    assert response.status == 303
    row = await row_of(house, number)
    assert (row.state, row.seal, row.approver_id) == (BroadcastState.DRAFT, None, None)


def with_picture(data: bytes, **fields: str) -> FormData:
    form = FormData()
    for name, value in (FORM | fields).items():
        form.add_field(name, value)
    form.add_field("picture", data, filename="poster.png", content_type="image/png")
    return form


async def test_in_a_browser_the_chosen_picture_is_shown_as_residents_will_see_it(house: House, people: People) -> None:
    page = await people.open("phone", base_url=house.roots[0])
    await page.goto("/console/login?next=/console/broadcasts/new")
    await page.fill("[name=username]", "zhang")
    await page.fill("[name=password]", PASSWORD)
    await page.click("form button.primary")
    await page.wait_for_url("**/console/broadcasts/new")
    shown, chosen = page.locator("[data-preview-picture]"), page.locator("[name=picture]")
    assert await shown.is_hidden()
    await chosen.set_input_files(Path(__file__).parents[2] / "docs" / "chat.png")
    await shown.wait_for()
    assert await shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    too_large: FilePayload = {"name": "poster.png", "mimeType": "image/png", "buffer": bytes(2 * 1024 * 1024 + 1)}
    await chosen.set_input_files(too_large)
    await shown.wait_for(state="hidden")
    assert await chosen.input_value() == "", "nothing is sent that will be refused"


async def test_a_picture_goes_with_a_warning_until_it_is_taken_away(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    await officer.read("/console/broadcasts/new")
    made = await officer.post("/console/broadcasts", data=with_picture(PNG))
    assert made.status == 303
    path = made.headers["Location"].partition("?")[0]
    number = int(path.rpartition("/")[2])
    page = await chief.read(path)
    picture = (await row_of(house, number)).media_id
    assert f'src="/console/media/{picture}"' in page
    shown = await chief.get(f"/console/media/{picture}")
    assert (shown.status, shown.content_type) == (200, "image/png")
    seen = seal_on(page)
    assert "不要这张图片" in await officer.read(f"{path}/edit")
    await officer.post(f"{path}/edit", **(FORM | {"body": "别的话", "version": "1"}))
    assert (await row_of(house, number)).media_id == picture, "it stays while nobody takes it away"
    await officer.post(f"{path}/edit", **(FORM | {"version": "2", "without_picture": "1"}))
    assert (await row_of(house, number)).media_id is None
    assert (await chief.post(f"{path}/approve", seal=seen)).status == 409, "he saw it with its picture"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [(gif(b"moving"), "请用 JPG 或 PNG"), (b"%PDF-1.7", "只能发送 JPG"), (PNG + b"0" * 2_097_152, "不能超过 2 MB")],
    ids=["gif", "no picture", "too large"],
)
async def test_a_picture_that_wechat_would_refuse_is_refused_at_the_form(
    house: House, data: bytes, complaint: str
) -> None:
    officer = await house.logged_in("zhang")
    await officer.read("/console/broadcasts/new")
    response = await officer.post("/console/broadcasts", data=with_picture(data))
    page = await response.text()
    assert response.status == 422
    assert complaint in page
    assert FORM["body"] in page, "what was typed is kept"


async def test_two_officers_do_not_overwrite_each_other(house: House) -> None:
    one, other = await house.logged_in("zhang"), await house.logged_in("chen")
    number = await write(one, then="draft")
    for browser in (one, other):
        await browser.read(f"/console/broadcasts/{number}/edit")
    await one.post(f"/console/broadcasts/{number}/edit", **(FORM | {"body": "张敏的话", "version": "1"}))
    response = await other.post(f"/console/broadcasts/{number}/edit", **(FORM | {"body": "陈建国的话", "version": "1"}))
    assert response.status == 409
    assert "陈建国的话" in await response.text(), "what was typed is kept"
    assert (await row_of(house, number)).body == "张敏的话"


async def test_sending_back_needs_a_reason_that_the_author_reads(house: House) -> None:
    officer, chief = await house.logged_in("zhang"), await house.logged_in("suo")
    number = await write(officer)
    await chief.read(f"/console/broadcasts/{number}")
    assert (await chief.post(f"/console/broadcasts/{number}/send-back", why="")).status == 422
    assert (await chief.post(f"/console/broadcasts/{number}/send-back", why="请写上本地案例")).status == 303
    assert "审批没有通过，原因：请写上本地案例" in await officer.read(f"/console/broadcasts/{number}")
    assert (await row_of(house, number)).state is BroadcastState.DRAFT


def local(**later: float) -> str:
    """A moment to come as a date-and-time field of the station sends it."""
    return f"{(clock.now() + timedelta(hours=8) + timedelta(**later)):%Y-%m-%dT%H:%M}"


async def test_times_are_the_stations(house: House) -> None:
    """Typed 09:30 in 枫林 is 01:30 UTC, and comes back as 09:30."""
    officer = await house.logged_in("zhang")
    day = f"{(clock.now() + timedelta(days=3)):%Y-%m-%d}"
    number = await write(officer, then="draft", when="at", send_at=f"{day}T09:30", expires_at=f"{day}T18:00")
    row = await row_of(house, number)
    assert row.send_at is not None
    assert row.expires_at is not None
    assert f"{row.send_at:%Y-%m-%d %H:%M}" == f"{day} 01:30"
    assert f"{row.expires_at:%H:%M}" == "10:00"
    assert f'value="{day}T09:30"' in await officer.read(f"/console/broadcasts/{number}/edit")
    assert "09:30" in await officer.read(f"/console/broadcasts/{number}")


async def test_a_weekly_warning_says_day_and_hour(house: House) -> None:
    officer = await house.logged_in("zhang")
    number = await write(officer, when="weekly", send_at=local(days=2))
    row = await row_of(house, number)
    assert row.repeat is Repeat.WEEKLY
    assert row.send_at is not None
    days = "一二三四五六日"
    there = row.send_at + timedelta(hours=8)
    assert f"每周{days[there.weekday()]} {there:%H:%M}" in await officer.read(f"/console/broadcasts/{number}")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"title": ""}, "请填写标题"),
        ({"body": " "}, "请填写正文"),
        ({"body": "长" * 601}, "正文最多 600 个字，现在有 601 个字"),
        ({"title": "长" * 61}, "标题最多 60 个字"),
        ({"age_from": "70", "age_to": "60"}, "起始年龄不能大于结束年龄"),
        ({"age_from": "六十"}, "年龄请填 0 到 120"),
        ({"age_from": "-1"}, "年龄请填 0 到 120"),
        ({"age_to": "121"}, "年龄请填 0 到 120"),
        ({"when": "at"}, "定时发送的提醒要填发送时间"),
        ({"when": "weekly"}, "每周发送的提醒要填第一次发送的时间"),
        ({"when": "at", "send_at": "2020-01-01T08:00"}, "发送时间已经过去了"),
        ({"when": "at", "send_at": "0001-01-01T00:00"}, "发送时间已经过去了"),
        ({"when": "at", "send_at": "9999-12-31T23:59"}, "发送时间请选在一年之内"),
        ({"when": "at", "send_at": "明天"}, "发送时间请按"),
        ({"when": "sometime"}, "请选择什么时候发送"),
        ({"expires_at": "2020-01-01T08:00"}, "失效时间已经过去了"),
        ({"occupations": "飞行员"}, "所选的人群中有本所没有的选项"),
        ({"genders": "other"}, "所选的人群中有本所没有的选项"),
        ({"languages": "xx"}, "所选的人群中有本所没有的选项"),
    ],
)
async def test_a_refused_form_says_why_and_keeps_what_was_typed(
    house: House, wrong: dict[str, str], sentence: str
) -> None:
    officer = await house.logged_in("zhang")
    response = await officer.post("/console/broadcasts", **(FORM | {"title": "留住我"} | wrong))
    page = await response.text()
    assert response.status == 422
    assert sentence in page
    assert wrong.get("title", "留住我") in page
    assert wrong.get("body", FORM["body"]).strip() in page
    async with house.store.read() as session:
        saved = await session.execute(select(Broadcast).where(Broadcast.station_id == house.first.station.id))
        assert FORM["body"] not in [row.body for row in saved.scalars()]


async def test_another_stations_community_cannot_be_chosen(house: House) -> None:
    officer = await house.logged_in("zhang")
    foreign = str(house.houses[1].communities[0])
    response = await officer.post("/console/broadcasts", **(FORM | {"communities": foreign}))
    assert response.status == 422
    assert "溪口" not in await response.text()
    page = await (await officer.post("/console/broadcasts/reach", communities=foreign)).text()
    assert "所选的人群中有本所没有的选项" in page


async def test_another_stations_warning_does_not_exist(house: House) -> None:
    number = await write(await house.logged_in("zhang"))
    stranger = await house.logged_in("suo", station=1)
    for path in ("", "/edit"):
        assert (await stranger.get(f"/console/broadcasts/{number}{path}")).status == 404
    for deed in ("edit", "submit", "approve", "send-back", "stop"):
        response = await stranger.post(f"/console/broadcasts/{number}/{deed}", **(FORM | {"why": "试", "version": "1"}))
        assert response.status == 404, deed
    assert "谨防刷单" not in await stranger.read("/console/broadcasts")


@pytest.mark.parametrize("username", ["fu", "guan"])
async def test_who_has_nothing_to_do_with_warnings_sees_none(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    assert (await browser.get("/console/broadcasts")).status == 403
    assert (await browser.post("/console/broadcasts", **FORM)).status == 403
    assert (await browser.post("/console/broadcasts/reach")).status == 403
    assert "/console/broadcasts" not in await browser.read("/console/me")


async def test_what_was_typed_cannot_become_markup(house: House) -> None:
    officer = await house.logged_in("zhang")
    number = await write(officer, title="<b>粗</b>", body="<script>alert(1)</script>", then="draft")
    for path in (f"/console/broadcasts/{number}", f"/console/broadcasts/{number}/edit", "/console/broadcasts"):
        page = await officer.read(path)
        assert "<b>粗</b>" not in page
        assert "<script>alert" not in page


async def test_stopping_needs_a_reason_and_cannot_be_undone(house: House) -> None:
    officer = await house.logged_in("zhang")
    number = await write(officer)
    await officer.read(f"/console/broadcasts/{number}")
    assert (await officer.post(f"/console/broadcasts/{number}/stop", why="")).status == 422
    assert (await officer.post(f"/console/broadcasts/{number}/stop", why="已由分局统一发布")).status == 303
    page = await officer.read(f"/console/broadcasts/{number}")
    assert "已停止，原因：已由分局统一发布" in page
    for deed in ("submit", "stop"):
        response = await officer.post(f"/console/broadcasts/{number}/{deed}", why="再来")
        assert response.status == 409, deed
    assert (await officer.get(f"/console/broadcasts/{number}/edit")).status == 303
    async with house.store.read() as session:
        events = [await session.get(AuditEvent, (house.first.station.id, seq)) for seq in range(1, 40)]
    assert [event.why for event in events if event and event.action == "broadcast.stopped"] == ["已由分局统一发布"]
