"""Who did what: the chain of audit events."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base
from bot.store.types import BigId


class AuditEvent(Base):
    """One link of the chain: who did what, when and why; `hash` covers the row and the hash before it."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_subject", "station_id", "subject", "seq"),  # what happened to one ticket
        Index("ix_audit_events_actor", "station_id", "actor_id", "seq"),  # audit page: what one officer did
        Index("ix_audit_events_action", "station_id", "action", "seq"),  # audit page: one kind of action
        Index("ix_audit_events_at", "station_id", "at"),  # audit page: by date
    )

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor_id: Mapped[int | None] = mapped_column(BigId)  # an officer; None is the program itself
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(60))  # "ticket:7"
    why: Mapped[str] = mapped_column(String(200), default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ip: Mapped[str] = mapped_column(String(45), default="")
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The newest link of a station's chain; locked while one is added, and says if the end was cut off."""

    __tablename__ = "audit_heads"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigId)
    hash: Mapped[str] = mapped_column(String(64))
