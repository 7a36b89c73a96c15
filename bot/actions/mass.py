"""Mass sending: a warning's recipients in calls of thousands, each a job that can be repeated and is reported on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.broadcasts import broadcast_text, not_to_be_sent
from bot.actions.deliveries import LEASE, UNKNOWN_CODE
from bot.actions.ledger import china_month, count_mass, had_enough, lock_recipients
from bot.actions.mass_planning import one_by_one
from bot.actions.recipients import log_broadcast
from bot.message import MassOutcome, Message, Reply
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    MASS_JOB_ARROWS,
    Broadcast,
    Delivery,
    DeliveryState,
    MassJob,
    MassJobState,
    ResidentAddress,
    StoredMessage,
)

SETTLE_ROWS = 500  # recipients written down in one transaction: a resident who writes meanwhile waits for it
REPORT_WITHIN = timedelta(hours=1)  # the platform reports within minutes; the admin's tap may take 30
ASK_AFTER = timedelta(minutes=10)  # after so long without a report the platform is asked, and again each time
REPEATABLE_FOR = timedelta(hours=23)  # the platform knows a client id for 24 hours
PAUSES = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
UNKNOWN_PAUSE = timedelta(seconds=60)  # sooner it only answers "too fast"
UNKNOWN_REASON: Final = "微信没有确认是否收到群发，可能已经发出。请在公众平台的“已发送”里核对后再决定。"
NO_REPORT: Final = "已提交微信群发，但微信一直没有回报结果。请在公众平台的“已发送”里查看。"
_TOLD: Final = {
    MassOutcome.SENT: "微信确认已经群发，但没有报告人数。",
    MassOutcome.DELETED: "这次群发已在公众平台被删除，微信没有报告人数。",
}
EVENT: Final = "masssendjobfinish"
_SUCCESS = "sendsuccess"
_REFUSALS: Final = {
    "10001": "微信认为内容涉嫌广告，没有发出。",
    "20001": "微信认为内容涉嫌政治，没有发出。",
    "20002": "微信认为内容涉嫌色情，没有发出。",
    "20004": "微信认为内容涉嫌社会敏感，没有发出。",
    "20006": "微信认为内容涉嫌违法犯罪，没有发出。",
    "20008": "微信认为内容涉嫌欺诈，没有发出。反诈提醒引用骗子的原话容易被误判，请改写后重新报批。",
    "20013": "微信认为内容涉嫌版权问题，没有发出。",
    "21000": "微信认为内容涉嫌其他违规，没有发出。",
    "22000": "微信认为内容涉嫌互推，没有发出。",
    "30001": "原创校验没有通过，微信没有发出。",
    "30002": "原创校验没有通过，微信没有发出。",
    "30003": "原创校验没有通过，微信没有发出。",
    "40001": "公众号管理员拒绝了这次群发，没有发出。",
    "40002": "公众号管理员 30 分钟内没有在微信里确认，没有发出。请通知管理员后重新报批。",
}
_FAILED: Final = "微信没有发出这次群发。请在公众平台查看原因。"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A claimed job with all that submitting it needs."""

    id: int
    channel: str
    client_id: str
    addresses: Sequence[str]
    reply: Reply


def _move(job: MassJob, state: MassJobState) -> None:
    if state not in MASS_JOB_ARROWS[job.state]:
        raise ValueError(f"mass job {job.id}: no way from {job.state} to {state}")
    job.state = state


def _announce(session: AsyncSession, job: MassJob) -> None:
    announce(session, Change(job.station_id, Kind.BROADCAST, job.broadcast_id, "progress"))


# --- submitting -----------------------------------------------------------------------------------------------------


async def claim(session: AsyncSession, station_id: int, *, now: datetime, parked: Sequence[str] = ()) -> Bundle | None:
    """Take the next job for this process. One whose process died is taken again: its client id makes that harmless."""
    while (job := await _next(session, station_id, now, parked)) is not None:
        if job.state is MassJobState.SENDING:
            job.unknown = True
            _move(job, MassJobState.QUEUED)
        broadcast = await session.get_one(Broadcast, job.broadcast_id)
        if reason := not_to_be_sent(broadcast, now):
            await _give_up(session, job, DeliveryState.SKIPPED, reason, now)
            continue
        if job.unknown and job.first_tried_at is not None and job.first_tried_at < now - REPEATABLE_FOR:
            await _give_up(session, job, DeliveryState.FAILED, UNKNOWN_REASON, now)
            continue
        if job.month != china_month(now):
            await _count_anew(session, job, now)
        addresses = await _recipients(session, job)
        if len(addresses) < 2 and not job.unknown:  # the others left since it was planned
            await count_mass(session, job.id, -1, job.month)
            await one_by_one(session, and_(Delivery.mass_job_id == job.id, _is_waiting()), now)
            _fail(job, None, "只剩一位居民，改为单独发送", now)
            continue
        _move(job, MassJobState.SENDING)
        job.attempts += 1
        job.retry_at, job.first_tried_at = now + LEASE, job.first_tried_at or now
        return Bundle(job.id, job.channel, job.client_id, addresses, Reply(broadcast_text(broadcast)))
    return None


async def _count_anew(session: AsyncSession, job: MassJob, now: datetime) -> None:
    """It slipped into another month, whose quota it takes. Who has had as many there as the platform lets through gets
    it one by one; not so of a list the platform may have, which stays as it is when it is repeated."""
    await lock_recipients(session, job.id)
    if not job.unknown:
        full = Delivery.address_id.in_(select(ResidentAddress.id).where(had_enough(now)))
        job.size -= await one_by_one(session, and_(Delivery.mass_job_id == job.id, _is_waiting(), full), now)
    job.month = china_month(now)
    await count_mass(session, job.id, 1, job.month)


async def _next(session: AsyncSession, station_id: int, now: datetime, parked: Sequence[str]) -> MassJob | None:
    query = (
        select(MassJob)
        .where(
            MassJob.station_id == station_id,
            MassJob.state.in_((MassJobState.QUEUED, MassJobState.SENDING)),
            MassJob.retry_at <= now,
            MassJob.channel.not_in(parked),
        )
        .order_by(MassJob.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


def _is_waiting() -> ColumnElement[bool]:
    return Delivery.state == DeliveryState.QUEUED


async def _recipients(session: AsyncSession, job: MassJob) -> list[str]:
    query = (
        select(ResidentAddress.address)
        .join(Delivery, Delivery.address_id == ResidentAddress.id)
        .where(Delivery.mass_job_id == job.id, _is_waiting())
        .order_by(Delivery.id)
    )
    return list((await session.execute(query)).scalars())


async def access_job(session: AsyncSession, job_id: int) -> MassJob:
    """A job, locked; what was read of it before is read anew."""
    query = select(MassJob).where(MassJob.id == job_id).with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one()


async def submitted(session: AsyncSession, job_id: int, msg_id: str, *, now: datetime) -> None:
    """The platform took it, now or when it was tried before. Its report may have come already."""
    job = await access_job(session, job_id)
    if job.state is not MassJobState.SENDING:
        return
    _move(job, MassJobState.SUBMITTED)
    job.msg_id, job.submitted_at, job.retry_at = msg_id[:40], now, now + ASK_AFTER
    job.code = job.reason = None
    job.unknown = False
    await session.flush()
    early = await _report_of(session, job)
    if early is not None:
        await _apply(session, job, early, now)
    _announce(session, job)


async def again(
    session: AsyncSession, job_id: int, code: str, reason: str, *, after: timedelta | None, unknown: bool, now: datetime
) -> None:
    """Not submitted, or nobody knows (`unknown`): try again with the same client id."""
    job = await access_job(session, job_id)
    if job.state is not MassJobState.SENDING:
        return
    _move(job, MassJobState.QUEUED)
    job.unknown = job.unknown or unknown
    pause = after or (UNKNOWN_PAUSE if unknown else PAUSES[min(job.attempts, len(PAUSES)) - 1])
    job.code, job.reason, job.retry_at = code[:40], reason[:200], now + pause
    _announce(session, job)


async def refused(session: AsyncSession, job_id: int, code: str, reason: str, *, now: datetime) -> None:
    """The platform does not take this job, now or ever."""
    job = await access_job(session, job_id)
    if job.state is MassJobState.SENDING:
        await _give_up(session, job, DeliveryState.FAILED, reason, now, code)


async def _give_up(
    session: AsyncSession, job: MassJob, end: DeliveryState, reason: str, now: datetime, code: str | None = None
) -> None:
    """The recipients' rows end as the job does. Of what the platform may have all the same it says so."""
    unknown = job.unknown
    if unknown:
        end, reason, code = DeliveryState.FAILED, UNKNOWN_REASON, UNKNOWN_CODE
    await _end_rows(session, job, end, reason, code, now, unknown=unknown)
    _fail(job, code, reason, now)
    if not unknown:
        await count_mass(session, job.id, -1, job.month)
    _announce(session, job)


async def _end_rows(
    session: AsyncSession,
    job: MassJob,
    end: DeliveryState,
    reason: str,
    code: str | None,
    now: datetime,
    *,
    unknown: bool = False,
) -> None:
    await session.execute(
        update(Delivery)
        .where(Delivery.mass_job_id == job.id, or_(_is_waiting(), Delivery.state == DeliveryState.SENT))
        .values(
            state=end,
            reason=reason[:200],
            code=(code or "")[:20] or None,
            unknown=unknown,
            retry_at=None,
            finished_at=now,
        )
        .execution_options(synchronize_session=False)
    )


def _fail(job: MassJob, code: str | None, reason: str, now: datetime) -> None:
    _move(job, MassJobState.FAILED)
    job.code, job.reason = (code or "")[:40] or None, reason[:200]
    job.retry_at, job.finished_at, job.settled = None, now, True


# --- writing down whom it went to -----------------------------------------------------------------------------------


async def settle(session: AsyncSession, station_id: int, *, now: datetime) -> bool:
    """Write down the next recipients of a submitted job, in their conversations too; False when none is left."""
    query = (
        select(MassJob)
        .where(
            MassJob.station_id == station_id,
            MassJob.state.in_((MassJobState.SUBMITTED, MassJobState.DONE)),
            ~MassJob.settled,
        )
        .order_by(MassJob.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job = (await session.execute(query)).scalar_one_or_none()
    if job is None:
        return False
    rows = select(Delivery.id).where(Delivery.mass_job_id == job.id, Delivery.id > job.settled_to, _is_waiting())
    numbers = list((await session.execute(rows.order_by(Delivery.id).limit(SETTLE_ROWS))).scalars())
    if not numbers:
        job.settled = True
        return True
    await session.execute(
        update(Delivery)
        .where(Delivery.id.in_(numbers))
        .values(state=DeliveryState.SENT, platform_id=job.msg_id, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    await log_broadcast(session, await session.get_one(Broadcast, job.broadcast_id), numbers, now)
    job.settled_to = numbers[-1]
    _announce(session, job)
    return True


# --- the platform's report ------------------------------------------------------------------------------------------


async def report(session: AsyncSession, station_id: int, message: Message, *, now: datetime) -> None:
    """The platform says how a mass job ended. One of a job we have not heard the number of yet is found later."""
    if message.event is None or message.event.name.lower() != EVENT:
        return
    query = (
        select(MassJob)
        .where(
            MassJob.station_id == station_id,
            MassJob.channel == message.channel,
            MassJob.msg_id == message.extra.get("job", ""),
        )
        .with_for_update()
    )
    for job in (await session.execute(query)).scalars():
        await _apply(session, job, message.extra, now)


async def _report_of(session: AsyncSession, job: MassJob) -> Mapping[str, str] | None:
    """The report on a job that came before the answer to the call."""
    query = (
        select(StoredMessage.details)
        .where(
            StoredMessage.station_id == job.station_id,
            StoredMessage.created_at >= job.created_at,
            StoredMessage.channel == job.channel,
            StoredMessage.platform_id == f"event:job:{EVENT}:{job.msg_id}",
        )
        .limit(1)
    )
    details = (await session.execute(query)).scalar_one_or_none()
    return details.get("extra", {}) if details else None


async def _apply(session: AsyncSession, job: MassJob, extra: Mapping[str, str], now: datetime) -> None:
    """Once or twice, in any case, with figures that need not add up: the first refusal or the last figures count."""
    if job.state not in (MassJobState.SUBMITTED, MassJobState.DONE):
        return
    job.total, job.filtered = _figure(extra, "total"), _figure(extra, "filtered")
    job.sent, job.errors = _figure(extra, "sent"), _figure(extra, "errors")
    status = extra.get("status", "").replace(" ", "").lower()
    if status == _SUCCESS:
        if job.state is MassJobState.SUBMITTED:
            _move(job, MassJobState.DONE)
        job.code = job.reason = job.retry_at = None
        job.finished_at = now
    else:
        found = re.fullmatch(r"err\((\d+)\)", status)
        await _not_sent(session, job, status, _REFUSALS.get(found[1], _FAILED) if found else _FAILED, now)
    _announce(session, job)


async def _not_sent(session: AsyncSession, job: MassJob, code: str, reason: str, now: datetime) -> None:
    """The platform had taken it, and sent it to nobody."""
    await _end_rows(session, job, DeliveryState.FAILED, reason, code, now)
    _fail(job, code, reason, now)
    await count_mass(session, job.id, -1, job.month)


def _figure(extra: Mapping[str, str], name: str) -> int | None:
    words = extra.get(name, "").strip()
    return int(words) if words.isascii() and words.isdecimal() and len(words) <= 9 else None


@dataclass(frozen=True, slots=True)
class Unreported:
    """A job the platform should have reported on by now."""

    id: int
    channel: str
    msg_id: str


async def claim_unreported(
    session: AsyncSession, station_id: int, *, now: datetime, parked: Sequence[str] = ()
) -> Sequence[Unreported]:
    """Jobs whose report may have been lost, for this process to ask about; again after a while."""
    claimed = await session.execute(
        update(MassJob)
        .where(
            MassJob.station_id == station_id,
            MassJob.state == MassJobState.SUBMITTED,
            MassJob.retry_at <= now,
            MassJob.channel.not_in(parked),
        )
        .values(retry_at=now + ASK_AFTER)
        .execution_options(synchronize_session=False)
        .returning(MassJob.id, MassJob.channel, MassJob.msg_id)
    )
    return [Unreported(number, channel, msg_id or "") for number, channel, msg_id in claimed]


async def told(session: AsyncSession, job_id: int, outcome: MassOutcome, *, now: datetime) -> None:
    """What the platform says of a job when it is asked: never to how many it went."""
    job = await access_job(session, job_id)
    if job.state is not MassJobState.SUBMITTED or outcome is MassOutcome.SENDING:
        return
    if outcome is MassOutcome.FAILED:
        await _not_sent(session, job, outcome.value, _FAILED, now)
    else:
        _move(job, MassJobState.DONE)
        job.reason, job.retry_at, job.finished_at = _TOLD[outcome], None, now
    _announce(session, job)


async def stop_waiting(session: AsyncSession, station_id: int, *, now: datetime) -> None:
    """Jobs on which the platform never reported: it took them, and that is all we can say."""
    query = (
        select(MassJob)
        .where(
            MassJob.station_id == station_id,
            MassJob.state == MassJobState.SUBMITTED,
            MassJob.submitted_at < now - REPORT_WITHIN,
        )
        .with_for_update(skip_locked=True)
    )
    for job in (await session.execute(query)).scalars():
        _move(job, MassJobState.DONE)
        job.reason, job.finished_at = NO_REPORT, now
        _announce(session, job)
