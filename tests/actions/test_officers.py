"""Officers' accounts: what is refused, what ends a log-in, what the log keeps."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import officers
from bot.actions.audit import Actor
from bot.actions.errors import ActionError, Conflict
from bot.security import sessions
from bot.store.models import AuditEvent, CommunityOfficer, ConsoleSession, Role
from tests.support.station import House


@pytest.fixture
async def station(furnished_sqlite_url: str) -> AsyncIterator[House]:
    async with House.opened(furnished_sqlite_url) as house:
        yield house


async def last_event(session: AsyncSession) -> AuditEvent:
    query = select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(1)
    return (await session.execute(query)).scalar_one()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"username": "Wang"}, "小写字母"),
        ({"username": "w"}, "2 到 40 位"),
        ({"username": "zhang"}, "已有人使用"),
        ({"name": "  "}, "请填写姓名"),
        ({"badge": "1" * 21}, "不要超过 20 位"),
        ({"phone": "电话待补"}, "请填电话号码"),
        ({"phone": "12"}, "请填电话号码"),
        ({"duty": {"someday": ["08:30-17:30"]}}, "不是星期几"),
        ({"duty": {"mon": ["8:30-17:30"]}}, "08:30-17:30 的格式"),
        ({"duty": {"mon": ["22:00-06:00"]}}, "跨夜请分成两段"),
        ({"duty": {"mon": ["08:30-25:00"]}}, "格式"),
    ],
)
async def test_a_new_officer_that_makes_no_sense_is_refused(
    station: House, wrong: dict[str, object], reason: str
) -> None:
    fields = {"username": "wang", "name": "王芳", "role": Role.OFFICER, "password_hash": "x"}
    async with station.store.write() as session:
        with pytest.raises(ActionError, match=reason):
            await officers.add_officer(
                session,
                station.station.id,
                actor=Actor(station.station.id),
                **{**fields, **wrong},  # type: ignore[arg-type]
            )


async def test_a_night_shift_is_two_parts(station: House) -> None:
    zhang = await station.officer("zhang")
    async with station.store.write() as session:
        row = await session.merge(zhang)
        await officers.set_duty(
            session, row, {"mon": ["20:00-24:00"], "tue": ["00:00-08:00"], "wed": []}, actor=Actor(row.station_id)
        )
        assert row.duty == {"mon": ["20:00-24:00"], "tue": ["00:00-08:00"]}
        assert (await last_event(session)).action == "officer.duty"


async def test_a_new_password_ends_the_other_log_ins(station: House) -> None:
    zhang = await station.officer("zhang")
    async with station.store.write() as session:
        row = await session.merge(zhang)
        cookies = [await sessions.begin(session, row, "127.0.0.1", second_factor_done=True) for _ in range(3)]
        await session.flush()
        kept = await sessions.find(session, row.station_id, cookies[1])
        assert kept is not None
        await officers.set_password(session, row, "hash", keep=kept.session_id, actor=Actor(row.station_id, row.id))
        left = (await session.execute(select(ConsoleSession.id))).scalars().all()
        assert left == [kept.session_id]


async def test_nobody_locks_himself_out(station: House) -> None:
    guan = await station.officer("guan")
    async with station.store.write() as session:
        row = await session.merge(guan)
        with pytest.raises(ActionError, match="不能停用自己"):
            await officers.set_active(session, row, False, actor=Actor(row.station_id, row.id))
        with pytest.raises(ActionError, match="不能更改自己"):
            await officers.set_role(session, row, Role.OFFICER, actor=Actor(row.station_id, row.id))


async def test_who_leaves_is_logged_out_and_the_log_says_by_whom(station: House) -> None:
    zhang, guan = await station.officer("zhang"), await station.officer("guan")
    async with station.store.write() as session:
        row = await session.merge(zhang)
        cookie = await sessions.begin(session, row, "127.0.0.1", second_factor_done=True)
        await session.flush()
        await officers.set_active(session, row, False, actor=Actor(row.station_id, guan.id))
        assert await sessions.find(session, row.station_id, cookie) is None
        event = await last_event(session)
        assert (event.action, event.actor_id, event.subject) == ("officer.disabled", guan.id, f"officer:{row.id}")


async def test_communities_are_set_as_a_whole(station: House) -> None:
    zhang, lake = await station.officer("zhang"), await station.community("湖滨社区")
    async with station.store.write() as session:
        row = await session.merge(zhang)
        await officers.set_communities(session, row, [lake, lake], actor=Actor(row.station_id))
        query = select(CommunityOfficer.community_id).where(CommunityOfficer.officer_id == row.id)
        assert (await session.execute(query)).scalars().all() == [lake]


async def test_a_name_is_taken_once_in_a_station(station: House) -> None:
    async with station.store.write() as session:
        with pytest.raises(Conflict):
            await officers.add_officer(
                session, station.station.id, username="zhang", name="张二", role=Role.OFFICER,
                password_hash="", actor=Actor(station.station.id),
            )  # fmt: skip


async def test_a_badge_belongs_to_one_officer_also_after_he_left(station: House) -> None:
    zhang, guan = await station.officer("zhang"), await station.officer("guan")
    assert zhang.badge
    actor = Actor(zhang.station_id, guan.id)
    async with station.store.write() as session:
        left, other = await session.merge(zhang), await session.merge(guan)
        await officers.set_details(session, left, name="张伟", badge=zhang.badge, phone="", actor=actor)
        with pytest.raises(Conflict, match=f"警号 {zhang.badge} 已登记给张伟，请核对"):
            await officers.set_details(session, other, name="管", badge=f" {zhang.badge} ", phone="", actor=actor)
        await officers.set_active(session, left, False, actor=actor)
        with pytest.raises(Conflict, match="账号已停用"):
            await officers.add_officer(
                session, zhang.station_id, username="wang", name="王芳", role=Role.OFFICER,
                password_hash="", badge=zhang.badge, actor=actor,
            )  # fmt: skip
        await officers.set_details(session, left, name="张伟", badge="", phone="", actor=actor)
        await officers.set_details(session, other, name="管", badge=zhang.badge, phone="", actor=actor)
        assert other.badge == zhang.badge


@pytest.mark.parametrize("phone", ["", "110110", "13900009999", "138-0000-0001", "+86 571 8812 3456", "(0571)88123456"])
async def test_telephone_numbers_of_all_kinds_are_taken(station: House, phone: str) -> None:
    async with station.store.write() as session:
        zhang = await session.merge(await station.officer("zhang"))
        await officers.set_details(session, zhang, name="张伟", badge=zhang.badge, phone=phone, actor=Actor(1))
        assert zhang.phone == phone
