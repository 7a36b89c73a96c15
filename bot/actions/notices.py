"""Notices that a message waits: which residents accepted them, promising them, what became of each."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import ledger
from bot.message import Message
from bot.reach import Rules
from bot.store.bulk import insert_if_new
from bot.store.live import Change, Kind, announce
from bot.store.models import Delivery, DeliveryRoute, DeliveryState, NoticeConsent, ResidentAddress

EVENTS: Final = frozenset(
    {
        "templatesendjobfinish",
        "subscribe_msg_popup_event",
        "subscribe_msg_change_event",
        "subscribe_msg_sent_event",
    }
)
BLOCKED: Final = "居民拒收公众号的消息，无法送达。请改用电话或上门联系。"
_TEMPLATE_ENDS: Final = {  # without spaces: the platform writes them with and without
    "failed:userblock": BLOCKED,
    "failed:systemfailed": "微信没有送出通知（平台故障）。",
    "failed:freqlimit": "通知发得太频繁，微信没有送出。",
}
_NOT_SENT: Final = "微信没有送出通知。"


async def has_consent(session: AsyncSession, address_id: int, template_id: str) -> bool:
    """Whether the resident accepted notices of this template and nothing has said since that he did not."""
    query = select(exists().where(NoticeConsent.address_id == address_id, NoticeConsent.template_id == template_id))
    return bool((await session.execute(query)).scalar_one())


async def promise(session: AsyncSession, rows: Sequence[Any], rules: Mapping[str, Rules], now: datetime) -> None:
    """Tell the residents that a message waits (`rows`: its deliveries), as far as their channel needs no consent or
    they gave it."""
    templates = {row.id: rules[row.channel].consent_template for row in rows}
    rows = [
        row for row in rows if not templates[row.id] or await has_consent(session, row.address_id, templates[row.id])
    ]
    if not rows:
        return
    await session.execute(
        insert(Delivery),
        [
            {
                "station_id": row.station_id,
                "message_id": row.message_id,
                "resident_id": row.resident_id,
                "address_id": row.address_id,
                "channel": row.channel,
                "route": DeliveryRoute.NOTICE,
                "state": DeliveryState.QUEUED,
                "rank": row.rank,
                "retry_at": now,
                "created_at": now,
            }
            for row in rows
        ],
    )
    await ledger.notified(session, [row.address_id for row in rows], now)
    announce(session, Change(rows[0].station_id, Kind.DELIVERIES, 0))


async def withdraw(session: AsyncSession, address_id: int, template_id: str) -> None:
    """He said no, or the platform says that what he accepted is used up."""
    await session.execute(
        delete(NoticeConsent).where(NoticeConsent.address_id == address_id, NoticeConsent.template_id == template_id)
    )


async def apply(session: AsyncSession, address: ResidentAddress, message: Message, *, now: datetime) -> None:
    """An event about notices, one or several in it."""
    if "status" in message.extra:
        status = message.extra["status"].replace(" ", "").lower()
        reason = None if status == "success" else _TEMPLATE_ENDS.get(status, _NOT_SENT)
        await _ended(session, address, message.extra.get("job", ""), reason, now)
        return
    for item in json.loads(message.extra.get("notices", "[]")):
        template, status = item.get("template", ""), item.get("status", "").lower()
        if "code" in item:
            await _ended(session, address, item.get("job", ""), None if item["code"] == "0" else _NOT_SENT, now)
        elif status == "accept" and template:
            await session.execute(
                insert_if_new(session, NoticeConsent).values(
                    station_id=address.station_id, address_id=address.id, template_id=template, accepted_at=now
                )
            )
        elif status == "reject":
            await withdraw(session, address.id, template)


async def _ended(session: AsyncSession, address: ResidentAddress, job: str, reason: str | None, now: datetime) -> None:
    """What became of one notice of ours (`reason`: why not); one we do not know (another system's) is passed over."""
    if reason == BLOCKED:
        await ledger.refuse(session, address.id, BLOCKED, now + ledger.REFUSED_FOR)
    query = (
        select(Delivery)
        .where(
            Delivery.address_id == address.id,
            Delivery.route == DeliveryRoute.NOTICE,
            Delivery.state == DeliveryState.SENT,
            Delivery.platform_id == job,
        )
        .with_for_update()
    )
    for delivery in (await session.execute(query)).scalars():
        delivery.state = DeliveryState.DELIVERED if reason is None else DeliveryState.FAILED
        delivery.reason, delivery.finished_at = reason, now
