"""Warnings: written, sealed by a second person, sent on their way, stopped, ended."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import media
from bot.actions.audiences import Audience, check_audience
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.message import TEXT_LIMIT_CHARACTERS
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    BROADCAST_ARROWS,
    Broadcast,
    BroadcastState,
    Delivery,
    DeliveryState,
    MassJob,
    MassJobState,
    Media,
    Officer,
    Repeat,
    Role,
    StoredMessage,
)

SKIP_REASONS = {  # why nothing more of a warning leaves, as the result page says it
    BroadcastState.CANCELLED: "已由民警停止发送",
    BroadcastState.EXPIRED: "已过失效时间，不再发送",
}
BODY_CHARACTERS = TEXT_LIMIT_CHARACTERS
TITLE_CHARACTERS = 60
PICTURE_TYPES = frozenset({"image/jpeg", "image/png"})  # WeCom takes no other
FURTHEST = timedelta(days=366)  # how far off a warning may be planned; beyond is a slip of the pen
DEFAULT_LIFE = timedelta(days=2)  # a warning that could not be sent by then is stale
WRITING_ROLES = (Role.OFFICER, Role.CHIEF)
APPROVING_ROLES = (Role.CHIEF, Role.REVIEWER)  # the reviewer, so that a chief's own warning has a second person too


# --- writing and sealing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draft:
    """What an officer writes. `picture` is the id of a stored Media."""

    title: str
    body: str
    audience: Audience
    template: str | None = None
    repeat: Repeat = Repeat.ONCE
    send_at: datetime | None = None
    expires_at: datetime | None = None
    picture: int | None = None


def check_draft(draft: Draft) -> None:
    """Refuse a warning that could not be sent as it is."""
    if not draft.title.strip():
        raise ActionError("请填写标题。")
    if len(draft.title) > TITLE_CHARACTERS:
        raise ActionError(f"标题最多 {TITLE_CHARACTERS} 个字。")
    if not draft.body.strip():
        raise ActionError("请填写正文。")
    if len(draft.body) > BODY_CHARACTERS:
        raise ActionError(f"正文最多 {BODY_CHARACTERS} 个字，现在有 {len(draft.body)} 个字，请精简。")
    if draft.repeat is Repeat.WEEKLY and draft.send_at is None:
        raise ActionError("每周发送的提醒要填第一次发送的时间。")
    if draft.expires_at and draft.send_at and draft.expires_at <= draft.send_at:
        raise ActionError("失效时间要晚于发送时间。")
    check_audience(draft.audience)


async def keep_picture(session: AsyncSession, station_id: int, data: bytes) -> int:
    """A picture for a warning, of a kind that every platform takes; its number."""
    if media.content_type_of(data) not in PICTURE_TYPES:
        raise ActionError("提醒的图片请用 JPG 或 PNG 格式，其他格式微信不接受。")
    return (await media.keep(session, station_id, data, None)).id


def broadcast_text(broadcast: Broadcast) -> str:
    """What the recipients read."""
    return f"【{broadcast.title}】\n{broadcast.body}"


def seal_of(broadcast: Broadcast) -> str:
    """SHA-256 over everything the approver sees: what was approved is what is sent."""
    sealed = {
        "title": broadcast.title,
        "body": broadcast.body,
        "picture": broadcast.media_id,
        "audience": broadcast.audience,
        "repeat": broadcast.repeat.value,
        "send_at": _sealed_time(broadcast),
        "expires_at": broadcast.expires_at.astimezone(UTC).isoformat() if broadcast.expires_at else None,
    }
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_sealed(broadcast: Broadcast) -> bool:
    """Whether it is still what was approved."""
    return broadcast.seal == seal_of(broadcast)


def _sealed_time(broadcast: Broadcast) -> str | None:
    """The moment, or for a weekly warning day and time, which stay while `send_at` moves on week by week."""
    if broadcast.send_at is None:
        return None
    send_at = broadcast.send_at.astimezone(UTC)
    if broadcast.repeat is Repeat.WEEKLY:
        return f"{send_at:%A %H:%M} UTC"
    return send_at.isoformat()


def _move(broadcast: Broadcast, state: BroadcastState) -> None:
    if state not in BROADCAST_ARROWS[broadcast.state]:
        raise Conflict("这条提醒的状态已经变了，请刷新后再试。")
    broadcast.state = state


def _announce(session: AsyncSession, broadcast: Broadcast, what: str) -> None:
    announce(session, Change(broadcast.station_id, Kind.BROADCAST, broadcast.id, what))


async def create(session: AsyncSession, officer: Officer, draft: Draft, *, actor: Actor) -> Broadcast:
    """A new draft."""
    if officer.role not in WRITING_ROLES:
        raise NotAllowed("您的岗位不能编写提醒。")
    check_draft(draft)
    broadcast = Broadcast(
        station_id=officer.station_id,
        author_id=officer.id,
        state=BroadcastState.DRAFT,
        created_at=clock.now(),
        audience={},
    )
    _fill(broadcast, draft)
    session.add(broadcast)
    await session.flush()
    await record(session, actor, "broadcast.created", f"broadcast:{broadcast.id}")
    _announce(session, broadcast, "created")
    return broadcast


def _fill(broadcast: Broadcast, draft: Draft) -> None:
    broadcast.title, broadcast.body = draft.title.strip(), draft.body.strip()
    broadcast.template, broadcast.repeat = draft.template, draft.repeat
    broadcast.audience = draft.audience.as_json()
    broadcast.media_id = draft.picture
    broadcast.send_at, broadcast.expires_at = draft.send_at, draft.expires_at


async def edit(
    session: AsyncSession, broadcast: Broadcast, officer: Officer, draft: Draft, *, version: int, actor: Actor
) -> None:
    """Change a warning that is not on its way yet; an approval it had is void."""
    if officer.role not in WRITING_ROLES:
        raise NotAllowed("您的岗位不能编写提醒。")
    check_draft(draft)
    if broadcast.version != version:
        raise Conflict("同事刚刚改过这条提醒，请刷新后再改。")
    voided, before = broadcast.seal is not None, broadcast.media_id
    if broadcast.state is not BroadcastState.DRAFT:
        _move(broadcast, BroadcastState.DRAFT)
    _fill(broadcast, draft)
    _unseal(broadcast)
    broadcast.author_id = officer.id  # who wrote what stands there now may not be the one who approves it
    broadcast.version += 1
    if before is not None and before != broadcast.media_id:
        await _drop_picture(session, before)
    await record(session, actor, "broadcast.edited", f"broadcast:{broadcast.id}", details={"approval_voided": voided})
    _announce(session, broadcast, "edited")


async def _drop_picture(session: AsyncSession, media_id: int) -> None:
    """A picture that was taken out of a draft, unless it was sent in an earlier week."""
    await session.flush()
    used = or_(exists().where(Broadcast.media_id == Media.id), exists().where(StoredMessage.media_id == Media.id))
    await session.execute(delete(Media).where(Media.id == media_id, ~used))


def _unseal(broadcast: Broadcast) -> None:
    broadcast.seal = broadcast.approver_id = broadcast.approved_at = broadcast.submitted_at = None


async def submit(session: AsyncSession, broadcast: Broadcast, *, actor: Actor) -> None:
    """Ask somebody else to approve it."""
    _move(broadcast, BroadcastState.SUBMITTED)
    broadcast.submitted_at = clock.now()
    await record(session, actor, "broadcast.submitted", f"broadcast:{broadcast.id}")
    _announce(session, broadcast, "submitted")


async def approve(session: AsyncSession, broadcast: Broadcast, officer: Officer, *, seal: str, actor: Actor) -> None:
    """Seal exactly what the approver saw (`seal` of the page he read)."""
    if officer.role not in APPROVING_ROLES:
        raise NotAllowed("您的岗位不能审批提醒。")
    if officer.id == broadcast.author_id:
        raise NotAllowed("自己写的提醒要请别人审批。")
    if seal != seal_of(broadcast):
        raise Conflict("您看到的内容已被修改，请刷新后重新审阅。")
    now = clock.now()
    _move(broadcast, BroadcastState.APPROVED)
    if broadcast.expires_at and broadcast.expires_at <= now:
        raise ActionError("这条提醒已过失效时间，请退回修改。")
    broadcast.seal, broadcast.approver_id, broadcast.approved_at = seal, officer.id, now
    await record(session, actor, "broadcast.approved", f"broadcast:{broadcast.id}", details={"seal": seal})
    _announce(session, broadcast, "approved")


async def send_back(session: AsyncSession, broadcast: Broadcast, officer: Officer, *, why: str, actor: Actor) -> None:
    """Not approved: back to the author with a reason."""
    if officer.role not in APPROVING_ROLES:
        raise NotAllowed("您的岗位不能审批提醒。")
    if not why.strip():
        raise ActionError("请写明退回的原因。")
    _move(broadcast, BroadcastState.DRAFT)
    _unseal(broadcast)
    await record(session, actor, "broadcast.sent_back", f"broadcast:{broadcast.id}", why=why)
    _announce(session, broadcast, "sent_back")


async def stop(session: AsyncSession, broadcast: Broadcast, *, why: str, actor: Actor) -> int:
    """Nothing more of it leaves. Returns how many deliveries were still waiting."""
    _move(broadcast, BroadcastState.CANCELLED)
    broadcast.finished_at = clock.now()
    skipped = await _skip_rest(session, broadcast)
    await record(
        session, actor, "broadcast.stopped", f"broadcast:{broadcast.id}", why=why, details={"skipped": skipped}
    )
    _announce(session, broadcast, "stopped")
    return skipped


async def stop_unsealed(session: AsyncSession, broadcast: Broadcast) -> None:
    await stop(session, broadcast, why="内容与审批不一致，已自动停止", actor=Actor(broadcast.station_id))


async def _skip_rest(session: AsyncSession, broadcast: Broadcast) -> int:
    """What has not left does not leave; `expand_skipped` writes the rows that are still missing.

    Not ours to stop any more: a mass call that is on its way or that the platform may have, and what an officer may
    already be tapping at in WeCom, whose task is cancelled first.
    """
    reason, now = SKIP_REASONS[broadcast.state], clock.now()
    await session.execute(
        update(MassJob)
        .where(MassJob.broadcast_id == broadcast.id, MassJob.state == MassJobState.QUEUED, ~MassJob.unknown)
        .values(state=MassJobState.FAILED, reason=reason, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    on_its_way = select(MassJob.id).where(MassJob.broadcast_id == broadcast.id, MassJob.state != MassJobState.FAILED)
    skipped = await session.execute(
        update(Delivery)
        .where(
            Delivery.broadcast_id == broadcast.id,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.task_id.is_(None),
            or_(Delivery.mass_job_id.is_(None), Delivery.mass_job_id.not_in(on_its_way)),
        )
        .values(state=DeliveryState.SKIPPED, reason=reason, waits=False, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
        .returning(Delivery.id)
    )
    return len(skipped.all())


# --- on the clock ---------------------------------------------------------------------------------------------------


async def claim_due(session: AsyncSession, station_id: int) -> list[Broadcast]:
    """Approved warnings whose time has come, locked for this process."""
    query = (
        select(Broadcast)
        .where(
            Broadcast.station_id == station_id,
            Broadcast.state == BroadcastState.APPROVED,
            or_(Broadcast.send_at.is_(None), Broadcast.send_at <= clock.now()),
        )
        .order_by(Broadcast.id)
        .with_for_update(skip_locked=True)
    )
    return list((await session.execute(query)).scalars())


async def start(session: AsyncSession, broadcast: Broadcast) -> None:
    """Set an approved warning on its way: itself, or for a weekly one this week's child."""
    now, actor = clock.now(), Actor(broadcast.station_id)
    if not is_sealed(broadcast):
        _move(broadcast, BroadcastState.DRAFT)
        _unseal(broadcast)
        await record(session, actor, "broadcast.seal_broken", f"broadcast:{broadcast.id}")
        _announce(session, broadcast, "edited")
        return
    if broadcast.expires_at and broadcast.expires_at <= now:
        _move(broadcast, BroadcastState.EXPIRED)
        broadcast.finished_at = now
        await record(session, actor, "broadcast.expired", f"broadcast:{broadcast.id}")
        _announce(session, broadcast, "expired")
        return
    going = broadcast
    if broadcast.repeat is Repeat.WEEKLY and broadcast.send_at is not None:
        going = _this_week(broadcast, broadcast.send_at, now)
        session.add(going)
        while broadcast.send_at <= now:  # weeks missed while the program was down are not made up for
            broadcast.send_at += timedelta(weeks=1)
        await session.flush()
    _move(going, BroadcastState.SENDING)
    going.started_at = now
    await record(session, actor, "broadcast.started", f"broadcast:{going.id}")
    _announce(session, going, "started")


def _this_week(weekly: Broadcast, send_at: datetime, now: datetime) -> Broadcast:
    child = Broadcast(
        station_id=weekly.station_id,
        title=weekly.title,
        body=weekly.body,
        media_id=weekly.media_id,
        template=weekly.template,
        audience=weekly.audience,
        repeat=Repeat.ONCE,
        send_at=send_at,
        expires_at=now + DEFAULT_LIFE,
        state=BroadcastState.APPROVED,
        author_id=weekly.author_id,
        approver_id=weekly.approver_id,
        approved_at=weekly.approved_at,
        parent_id=weekly.id,
        version=1,
        expanded_to=0,
        expanded=False,
        created_at=now,
    )
    child.seal = seal_of(child)
    return child


async def claim_sending(session: AsyncSession, station_id: int) -> list[Broadcast]:
    """Warnings on their way, locked for this process."""
    query = (
        select(Broadcast)
        .where(Broadcast.station_id == station_id, Broadcast.state == BroadcastState.SENDING)
        .order_by(Broadcast.id)
        .with_for_update(skip_locked=True)
    )
    return list((await session.execute(query)).scalars())


def not_to_be_sent(broadcast: Broadcast, now: datetime) -> str:
    """Why a warning must not leave any more, looked at for each recipient; "" when it may."""
    if broadcast.state is not BroadcastState.SENDING:
        return "已停止发送"
    if broadcast.expires_at is not None and broadcast.expires_at <= now:
        return "已过失效时间，不再发送"
    return "" if is_sealed(broadcast) else "内容与审批不一致，已停止发送"


async def finish_if_ended(session: AsyncSession, broadcast: Broadcast) -> bool:
    """Done when every recipient's delivery has ended; expired when its time is over before that."""
    now = clock.now()
    if not is_sealed(broadcast):
        await stop_unsealed(session, broadcast)
        return True
    if broadcast.expires_at and broadcast.expires_at <= now:
        _move(broadcast, BroadcastState.EXPIRED)
        await _skip_rest(session, broadcast)
    elif broadcast.expanded and not await _unended(session, broadcast):
        _move(broadcast, BroadcastState.DONE)
    else:
        return False
    broadcast.finished_at = now
    await record(
        session, Actor(broadcast.station_id), f"broadcast.{broadcast.state.value}", f"broadcast:{broadcast.id}"
    )
    _announce(session, broadcast, broadcast.state.value)
    return True


async def _unended(session: AsyncSession, broadcast: Broadcast) -> bool:
    query = (
        select(Delivery.id)
        .where(
            Delivery.broadcast_id == broadcast.id,
            Delivery.state.in_((DeliveryState.QUEUED, DeliveryState.SENDING)),
        )
        .limit(1)
    )
    unreported = (
        select(MassJob.id)
        .where(
            MassJob.broadcast_id == broadcast.id,
            MassJob.state.in_((MassJobState.QUEUED, MassJobState.SENDING, MassJobState.SUBMITTED)),
        )
        .limit(1)
    )
    if (await session.execute(query)).first() is not None:
        return True
    return (await session.execute(unreported)).first() is not None
