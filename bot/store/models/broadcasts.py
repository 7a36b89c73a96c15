"""Warnings, from the draft to the end."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row, one_of
from bot.store.models.stations import Officer
from bot.store.types import BigId


class BroadcastState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"  # waits for somebody else to approve it
    APPROVED = "approved"  # sealed; waits for its time
    SENDING = "sending"
    DONE = "done"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


BROADCAST_ARROWS: dict[BroadcastState, frozenset[BroadcastState]] = {
    BroadcastState.DRAFT: frozenset({BroadcastState.SUBMITTED, BroadcastState.CANCELLED}),
    BroadcastState.SUBMITTED: frozenset({BroadcastState.APPROVED, BroadcastState.DRAFT, BroadcastState.CANCELLED}),
    BroadcastState.APPROVED: frozenset(
        {BroadcastState.SENDING, BroadcastState.DRAFT, BroadcastState.EXPIRED, BroadcastState.CANCELLED}
    ),
    BroadcastState.SENDING: frozenset({BroadcastState.DONE, BroadcastState.CANCELLED, BroadcastState.EXPIRED}),
    BroadcastState.DONE: frozenset(),
    BroadcastState.EXPIRED: frozenset(),
    BroadcastState.CANCELLED: frozenset(),
}


class Repeat(StrEnum):
    ONCE = "once"
    WEEKLY = "weekly"


class Broadcast(Row, Base):
    """A warning. `seal` is the hash of text, audience and time that the approver saw; a change voids it.

    A weekly one stays approved and leaves a child (`parent_id`) for each week it was sent.
    """

    __tablename__ = "broadcasts"
    __table_args__ = (
        Index("ix_broadcasts_due", "state", "send_at"),  # scheduler: what is due
        Index("ix_broadcasts_list", "station_id", "id"),  # console: the list
        UniqueConstraint("parent_id", "send_at"),  # one child for each week
    )

    title: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)
    media_id: Mapped[int | None] = mapped_column(ForeignKey("media.id"))  # a picture under the words
    template: Mapped[str | None] = mapped_column(String(40))
    audience: Mapped[dict[str, Any]]
    repeat: Mapped[Repeat] = mapped_column(one_of(Repeat), default=Repeat.ONCE)
    send_at: Mapped[datetime | None]  # None: as soon as it is approved
    expires_at: Mapped[datetime | None]  # after this nothing more is sent
    state: Mapped[BroadcastState] = mapped_column(one_of(BroadcastState))
    author_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    approver_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    seal: Mapped[str | None] = mapped_column(String(64))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("broadcasts.id"))
    version: Mapped[int] = mapped_column(default=1)
    expanded_to: Mapped[int] = mapped_column(BigId, default=0)  # the last resident that has a delivery row
    expanded: Mapped[bool] = mapped_column(default=False)  # each recipient has a row
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    author: Mapped[Officer] = relationship(lazy="raise", foreign_keys="Broadcast.author_id")
    approver: Mapped[Officer | None] = relationship(lazy="raise", foreign_keys="Broadcast.approver_id")
