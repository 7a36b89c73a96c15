"""People and places of the station: added, changed, switched off, given passwords that are shown once; the card."""

import re

import pytest
from sqlalchemy import select

from bot.console.officers import one_time_password, shifts
from bot.security.passwords import check_new_password
from bot.store.models import AuditEvent, Community, Conversation, Officer, Role, TicketState
from tests.console.house import House, MakeHouse

NEW = {"username": "Qian.Li", "name": "钱立", "role": "auxiliary", "badge": "F0099", "phone": "13800001234"}


def password_on(page: str) -> str:
    found = re.search(r'class="password">([^<]+)<', page)
    assert found
    return found[1]


async def named(house: House, username: str) -> Officer:
    async with house.store.read() as session:
        query = select(Officer).where(Officer.username == username, Officer.station_id == house.first.station.id)
        return (await session.execute(query)).scalar_one()


def form(officer: Officer, **changes: str) -> list[tuple[str, str]]:
    """The form of an officer as his page sends it."""
    fields = {"save": "1", "name": officer.name, "badge": officer.badge, "phone": officer.phone, "role": officer.role}
    days = {day: "，".join(officer.duty.get(day, [])) for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    return list({**fields, **days, **changes}.items())


async def test_a_new_person_logs_in_with_the_password_that_was_shown_once(house: House) -> None:
    admin = await house.logged_in("guan")
    await admin.read("/console/officers")
    page = await (await admin.post("/console/officers", **NEW)).text()
    password = password_on(page)
    assert 'value="钱立"' not in page, "the form is empty for the next one"
    assert password not in await admin.read("/console/officers")
    browser = house.browser()
    response = await browser.log_in("qian.li", password)
    assert response.status == 303
    assert (await browser.get("/console/tickets")).headers["Location"] == "/console/me"
    await browser.read("/console/me")
    same = await browser.post("/console/me/password", current=password, new=password, again=password)
    assert "要和当前密码不一样" in await same.text()
    own = "willow river 2026"
    changed = await browser.post("/console/me/password", current=password, new=own, again=own)
    assert changed.headers["Location"] == "/console/me?done=password"
    assert (await browser.get("/console/tickets")).status == 200
    officer = await named(house, "qian.li")
    assert not officer.password_given
    assert (officer.role, officer.badge) == (Role.AUXILIARY, "F0099")
    assert password not in officer.password_hash


@pytest.mark.parametrize(
    ("wrong", "status", "sentence"),
    [
        ({"username": "chen"}, 409, "用户名 chen 已有人使用"),
        ({"username": "钱立"}, 422, "用户名请用"),
        ({"name": " "}, 422, "请填写姓名"),
        ({"role": "king"}, 422, "请选择岗位"),
        ({"phone": "1" * 21}, 422, "请不要超过 20 位"),
    ],
)
async def test_a_refused_person_keeps_what_was_typed(
    house: House, wrong: dict[str, str], status: int, sentence: str
) -> None:
    admin = await house.logged_in("guan")
    response = await admin.post("/console/officers", **(NEW | wrong))
    page = await response.text()
    assert response.status == status
    assert sentence in page
    assert 'value="F0099"' in page
    assert 'class="password"' not in page


async def test_role_duty_and_communities_are_changed_together(house: House) -> None:
    admin, officer = await house.logged_in("guan"), await named(house, "chen")
    await admin.read(f"/console/officers/{officer.id}")
    data = form(officer, mon="08:30-12:00，14:00-17:30", sat="", phone="0571-110", role="chief")
    data += [("communities", str(number)) for number in house.first.communities]
    assert (await admin.post(f"/console/officers/{officer.id}", data=data)).status == 303
    changed = await named(house, "chen")
    assert (changed.role, changed.phone) == (Role.CHIEF, "0571-110")
    assert changed.duty == {"mon": ["08:30-12:00", "14:00-17:30"]}
    page = await admin.read("/console/officers")
    assert "枫林1社区、枫林2社区" in page
    async with house.store.read() as session:
        query = select(AuditEvent.action).where(AuditEvent.subject == f"officer:{officer.id}")
        actions = list((await session.execute(query)).scalars())
    assert {"officer.details", "officer.role", "officer.duty", "officer.communities"} <= set(actions)


@pytest.mark.parametrize("wrong", ["8点到5点", "17:30-08:30", "25:00-26:00", "08:30"])
async def test_a_wrong_duty_changes_nothing_and_stays_in_the_form(house: House, wrong: str) -> None:
    admin, officer = await house.logged_in("guan"), await named(house, "chen")
    response = await admin.post(f"/console/officers/{officer.id}", data=form(officer, tue=wrong, name="改名"))
    page = await response.text()
    assert response.status == 422
    assert f'value="{wrong}"' in page
    assert "请按 08:30-17:30 的格式填写" in page
    assert (await named(house, "chen")).name == "陈建国"


async def test_a_community_of_another_station_cannot_be_given(house: House) -> None:
    admin, officer = await house.logged_in("guan"), await named(house, "chen")
    data = [*form(officer), ("communities", str(house.houses[1].communities[0]))]
    response = await admin.post(f"/console/officers/{officer.id}", data=data)
    assert response.status == 422
    assert "所选社区已不存在" in await response.text()


async def test_who_is_switched_off_is_out_at_once_and_his_residents_do_not_wait(house: House) -> None:
    await house.take("chen", "open")
    leaving, admin = await house.logged_in("chen"), await house.logged_in("guan")
    officer = await named(house, "chen")
    assert (await admin.post(f"/console/officers/{officer.id}/disable")).status == 303
    assert (await leaving.get("/console/tickets")).status == 303
    ticket = await house.ticket("open")
    assert (ticket.state, ticket.assignee_id) == (TicketState.OPEN, None)
    async with house.store.read() as session:
        assert (await session.get_one(Conversation, ticket.conversation_id)).owner_id is None
    assert (await house.browser().log_in("chen")).status == 422
    assert (await admin.post(f"/console/officers/{officer.id}/enable")).status == 303
    assert (await house.browser().log_in("chen")).status == 303


async def test_who_becomes_a_reviewer_gives_his_tickets_back(house: House) -> None:
    await house.take("chen", "open")
    admin, officer = await house.logged_in("guan"), await named(house, "chen")
    response = await admin.post(f"/console/officers/{officer.id}", data=form(officer, role="reviewer"))
    assert response.status == 303
    assert (await house.ticket("open")).state is TicketState.OPEN


async def test_a_reset_password_is_shown_once_and_ends_the_log_ins(house: House) -> None:
    officer, admin = await named(house, "zhang"), await house.logged_in("guan")
    working = await house.logged_in("zhang")
    page = await (await admin.post(f"/console/officers/{officer.id}/password")).text()
    password = password_on(page)
    assert 'class="password"' not in await admin.read(f"/console/officers/{officer.id}")
    assert (await working.get("/console/tickets")).status == 303, "logged out"
    assert (await house.browser().log_in("zhang")).status == 422
    again = house.browser()
    assert (await again.log_in("zhang", password)).status == 303
    assert "请先修改密码" in await again.read("/console/me")


async def test_an_admin_cannot_lock_himself_out(house: House) -> None:
    admin, own = await house.logged_in("guan"), await named(house, "guan")
    assert (await admin.post(f"/console/officers/{own.id}/disable")).status == 422
    assert (await admin.post(f"/console/officers/{own.id}/password")).status == 422
    assert (await admin.post(f"/console/officers/{own.id}", data=form(own, role="officer"))).status == 422
    assert (await named(house, "guan")).role is Role.ADMIN
    assert (await admin.get("/console/officers")).status == 200


@pytest.mark.parametrize("username", ["chen", "fu", "suo", "shen"])
async def test_only_an_admin_manages(house: House, username: str) -> None:
    browser, officer = await house.logged_in(username), await named(house, "zhang")
    before = officer.password_hash
    assert (await browser.get("/console/officers")).status == 403
    assert (await browser.post("/console/officers", **NEW)).status == 403
    for deed in ("", "/password", "/disable", "/enable", "/second-factor/off"):
        assert (await browser.post(f"/console/officers/{officer.id}{deed}", data=form(officer))).status == 403
    assert (await named(house, "zhang")).password_hash == before


async def test_another_stations_people_do_not_exist(house: House) -> None:
    stranger, officer = await house.logged_in("guan", station=1), await named(house, "zhang")
    assert (await stranger.get(f"/console/officers/{officer.id}")).status == 404
    for deed in ("", "/password", "/disable", "/enable", "/second-factor/off"):
        assert (await stranger.post(f"/console/officers/{officer.id}{deed}", data=form(officer))).status == 404
    assert (await named(house, "zhang")).active


def test_one_time_passwords_are_good_and_all_different() -> None:
    made = {one_time_password() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        check_new_password(password, "zhang")


@pytest.mark.parametrize(
    ("typed", "spans"),
    [
        ("", []),
        ("08:30-17:30", ["08:30-17:30"]),
        ("14:00-17:30，08:30-12:00", ["08:30-12:00", "14:00-17:30"]),
        ("08：30-12：00、14:00-17:30", ["08:30-12:00", "14:00-17:30"]),
    ],
)
def test_duty_is_read_as_people_type_it(typed: str, spans: list[str]) -> None:
    assert shifts(typed) == spans


# --- communities ----------------------------------------------------------------------------------------------------


async def test_a_community_is_added_and_renamed(house: House) -> None:
    admin = await house.logged_in("guan")
    await admin.read("/console/communities")
    assert (await admin.post("/console/communities", name="河东村", code="HeDong")).status == 303
    page = await admin.read("/console/communities")
    assert "河东村" in page
    assert "代码 hedong" in page
    number = house.first.communities[0]
    assert (await admin.post(f"/console/communities/{number}/rename", new_name="枫溪社区")).status == 303
    async with house.store.read() as session:
        row = await session.get_one(Community, number)
    assert (row.name, row.code) == ("枫溪社区", "c1")


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("", "abc", "请填写社区或村的名称"),
        ("河东村", "河东", "代码请用"),
        ("河东村", "c1", "代码 c1 已有社区使用"),
        ("枫林1社区", "abc", "已有名为"),
    ],
)
async def test_a_refused_community_says_why(house: House, name: str, code: str, sentence: str) -> None:
    admin = await house.logged_in("guan")
    response = await admin.post("/console/communities", name=name, code=code)
    assert response.status in (409, 422)
    assert sentence in await response.text()


async def test_the_card_leads_to_the_chat_of_the_community(make_house: MakeHouse, sqlite_url: str) -> None:
    house = await make_house(sqlite_url, server={"public_url": "http://police.example.org/"})
    browser = await house.logged_in("zhang")
    page = await browser.read(f"/console/communities/{house.first.communities[1]}/card")
    assert "http://police.example.org/chat?c=c2" in page
    assert "<svg" in page
    assert "张敏" in page
    assert "对外网址" not in page
    page = await browser.read(f"/console/communities/{house.first.communities[0]}/card")
    assert "还没有负责的民警" in page


async def test_without_a_public_address_the_card_says_so(house: House) -> None:
    browser = await house.logged_in("zhang")
    page = await browser.read(f"/console/communities/{house.first.communities[1]}/card")
    assert "还没有对外网址" in page
    assert f"{house.roots[0]}/chat?c=c2" in page


@pytest.mark.parametrize("username", ["chen", "suo"])
async def test_officers_read_communities_and_do_not_change_them(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    page = await browser.read("/console/communities")
    assert "联系卡" in page
    assert "改名" not in page
    assert (await browser.post("/console/communities", name="河东村", code="hedong")).status == 403
