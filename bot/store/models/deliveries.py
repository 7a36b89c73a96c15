"""What leaves the house: one row for each message to each recipient, or for one call to thousands."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base, Row, one_of
from bot.store.types import BigId


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"


DELIVERY_ARROWS: dict[DeliveryState, frozenset[DeliveryState]] = {
    # Straight to SENT: one call gave a mass message to thousands, and each row only learns of it.
    DeliveryState.QUEUED: frozenset(
        {DeliveryState.SENDING, DeliveryState.SKIPPED, DeliveryState.FAILED, DeliveryState.SENT}
    ),
    DeliveryState.SENDING: frozenset(
        {DeliveryState.SENT, DeliveryState.QUEUED, DeliveryState.FAILED, DeliveryState.SKIPPED}
    ),
    DeliveryState.SENT: frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED}),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.FAILED: frozenset(),
    DeliveryState.SKIPPED: frozenset(),
}


class DeliveryRoute(StrEnum):
    RESPONSE = "response"  # in the HTTP response to the resident's own message
    OUTBOX = "outbox"  # a customer-service message, or whatever the channel sends one by one
    MASS = "mass"  # one call for thousands: see MassJob
    NOTICE = "notice"  # not the message itself but a word that it waits
    TASK = "task"  # an officer sends it himself: queued until WeCom says that he did (see WeComTask)


class MassJobState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SUBMITTED = "submitted"  # the platform took it; what it did with it comes later
    DONE = "done"
    FAILED = "failed"


MASS_JOB_ARROWS: dict[MassJobState, frozenset[MassJobState]] = {
    MassJobState.QUEUED: frozenset({MassJobState.SENDING, MassJobState.FAILED}),
    MassJobState.SENDING: frozenset({MassJobState.SUBMITTED, MassJobState.QUEUED, MassJobState.FAILED}),
    MassJobState.SUBMITTED: frozenset({MassJobState.DONE, MassJobState.FAILED}),
    MassJobState.DONE: frozenset({MassJobState.FAILED}),  # the platform's refusal came after we had given up waiting
    MassJobState.FAILED: frozenset(),
}


class MassJob(Row, Base):
    """One call that gives a warning to thousands. The platform knows it by `client_id`, so that it can be repeated.

    `settled_to` is the last delivery that was written down as submitted: that goes in parts after the call. `month` is
    the one in China whose quota it takes, "2026-11".
    """

    __tablename__ = "mass_jobs"
    __table_args__ = (
        UniqueConstraint("client_id"),  # one for each warning and batch
        Index("ix_mass_jobs_due", "station_id", "state", "retry_at"),  # scheduler: what to submit next
        Index("ix_mass_jobs_broadcast", "broadcast_id"),  # warning page
        Index("ix_mass_jobs_report", "station_id", "channel", "msg_id"),  # the platform's report
    )

    broadcast_id: Mapped[int] = mapped_column(ForeignKey("broadcasts.id"))
    channel: Mapped[str] = mapped_column(String(40))
    client_id: Mapped[str] = mapped_column(String(32))
    state: Mapped[MassJobState] = mapped_column(one_of(MassJobState))
    size: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    month: Mapped[str] = mapped_column(String(7))
    retry_at: Mapped[datetime | None]  # due when passed; SENDING: the end of the lease; SUBMITTED: when to ask about it
    unknown: Mapped[bool] = mapped_column(default=False)  # an answer was lost: the platform may have it
    msg_id: Mapped[str | None] = mapped_column(String(40))  # the platform's
    settled: Mapped[bool] = mapped_column(default=False)
    settled_to: Mapped[int] = mapped_column(BigId, default=0)
    total: Mapped[int | None]  # the platform's figures, which are approximate
    filtered: Mapped[int | None]
    sent: Mapped[int | None]
    errors: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    first_tried_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Delivery(Row, Base):
    """One message to one recipient, from the promise to its end. `reason` is what the officer reads."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("broadcast_id", "resident_id"),  # a warning reaches each recipient once
        # outbox: what to send next, in its order, so that a page of it does not sort all that waits
        Index("ix_deliveries_due", "station_id", "state", "route", "rank", "id", "retry_at"),
        Index("ix_deliveries_address", "address_id", "state"),  # outbox: one at a time to an address, in its order
        Index("ix_deliveries_message", "message_id"),  # ticket page: the state beside a reply
        Index("ix_deliveries_broadcast", "broadcast_id", "state"),  # warning page: counts
        Index("ix_deliveries_task", "task_id", "state"),  # scheduler: what a task still waits for
        Index("ix_deliveries_mass_job", "mass_job_id", "id"),  # the recipients of one mass call
    )

    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    broadcast_id: Mapped[int | None] = mapped_column(ForeignKey("broadcasts.id"))
    resident_id: Mapped[int] = mapped_column(ForeignKey("residents.id"))
    address_id: Mapped[int | None] = mapped_column(ForeignKey("resident_addresses.id"))
    channel: Mapped[str] = mapped_column(String(40))
    route: Mapped[DeliveryRoute] = mapped_column(one_of(DeliveryRoute), default=DeliveryRoute.OUTBOX)
    state: Mapped[DeliveryState] = mapped_column(one_of(DeliveryState))
    rank: Mapped[int] = mapped_column(default=0)  # lower goes first: chat 0, warnings 10
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]  # due when passed; while SENDING: the end of the sender's lease
    code: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(200))
    waits: Mapped[bool] = mapped_column(default=False)  # while QUEUED: for the resident's next message
    unknown: Mapped[bool] = mapped_column(default=False)  # an answer was lost: the platform may have it all the same
    from_character: Mapped[int] = mapped_column(default=0)  # the rest of a long text begins there
    mass_job_id: Mapped[int | None] = mapped_column(ForeignKey("mass_jobs.id"))
    platform_id: Mapped[str | None] = mapped_column(String(100))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("wecom_tasks.id"))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
