"""What a person handles: tickets with their notes and referrals, and the replies officers use often."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row, one_of
from bot.store.models.conversations import Conversation
from bot.store.models.residents import Resident
from bot.store.models.stations import Community, Officer
from bot.store.types import EncryptedText


class Priority(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"


PRIORITY_ORDER = (Priority.URGENT, Priority.HIGH, Priority.NORMAL)


class TicketState(StrEnum):
    OPEN = "open"
    ASSIGNED = "assigned"
    WAITING = "waiting"  # for the resident or a department
    CLOSED = "closed"


TICKET_ARROWS: dict[TicketState, frozenset[TicketState]] = {
    TicketState.OPEN: frozenset({TicketState.ASSIGNED, TicketState.CLOSED}),
    TicketState.ASSIGNED: frozenset({TicketState.OPEN, TicketState.WAITING, TicketState.CLOSED}),
    TicketState.WAITING: frozenset({TicketState.ASSIGNED, TicketState.OPEN, TicketState.CLOSED}),
    TicketState.CLOSED: frozenset(),  # a new matter is a new ticket
}


class Outcome(StrEnum):
    ANSWERED = "answered"
    RESOLVED = "resolved"
    REFERRED = "referred"
    FRAUD_STOPPED = "fraud_stopped"
    REPORTED = "reported"  # became a case at the station
    NO_REPLY = "no_reply"
    NOTHING = "nothing"  # sent by mistake
    WITHDRAWN = "withdrawn"  # by the resident himself, before an officer took it


_CALLING = text("calling_since IS NOT NULL")


class Ticket(Row, Base):
    """One matter that a person handles. `priority_rank` is the order of `priority`, for the queue's index.

    `calling_since`: the resident of a ticket that somebody holds called for help, and nobody has reacted to that yet.
    """

    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_queue", "station_id", "state", "priority_rank", "opened_at"),  # the officers' queue
        Index(  # the red banner: calls on tickets somebody holds
            "ix_tickets_calling", "station_id", "calling_since", sqlite_where=_CALLING, postgresql_where=_CALLING
        ),
        Index("ix_tickets_conversation", "station_id", "conversation_id", "id"),  # review: tickets of a conversation
        Index("ix_tickets_resident", "station_id", "resident_id", "id"),  # the open ticket of a resident
        UniqueConstraint("station_id", "number"),
    )

    number: Mapped[str] = mapped_column(String(20))  # 20261122-0007, told to the resident
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    resident_id: Mapped[int] = mapped_column(ForeignKey("residents.id"))
    community_id: Mapped[int | None] = mapped_column(ForeignKey("communities.id"))
    priority: Mapped[Priority] = mapped_column(one_of(Priority))
    priority_rank: Mapped[int]
    state: Mapped[TicketState] = mapped_column(one_of(TicketState))
    topic: Mapped[str | None] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(EncryptedText)  # the first words of the resident
    first_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    outcome: Mapped[Outcome | None] = mapped_column(one_of(Outcome))
    money_saved_yuan: Mapped[int | None]
    opened_at: Mapped[datetime]
    assigned_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]
    calling_since: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    conversation: Mapped[Conversation] = relationship(lazy="raise")
    resident: Mapped[Resident] = relationship(lazy="raise")
    community: Mapped[Community | None] = relationship(lazy="raise")
    assignee: Mapped[Officer | None] = relationship(lazy="raise")


class Note(Row, Base):
    """An internal note on a ticket; residents never see it."""

    __tablename__ = "notes"
    __table_args__ = (Index("ix_notes_ticket", "station_id", "ticket_id"),)

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    body: Mapped[str] = mapped_column(EncryptedText)
    created_at: Mapped[datetime]

    officer: Mapped[Officer] = relationship(lazy="raise")


class CannedReply(Row, Base):
    """A reply officers use often; `topic` puts it first where it fits."""

    __tablename__ = "canned_replies"

    title: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)
    topic: Mapped[str | None] = mapped_column(String(60))


class ReferralState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"


REFERRAL_ARROWS: dict[ReferralState, frozenset[ReferralState]] = {
    ReferralState.OPEN: frozenset({ReferralState.ANSWERED, ReferralState.CLOSED}),
    ReferralState.ANSWERED: frozenset({ReferralState.CLOSED}),
    ReferralState.CLOSED: frozenset(),
}


class Referral(Row, Base):
    """A matter that is not for the police, passed on to the department that handles it."""

    __tablename__ = "referrals"
    __table_args__ = (Index("ix_referrals_open", "station_id", "state", "created_at"),)

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
    department: Mapped[str] = mapped_column(String(60))
    state: Mapped[ReferralState] = mapped_column(one_of(ReferralState))
    due_at: Mapped[datetime]
    result: Mapped[str | None] = mapped_column(EncryptedText)
    created_at: Mapped[datetime]
