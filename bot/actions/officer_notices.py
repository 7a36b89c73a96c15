"""Telling officers of tickets in WeCom: whom, in which words, how often, and how each telling ended.

The tickets' own rows are the schedule: an open ticket without a notice is to be told of, an urgent one again each
minute until somebody takes it. No words of a resident stand in a notice; it leaves the house.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot import clock
from bot.actions.duties import answering_officers, is_on_duty
from bot.store.models import (
    NOTICE_ARROWS,
    CommunityOfficer,
    NoticeState,
    Officer,
    OfficerNotice,
    Priority,
    Ticket,
    TicketNotice,
    TicketState,
)
from bot.wecom import TO_AT_ONCE, folded

AGAIN_AFTER = timedelta(minutes=1)  # an urgent ticket that nobody has taken
GAP = timedelta(seconds=3)  # between two rounds: at most 20 messages a minute to anybody; WeCom drops those above 30
LEASE = timedelta(seconds=30)  # longer than any platform call
BACKOFF = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 30, *[60] * 24))  # 25 minutes: WeCom forgets after 30
UNREACHED_CODE = "unreached"
UNREACHED = "接收人和备用值班人员都没有收到。请管理员核对他们的企业微信账号。"
NOT_TAKEN = "企业微信没有送达：账号不存在、未激活或不在应用的可见范围。"
_AT_ONCE = 20  # notices under way
_TICKETS = 200  # of one round
_ON_CALL = 0  # no officer: those of the settings
_LISTED = 5  # tickets named in one notice

Titles = Callable[[str | None], str]  # the title of a topic


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed notice: `userids` (folded) of its officers; none means the on-call list."""

    id: int
    userids: tuple[str, ...]
    title: str
    text: str
    path: str


# --- whom and when --------------------------------------------------------------------------------------------------


async def plan(
    session: AsyncSession, station_id: int, *, on_call: bool, timezone: str, titles: Titles, now: datetime
) -> int:
    """Write the notices that are due now, one at most for each officer; how many. `on_call`: there is such a list."""
    if await _is_telling(session, station_id, now - GAP):
        return 0
    due = await _due_tickets(session, station_id, now)
    if not due:
        return 0
    officers = [officer for officer in await answering_officers(session, station_id) if officer.wecom_userid]
    if not officers and not on_call:
        return 0
    by_community = await _by_community(session, station_id)
    told: dict[int, list[tuple[Ticket, int]]] = defaultdict(list)  # by officer
    for ticket, notice in due:
        rounds = await _count(session, ticket, notice, now)
        recipients = _recipients(ticket, officers, by_community, now, ZoneInfo(timezone))
        for officer_id in [officer.id for officer in recipients] or [_ON_CALL]:
            told[officer_id].append((ticket, rounds))
    groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    rows = {ticket.id: ticket for ticket, _ in due}
    for officer_id, tickets in told.items():
        groups[tuple((ticket.id, rounds) for ticket, rounds in tickets)].append(officer_id)
    for key, people in groups.items():
        named = [(rows[number], rounds) for number, rounds in key]
        for start in range(0, len(people), TO_AT_ONCE):
            part = [officer_id for officer_id in people[start : start + TO_AT_ONCE] if officer_id != _ON_CALL]
            session.add(_notice(station_id, part, named, titles, now))
    await session.flush()
    return len(groups)


async def _is_telling(session: AsyncSession, station_id: int, since: datetime) -> bool:
    """Whether the last round is still under way (WeCom does not answer), or was since then.

    Without the first an hour of silence would end in sixty cards at once.
    """
    under_way = OfficerNotice.state.in_((NoticeState.QUEUED, NoticeState.SENDING))
    query = (
        select(OfficerNotice.id)
        .where(OfficerNotice.station_id == station_id, or_(under_way, OfficerNotice.created_at > since))
        .limit(1)
    )
    return (await session.execute(query)).first() is not None


async def _due_tickets(
    session: AsyncSession, station_id: int, now: datetime
) -> list[tuple[Ticket, TicketNotice | None]]:
    """Locked, so that two processes do not tell of the same one."""
    urgent = Ticket.priority == Priority.URGENT
    query = (
        select(Ticket, TicketNotice)
        .outerjoin(TicketNotice, TicketNotice.ticket_id == Ticket.id)
        .where(
            Ticket.station_id == station_id,
            Ticket.state == TicketState.OPEN,
            or_(
                TicketNotice.id.is_(None),
                and_(urgent, TicketNotice.last_at <= now - AGAIN_AFTER),
                and_(urgent, ~TicketNotice.urgent),
                and_(~urgent, Ticket.reminded_at > TicketNotice.last_at),  # it lies too long: reminders.py raised it
            ),
        )
        .options(joinedload(Ticket.community))
        .order_by(Ticket.priority_rank, Ticket.opened_at)
        .limit(_TICKETS)
        .with_for_update(of=Ticket, skip_locked=True)
    )
    return [(ticket, notice) for ticket, notice in await session.execute(query)]


async def _count(session: AsyncSession, ticket: Ticket, notice: TicketNotice | None, now: datetime) -> int:
    """Which time it is told of now."""
    urgent = ticket.priority is Priority.URGENT
    if notice is None:
        notice = TicketNotice(station_id=ticket.station_id, ticket_id=ticket.id, urgent=urgent, rounds=0, last_at=now)
        session.add(notice)
    notice.rounds += 1
    notice.urgent, notice.last_at = urgent, now
    await session.flush()
    return notice.rounds


async def _by_community(session: AsyncSession, station_id: int) -> Mapping[int, set[int]]:
    query = select(CommunityOfficer.community_id, CommunityOfficer.officer_id).where(
        CommunityOfficer.station_id == station_id
    )
    found: dict[int, set[int]] = defaultdict(set)
    for community_id, officer_id in await session.execute(query):
        found[community_id].add(officer_id)
    return found


def _recipients(
    ticket: Ticket, officers: Sequence[Officer], by_community: Mapping[int, set[int]], now: datetime, zone: ZoneInfo
) -> list[Officer]:
    """Everybody when it is urgent; else the first of these that has anybody: the community's officers on duty,
    anybody on duty, the community's officers, everybody."""
    if ticket.priority is Priority.URGENT:
        return list(officers)
    own = [officer for officer in officers if officer.id in by_community.get(ticket.community_id or 0, ())]
    on_duty = [officer for officer in officers if is_on_duty(officer, now, zone)]
    own_on_duty = [officer for officer in own if officer in on_duty]
    return own_on_duty or on_duty or own or list(officers)


# --- in which words -------------------------------------------------------------------------------------------------


def _notice(
    station_id: int, officers: list[int], tickets: Sequence[tuple[Ticket, int]], titles: Titles, now: datetime
) -> OfficerNotice:
    """One card: of one ticket it opens the ticket, of several the queue."""
    first, rounds = tickets[0]
    urgent = sum(ticket.priority is Priority.URGENT for ticket, _ in tickets)
    if len(tickets) == 1:
        title = f"{'紧急求助' if urgent else '新工单'} {first.number}"
        path = f"/console/tickets/{first.id}"
    else:
        title = f"{f'紧急求助 {urgent} 条，' if urgent else ''}待接工单共 {len(tickets)} 条"
        path = "/console/tickets"
    lines = [_line(ticket, titles, with_number=len(tickets) > 1) for ticket, _ in tickets[:_LISTED]]
    if len(tickets) > _LISTED:
        lines.append(f"……还有 {len(tickets) - _LISTED} 条")
    if rounds > 1:
        lines.append(f"第 {rounds} 次提醒，还没有人接手。")
    lines.append("请点开接手。" if len(tickets) == 1 else "请打开工作台接手。")
    return OfficerNotice(
        station_id=station_id,
        officers=officers,
        tickets=[ticket.id for ticket, _ in tickets],
        title=title,
        text="\n".join(lines)[:300],
        path=path,
        state=NoticeState.QUEUED,
        retry_at=now,
        created_at=now,
    )


def _line(ticket: Ticket, titles: Titles, *, with_number: bool) -> str:
    place = ticket.community.name if ticket.community else "社区未登记"
    about = titles(ticket.topic)
    return f"{ticket.number} {place}：{about}" if with_number else f"{place}\n{about}"


# --- how it ended ---------------------------------------------------------------------------------------------------


def _move(notice: OfficerNotice, state: NoticeState) -> None:
    if state not in NOTICE_ARROWS[notice.state]:
        raise LookupError(f"a notice cannot go from {notice.state} to {state}")
    notice.state = state


async def claim(session: AsyncSession, station_id: int, *, now: datetime) -> list[Due]:
    """Notices to be sent by this process. One whose sender died is sent again: WeCom knows the same words to the same
    people for half an hour and shows them once."""
    query = (
        select(OfficerNotice)
        .where(
            OfficerNotice.station_id == station_id,
            OfficerNotice.state.in_((NoticeState.QUEUED, NoticeState.SENDING)),
            OfficerNotice.retry_at <= now,
        )
        .order_by(OfficerNotice.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    claimed = []
    for notice in (await session.execute(query)).scalars():
        if await _somebody_waits(session, notice.tickets):
            claimed.append(notice)
        else:
            _move(notice, NoticeState.OVER)
            notice.retry_at, notice.finished_at = None, now
    wanted = {officer_id for notice in claimed for officer_id in notice.officers}
    rows = await session.execute(select(Officer.id, Officer.wecom_userid).where(Officer.id.in_(wanted), Officer.active))
    userids = {officer_id: userid for officer_id, userid in rows if userid}
    for notice in claimed:
        if notice.state is NoticeState.QUEUED:
            _move(notice, NoticeState.SENDING)
        notice.retry_at = now + LEASE
        notice.attempts += 1
    return [
        Due(
            notice.id,
            tuple(userids[officer_id] for officer_id in notice.officers if officer_id in userids),
            notice.title,
            notice.text,
            notice.path,
        )
        for notice in claimed
    ]


async def _somebody_waits(session: AsyncSession, tickets: Sequence[int]) -> bool:
    query = select(Ticket.id).where(Ticket.id.in_(tickets), Ticket.state == TicketState.OPEN).limit(1)
    return (await session.execute(query)).first() is not None


async def sent(session: AsyncSession, notice_id: int, reached: Sequence[str], unreached: Sequence[str]) -> None:
    """Somebody has it; whom WeCom does not know is shown to the admin until it does."""
    await _end(session, notice_id, NoticeState.SENT, None, None)
    await note_problems(session, notice_id, reached, unreached)


async def note_problems(
    session: AsyncSession, notice_id: int, reached: Sequence[str], unreached: Sequence[str]
) -> None:
    notice = await session.get_one(OfficerNotice, notice_id)
    for userids, problem in ((unreached, NOT_TAKEN), (reached, "")):
        if userids:
            await session.execute(
                update(Officer)
                .where(
                    Officer.station_id == notice.station_id,
                    Officer.wecom_userid.in_([folded(userid) for userid in userids]),
                    Officer.wecom_problem != problem,
                )
                .values(wecom_problem=problem)
                .execution_options(synchronize_session=False)
            )


async def again(session: AsyncSession, notice_id: int, code: str, reason: str, after: timedelta | None) -> None:
    """Nothing was sent, or nobody knows: once more, until the pauses are used up."""
    notice = await session.get_one(OfficerNotice, notice_id, with_for_update=True)
    if notice.state is not NoticeState.SENDING:
        return
    if notice.attempts > len(BACKOFF):
        await _end(session, notice_id, NoticeState.FAILED, code, reason)
        return
    _move(notice, NoticeState.QUEUED)
    notice.code, notice.reason = code[:20], reason[:200]
    notice.retry_at = clock.now() + (after or BACKOFF[notice.attempts - 1])


async def failed(session: AsyncSession, notice_id: int, code: str, reason: str) -> None:
    """Nobody got it."""
    await _end(session, notice_id, NoticeState.FAILED, code, reason)


async def _end(session: AsyncSession, notice_id: int, state: NoticeState, code: str | None, reason: str | None) -> None:
    notice = await session.get_one(OfficerNotice, notice_id, with_for_update=True)
    if notice.state is NoticeState.SENDING:
        _move(notice, state)
        notice.retry_at, notice.finished_at = None, clock.now()
        notice.code, notice.reason = code and code[:20], reason and reason[:200]
