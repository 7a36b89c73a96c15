"""Warnings to residents who are officers' friends in WeCom: one task for each officer, which he sends with a tap.

Until WeCom says what became of it a recipient's delivery stays queued; nothing is called sent because it was handed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, contains_eager

from bot import clock
from bot.actions import broadcasts, contacts, deliveries, recipients
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.store.access import NotFound, access_wecom_task
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    TASK_ARROWS,
    Broadcast,
    BroadcastState,
    Delivery,
    DeliveryState,
    Officer,
    ResidentAddress,
    TaskState,
    WeComTask,
)
from bot.wecom import Fate, Listed

LEASE = timedelta(seconds=60)  # longer than any platform call
BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60))
POLLS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))  # since it was handed in; then each day
GIVEN_UP_AFTER = timedelta(days=7)
SOUGHT_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 7))  # ten minutes not in the list: not there
SOUGHT_AGAIN = timedelta(minutes=5)  # when the list could not be had
NOT_SOUGHT_AFTER = timedelta(days=1)
SEEKING_LEASE = timedelta(minutes=10)  # many calls
_CLOCKS_DIFFER = timedelta(minutes=10)  # ours and WeCom's, at the worst
REMINDERS_A_DAY = 3
_FATES: Final[Mapping[Fate, str]] = {Fate.NO_FRIEND: "不再是好友", Fate.HAD_ANOTHER: "本期已收到其他群发"}
_NOT_TAKEN = "企业微信没有接受这位居民（不再是好友，或本期已收到其他群发）"
_NEVER_TAPPED = "民警 7 天内没有在企业微信确认，没有发出"
_STOPPED = "已停止发送"
_EXPIRED = "已过失效时间，不再发送"
_UNKNOWN = "企业微信没有回执，也查不到任务是否建立。请民警在企业微信里查看，再决定是否另发"
_SEEKING = "企业微信没有回执，正在核对任务是否已经建立"
_TWICE = "企业微信里有几条同样的群发，分不清哪一条是这次的。请民警在企业微信里只发一条"
_CANCELLING = "cancelling"


@dataclass(frozen=True, slots=True)
class HandIn:
    """A claimed task with all that handing it in needs."""

    id: int
    userid: str
    text: str
    external_userids: tuple[str, ...]
    picture: int | None = None


@dataclass(frozen=True, slots=True)
class Seek:
    """A task that WeCom may have: what it looks like there, and the numbers of those that are other tasks of ours."""

    id: int
    userid: str
    text: str
    since: datetime
    until: datetime
    others: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A task whose recipients' fates are due to be asked for; `cancel`: take back what was not sent first."""

    id: int
    userid: str
    msgid: str
    cancel: bool


def _move(task: WeComTask, state: TaskState) -> None:
    if state not in TASK_ARROWS[task.state]:
        raise LookupError(f"a task cannot go from {task.state} to {state}")
    task.state = state


def _announce(session: AsyncSession, station_id: int, broadcast_ids: "set[int | None]") -> None:
    for broadcast_id in broadcast_ids - {None}:
        announce(session, Change(station_id, Kind.BROADCAST, broadcast_id or 0, "progress"))


# --- handing in -----------------------------------------------------------------------------------------------------


async def claim_new(session: AsyncSession, station_id: int, *, now: datetime) -> HandIn | None:
    """The next task to be handed in; a warning that was stopped or changed meanwhile is not."""
    await _end_interrupted(session, station_id, now)
    task = await _next(session, station_id, TaskState.NEW, now)
    if task is None:
        return None
    broadcast = await session.get_one(Broadcast, task.broadcast_id)
    residents = tuple(address for _, address in await _waiting_with_address(session, task))
    if (reason := _not_to_be_sent(broadcast, now)) or not residents:
        _move(task, TaskState.CANCELLED)
        task.next_at, task.finished_at, task.code, task.reason = None, now, None, reason or None
        await _skip_waiting(session, task, reason, now)
        return HandIn(task.id, "", "", ())
    _move(task, TaskState.SUBMITTING)
    task.attempts += 1
    task.tried_at = task.tried_at or now
    task.next_at = now + LEASE
    return HandIn(task.id, task.userid, broadcasts.broadcast_text(broadcast), residents, broadcast.media_id)


async def _next(session: AsyncSession, station_id: int, state: TaskState, now: datetime) -> WeComTask | None:
    query = (
        select(WeComTask)
        .where(WeComTask.station_id == station_id, WeComTask.state == state, WeComTask.next_at <= now)
        .order_by(WeComTask.next_at, WeComTask.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


def _not_to_be_sent(broadcast: Broadcast, now: datetime) -> str:
    if broadcast.state is BroadcastState.EXPIRED or (broadcast.expires_at and broadcast.expires_at <= now):
        return _EXPIRED
    if broadcast.state is not BroadcastState.SENDING:
        return _STOPPED
    return "" if broadcasts.is_sealed(broadcast) else "内容与审批不一致，已停止发送"


async def _end_interrupted(session: AsyncSession, station_id: int, now: datetime) -> None:
    """Whoever was handing it in died: WeCom may have it, so it is sought before anybody hands it in again."""
    query = select(WeComTask).where(
        WeComTask.station_id == station_id, WeComTask.state == TaskState.SUBMITTING, WeComTask.next_at <= now
    )
    for task in (await session.execute(query.with_for_update(skip_locked=True))).scalars():
        _seek(task, deliveries.UNKNOWN_CODE, now)


def _seek(task: WeComTask, code: str, now: datetime) -> None:
    _move(task, TaskState.SEEKING)
    task.polls, task.next_at = 0, now + SOUGHT_AFTER[0]
    task.code, task.reason = code[:20], _SEEKING


async def handed_in(session: AsyncSession, task_id: int, msgid: str, failed: Sequence[str]) -> None:
    """WeCom has the task; whom it cannot reach is known at once."""
    now, task = clock.now(), await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is TaskState.SUBMITTING:
        await _handed_in(session, task, msgid, failed, now)


async def _handed_in(session: AsyncSession, task: WeComTask, msgid: str, failed: Sequence[str], now: datetime) -> None:
    _move(task, TaskState.WAITING)
    task.msgid, task.submitted_at, task.next_at = msgid[:100], now, now + POLLS[0]
    task.code = task.reason = None
    for delivery in await _waiting(session, task, failed):
        await _end(session, delivery, DeliveryState.FAILED, _NOT_TAKEN, "fail_list")
    await _done_if_all_ended(session, task, now)
    _announce(session, task.station_id, {task.broadcast_id})


async def not_handed_in(
    session: AsyncSession, task_id: int, code: str, reason: str, *, again: bool, unknown: bool, after: timedelta | None
) -> None:
    """WeCom did not take it: `again` later, or never; `unknown`: it may have, and is asked for its list."""
    now, task = clock.now(), await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is not TaskState.SUBMITTING:
        return
    if again and task.attempts <= len(BACKOFF):
        _move(task, TaskState.NEW)
        task.code, task.reason = code[:20], reason[:200]
        task.next_at = now + max(BACKOFF[task.attempts - 1], after or timedelta())
        return
    if unknown:
        _seek(task, code, now)
    else:
        await _fail(session, task, code, reason, now)


async def _fail(session: AsyncSession, task: WeComTask, code: str, reason: str, now: datetime) -> None:
    _move(task, TaskState.FAILED)
    task.next_at, task.finished_at, task.code, task.reason = None, now, code[:20], reason[:200]
    for delivery in await _waiting(session, task):
        await _end(session, delivery, DeliveryState.FAILED, reason, code)
    _announce(session, task.station_id, {task.broadcast_id})


# --- seeking what may have been handed in ---------------------------------------------------------------------------


async def claim_sought(session: AsyncSession, station_id: int, *, now: datetime) -> Seek | None:
    """The next task to be looked for in WeCom's list."""
    task = await _next(session, station_id, TaskState.SEEKING, now)
    if task is None:
        return None
    task.next_at = now + SEEKING_LEASE
    since = (task.tried_at or task.created_at) - _CLOCKS_DIFFER
    others = select(WeComTask.msgid).where(
        WeComTask.station_id == station_id, WeComTask.msgid != "", WeComTask.submitted_at >= since
    )
    broadcast = await session.get_one(Broadcast, task.broadcast_id)
    return Seek(
        task.id,
        task.userid,
        broadcasts.broadcast_text(broadcast),
        since,
        now + _CLOCKS_DIFFER,
        frozenset((await session.execute(others)).scalars()),
    )


async def sought(session: AsyncSession, task_id: int, found: Sequence[Listed]) -> None:
    """What WeCom's list has that looks like it: one for these residents is it; after ten minutes without any it is
    handed in anew; of several nobody can say which."""
    now, task = clock.now(), await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is not TaskState.SEEKING:
        return
    residents = {address for _, address in await _waiting_with_address(session, task)}
    alike = [one for one in found if one.residents & residents] or [one for one in found if not one.residents]
    if len(alike) > 1:
        await _fail(session, task, "twice", _TWICE, now)
    elif alike:
        task.polls = 0
        known = alike[0].residents
        await _handed_in(session, task, alike[0].msgid, sorted(residents - known) if known else (), now)
    elif task.polls + 1 < len(SOUGHT_AFTER):
        task.polls += 1
        task.next_at = now + SOUGHT_AFTER[task.polls]
    elif task.attempts > len(BACKOFF):
        await _fail(session, task, deliveries.UNKNOWN_CODE, _UNKNOWN, now)
    else:
        _move(task, TaskState.NEW)
        task.polls, task.next_at, task.reason = 0, now, None


async def not_sought(session: AsyncSession, task_id: int, code: str, *, again: bool, after: timedelta | None) -> None:
    """WeCom did not give its list: `again` later, for a day at most."""
    now, task = clock.now(), await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is not TaskState.SEEKING:
        return
    if again and now < (task.tried_at or task.created_at) + NOT_SOUGHT_AFTER:
        task.next_at, task.code = now + max(SOUGHT_AGAIN, after or timedelta()), code[:20]
    else:
        await _fail(session, task, code, _UNKNOWN, now)


# --- what became of it ----------------------------------------------------------------------------------------------


async def hasten_stopped(session: AsyncSession, station_id: int, *, now: datetime) -> None:
    """The tasks of warnings that were stopped or expired are due at once."""
    stopped = (
        update(WeComTask)
        .where(
            WeComTask.station_id == station_id,
            WeComTask.state.in_((TaskState.NEW, TaskState.WAITING)),
            WeComTask.code.is_distinct_from(_CANCELLING),
            WeComTask.broadcast_id.in_(
                select(Broadcast.id).where(
                    Broadcast.station_id == station_id,
                    Broadcast.state.in_((BroadcastState.CANCELLED, BroadcastState.EXPIRED)),
                )
            ),
        )
        .values(next_at=now, code=_CANCELLING)
        .execution_options(synchronize_session=False)
    )
    await session.execute(stopped)


async def claim_waiting(session: AsyncSession, station_id: int, *, now: datetime) -> Ask | None:
    """The next task to ask WeCom about; what is left of a stopped or expired warning is to be taken back first."""
    task = await _next(session, station_id, TaskState.WAITING, now)
    if task is None:
        return None
    broadcast = await session.get_one(Broadcast, task.broadcast_id)
    cancel = broadcast.state in (BroadcastState.CANCELLED, BroadcastState.EXPIRED)
    task.polls += 1
    task.next_at = _next_poll(task, now)
    return Ask(task.id, task.userid, task.msgid, cancel)


def _next_poll(task: WeComTask, now: datetime) -> datetime:
    """1, 5, 15 and 60 minutes after it was handed in, then each day."""
    since = task.submitted_at or task.created_at
    return next((since + after for after in POLLS if since + after > now), now + timedelta(days=1))


async def learnt(session: AsyncSession, task_id: int, fates: Mapping[str, Fate]) -> None:
    """What WeCom says of some of a task's recipients."""
    task = await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is not TaskState.WAITING:
        return
    told = {address: fate for address, fate in fates.items() if fate is not Fate.WAITING}
    for delivery, address in await _waiting_with_address(session, task, list(told)):
        fate = told[address]
        if fate is Fate.SENT:
            await _end(session, delivery, DeliveryState.SENT, "", task.msgid)
        else:
            await _end(session, delivery, DeliveryState.FAILED, _FATES[fate], f"status_{fate.value}")
    _announce(session, task.station_id, {task.broadcast_id})


async def asked(session: AsyncSession, task_id: int, *, cancelled: bool) -> None:
    """All that WeCom knows now has been taken in: the task is over when nobody waits, or when it was taken back."""
    now, task = clock.now(), await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is not TaskState.WAITING:
        return
    if cancelled:
        broadcast = await session.get_one(Broadcast, task.broadcast_id)
        reason = _EXPIRED if broadcast.state is BroadcastState.EXPIRED else _STOPPED
        await _skip_waiting(session, task, reason, now)
        _move(task, TaskState.CANCELLED)
        task.next_at, task.finished_at, task.code = None, now, None
        return
    if now >= (task.submitted_at or task.created_at) + GIVEN_UP_AFTER:
        await _skip_waiting(session, task, _NEVER_TAPPED, now)
    await _done_if_all_ended(session, task, now)


async def ask_again(session: AsyncSession, task_id: int, code: str, after: timedelta | None) -> None:
    """WeCom could not say now (41063: it is still being handed out; 45033: too many at once)."""
    task = await session.get_one(WeComTask, task_id, with_for_update=True)
    if task.state is TaskState.WAITING:
        soon = clock.now() + max(BACKOFF[min(task.polls, len(BACKOFF)) - 1], after or timedelta())
        task.next_at = min(soon, task.next_at) if task.next_at is not None else soon
        if task.code != _CANCELLING:
            task.code = code[:20]


async def _done_if_all_ended(session: AsyncSession, task: WeComTask, now: datetime) -> None:
    await session.flush()
    query = select(Delivery.id).where(Delivery.task_id == task.id, Delivery.state == DeliveryState.QUEUED).limit(1)
    if (await session.execute(query)).first() is None:
        _move(task, TaskState.DONE)
        task.next_at, task.finished_at, task.code = None, now, None


async def _waiting(session: AsyncSession, task: WeComTask, among: Sequence[str] | None = None) -> list[Delivery]:
    return [delivery for delivery, _ in await _waiting_with_address(session, task, among)]


async def _waiting_with_address(
    session: AsyncSession, task: WeComTask, among: Sequence[str] | None = None
) -> list[tuple[Delivery, str]]:
    """The task's deliveries whose end is not known, of the residents `among` these."""
    query = (
        select(Delivery, ResidentAddress.address)
        .join(ResidentAddress, ResidentAddress.id == Delivery.address_id)
        .where(Delivery.task_id == task.id, Delivery.state == DeliveryState.QUEUED)
        .order_by(Delivery.id)
    )
    if among is not None:
        query = query.where(ResidentAddress.address.in_(among))
    return [(delivery, address) for delivery, address in await session.execute(query)]


async def _end(session: AsyncSession, delivery: Delivery, state: DeliveryState, reason: str, code: str) -> None:
    """How one recipient's part ended; a warning that arrived stands in the resident's conversation."""
    now = clock.now()
    delivery.state, delivery.retry_at, delivery.finished_at = state, None, now
    if state is not DeliveryState.SENT:
        delivery.code, delivery.reason = code, reason
        return
    delivery.platform_id, delivery.code, delivery.reason = code, None, None
    await session.flush()
    broadcast = await session.get_one(Broadcast, delivery.broadcast_id)
    await recipients.log_broadcast(session, broadcast, [delivery.id], now, picture=broadcast.media_id is not None)


async def _skip_waiting(session: AsyncSession, task: WeComTask, reason: str, now: datetime) -> None:
    await session.execute(
        update(Delivery)
        .where(Delivery.task_id == task.id, Delivery.state == DeliveryState.QUEUED)
        .values(state=DeliveryState.SKIPPED, reason=reason, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    _announce(session, task.station_id, {task.broadcast_id})


# --- the warning's page ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A task as the warning's page shows it."""

    task: WeComTask
    waiting: int
    arrived: int
    total: int
    may_remind: bool


async def of_broadcast(session: AsyncSession, broadcast_id: int, *, now: datetime) -> list[Shown]:
    """A warning's tasks with their figures."""
    of_task = aliased(Delivery)
    query = (
        select(
            WeComTask,
            func.count(of_task.id).filter(of_task.state == DeliveryState.QUEUED),
            func.count(of_task.id).filter(of_task.state.in_((DeliveryState.SENT, DeliveryState.DELIVERED))),
            func.count(of_task.id),
        )
        .outerjoin(of_task, of_task.task_id == WeComTask.id)
        .where(WeComTask.broadcast_id == broadcast_id)
        .join(WeComTask.officer)
        .options(contains_eager(WeComTask.officer))
        .group_by(WeComTask.id, Officer.id)
        .order_by(WeComTask.id)
    )
    return [
        Shown(task, waiting, arrived, total, task.state is TaskState.WAITING and _may_remind(task, now))
        for task, waiting, arrived, total in await session.execute(query)
    ]


def _may_remind(task: WeComTask, now: datetime) -> bool:
    return len(_recent(task, now)) < REMINDERS_A_DAY


def _recent(task: WeComTask, now: datetime) -> list[str]:
    return [at for at in task.reminders if datetime.fromisoformat(at) > now - timedelta(days=1)]


async def access(
    session: AsyncSession, station_id: int, broadcast_id: int, task_id: int, *, lock: bool = False
) -> WeComTask:
    """A task of this warning; NotFound when it has no such one."""
    task = await access_wecom_task(session, station_id, task_id, lock=lock)
    if task.broadcast_id != broadcast_id:
        raise NotFound(f"WeComTask {task_id}")
    return task


def check_reminder(task: WeComTask) -> str:
    """The message of a task whose officer may be reminded; ActionError says why not."""
    if task.state is not TaskState.WAITING:
        raise ActionError("这条任务已经结束，不需要提醒。")
    if not _may_remind(task, clock.now()):
        raise ActionError("24 小时内已提醒 3 次，请直接打电话联系民警。")
    return task.msgid


async def reminded(session: AsyncSession, task: WeComTask, *, actor: Actor) -> None:
    """The officer has been reminded once more."""
    now = clock.now()
    task.reminders = [*_recent(task, now), now.isoformat()]
    task.next_at = min(task.next_at, now + POLLS[0]) if task.next_at is not None else now + POLLS[0]
    await record(session, actor, "wecom_task.reminded", f"broadcast:{task.broadcast_id}", details={"task": task.id})


async def note_left(session: AsyncSession, task_id: int, external_userids: Sequence[str]) -> None:
    """WeCom says they are no friends any more, and its event may have been lost: they stand among those who left."""
    task = await session.get_one(WeComTask, task_id)
    await contacts.found_gone(session, task.station_id, task.userid, external_userids, at=clock.now())
