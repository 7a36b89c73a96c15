"""What officers are told in WeCom."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base, Row, one_of


class TicketNotice(Row, Base):
    """How often and when officers were told of a ticket in WeCom; a ticket without one is still to be told of."""

    __tablename__ = "ticket_notices"
    __table_args__ = (UniqueConstraint("ticket_id"),)

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
    urgent: Mapped[bool]  # it was told of as urgent
    rounds: Mapped[int]
    last_at: Mapped[datetime]


class NoticeState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    OVER = "over"  # its tickets were taken before it left


NOTICE_ARROWS: dict[NoticeState, frozenset[NoticeState]] = {
    NoticeState.QUEUED: frozenset({NoticeState.SENDING, NoticeState.OVER}),
    NoticeState.SENDING: frozenset({NoticeState.QUEUED, NoticeState.SENT, NoticeState.FAILED, NoticeState.OVER}),
    NoticeState.SENT: frozenset(),
    NoticeState.FAILED: frozenset(),
    NoticeState.OVER: frozenset(),
}


class OfficerNotice(Row, Base):
    """One app message to officers in WeCom, from the promise to its end. Its words never change, so that WeCom knows a
    repetition."""

    __tablename__ = "officer_notices"
    __table_args__ = (
        Index("ix_officer_notices_due", "station_id", "state", "retry_at"),  # scheduler: what to send
        Index("ix_officer_notices_created", "station_id", "created_at"),  # scheduler: not too many in a minute
    )

    officers: Mapped[list[Any]]  # their numbers; none: the on-call list of the settings
    tickets: Mapped[list[Any]]  # the numbers of those it tells of
    title: Mapped[str] = mapped_column(String(60))
    text: Mapped[str] = mapped_column(String(300))
    path: Mapped[str] = mapped_column(String(80))  # the page it opens
    state: Mapped[NoticeState] = mapped_column(one_of(NoticeState))
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]  # due when passed; while SENDING: the end of the sender's lease
    code: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
