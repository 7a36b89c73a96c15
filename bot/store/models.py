"""The station's tables and the states their rows go through.

Every table carries `station_id`, first in its keys and indexes. Each index says which page needs it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Enum, ForeignKey, Index, LargeBinary, MetaData, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from bot.message import MessageKind
from bot.store.types import BigId, EncryptedBytes, EncryptedJson, EncryptedText, Json, UtcDateTime


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcDateTime, dict[str, Any]: Json, list[Any]: Json}


def _state(kind: type[StrEnum]) -> Enum:
    """States are stored as their words, so that a person can read the table and a new word needs no migration."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda kind: [member.value for member in kind])


class Row:
    """What every table has: a number and the station it belongs to."""

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    station_id: Mapped[int] = mapped_column(BigId)


# --- the station and its people -------------------------------------------------------------------------------------


class Role(StrEnum):
    OFFICER = "officer"
    AUXILIARY = "auxiliary"
    CHIEF = "chief"
    REVIEWER = "reviewer"
    ADMIN = "admin"


class Station(Base):
    __tablename__ = "stations"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    timezone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)  # address, phone, hours, local.* of the knowledge
    created_at: Mapped[datetime]


class Community(Row, Base):
    """A 社区 or village, with its responsible officers; `code` is the scene in its QR code."""

    __tablename__ = "communities"
    __table_args__ = (UniqueConstraint("station_id", "code"), UniqueConstraint("station_id", "name"))

    name: Mapped[str] = mapped_column(String(60))
    code: Mapped[str] = mapped_column(String(40))


class Officer(Row, Base):
    """A person of the station who can log in; `duty` is a week in station time: {"mon": ["08:30-17:30"], …}."""

    __tablename__ = "officers"
    __table_args__ = (UniqueConstraint("station_id", "username"), UniqueConstraint("station_id", "wecom_userid"))

    username: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(40))
    badge: Mapped[str] = mapped_column(String(20), default="")
    phone: Mapped[str] = mapped_column(String(20), default="")
    role: Mapped[Role] = mapped_column(_state(Role))
    duty: Mapped[dict[str, Any]] = mapped_column(default=dict)
    password_hash: Mapped[str] = mapped_column(String(200), default="")
    password_given: Mapped[bool] = mapped_column(default=False)  # somebody else chose it: to be changed at the log-in
    totp_secret: Mapped[str | None] = mapped_column(EncryptedText)
    totp_step: Mapped[int | None] = mapped_column(BigId)  # the newest 30 seconds whose code was used; none older counts
    wecom_userid: Mapped[str | None] = mapped_column(String(64))  # in small letters: WeCom does not tell them apart
    wecom_problem: Mapped[str] = mapped_column(String(100), default="")  # why WeCom did not take him as a recipient
    friends_due_at: Mapped[datetime | None]  # when his friends in WeCom are compared with our rows; None: at once
    friends_compared_at: Mapped[datetime | None]  # when they last were
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class CommunityOfficer(Base):
    """Who answers for which community; the one with `main` is on the residents' card."""

    __tablename__ = "community_officers"

    community_id: Mapped[int] = mapped_column(ForeignKey("communities.id"), primary_key=True)
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"), primary_key=True)
    station_id: Mapped[int] = mapped_column(BigId)
    main: Mapped[bool] = mapped_column(default=True)


class Resident(Row, Base):
    """A person who talks to us. What he did not tell stays None; `erased_at` means that the rest was taken away.

    Who turned out to be somebody we know leaves an empty row that says who (`merged_into_id`).
    """

    __tablename__ = "residents"
    __table_args__ = (
        Index("ix_residents_audience", "station_id", "community_id", "birth_year"),  # a warning's audience
        Index("ix_residents_name_index", "station_id", "name_index"),  # console: find a resident by name
        Index("ix_residents_phone_index", "station_id", "phone_index"),  # … by phone
    )

    name: Mapped[str | None] = mapped_column(EncryptedText)
    name_index: Mapped[int | None] = mapped_column(BigId)
    phone: Mapped[str | None] = mapped_column(EncryptedText)
    phone_index: Mapped[int | None] = mapped_column(BigId)
    home: Mapped[str | None] = mapped_column(EncryptedText)  # house and flat
    gender: Mapped[str | None] = mapped_column(String(6))  # "female" | "male"
    birth_year: Mapped[int | None]
    occupation: Mapped[str | None] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(8), default="zh")
    community_id: Mapped[int | None] = mapped_column(ForeignKey("communities.id"))
    large_type: Mapped[bool] = mapped_column(default=False)
    wants_warnings: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    erased_at: Mapped[datetime | None]
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("residents.id"))

    community: Mapped[Community | None] = relationship(lazy="raise")


class ResidentAddress(Row, Base):
    """A resident on a channel: openid, or web visitor. The columns from `window_until` on are the ledger of what may be
    sent: see bot.actions.ledger.

    `union_id` is the platform's number for the person behind several addresses; `looked_up_at` is when the platform was
    asked who this is (None: still to be asked, where the platform can be).
    """

    __tablename__ = "resident_addresses"
    __table_args__ = (
        UniqueConstraint("station_id", "channel", "address"),
        Index("ix_resident_addresses_resident", "station_id", "resident_id"),
        Index("ix_resident_addresses_union", "station_id", "union_id"),  # the same person on another channel
        Index("ix_resident_addresses_unknown", "station_id", "channel", "looked_up_at"),  # scheduler: user details
    )

    resident_id: Mapped[int] = mapped_column(ForeignKey("residents.id"))
    channel: Mapped[str] = mapped_column(String(40))
    address: Mapped[str] = mapped_column(String(80))
    following: Mapped[bool] = mapped_column(default=True)
    left_at: Mapped[datetime | None]  # when he stopped following: his data are taken away some time after
    consented_at: Mapped[datetime | None]
    last_inbound_at: Mapped[datetime | None]
    window_until: Mapped[datetime | None]
    window_left: Mapped[int] = mapped_column(default=0)
    refused_until: Mapped[datetime | None]  # the platform delivers nothing to him; after this it is asked again …
    refused_why: Mapped[str | None] = mapped_column(String(200))  # … and this is why
    notified_at: Mapped[datetime | None]  # told that a message waits; None again with his next message
    mass_month: Mapped[str | None] = mapped_column(String(7))  # the month in China, "2026-11", in which he got …
    mass_count: Mapped[int] = mapped_column(default=0)  # … so many mass messages
    union_id: Mapped[str | None] = mapped_column(String(64))
    looked_up_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    resident: Mapped[Resident] = relationship(lazy="raise")


class NoticeConsent(Base):
    """A resident accepted notices of a subscription template; the row goes when he or the platform says no."""

    __tablename__ = "notice_consents"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    address_id: Mapped[int] = mapped_column(ForeignKey("resident_addresses.id"), primary_key=True)
    template_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    accepted_at: Mapped[datetime]


class LinkCode(Row, Base):
    """A code that a resident was given on one address, to type it on another one of his; kept as a blind index."""

    __tablename__ = "link_codes"
    __table_args__ = (
        Index("ix_link_codes_code", "station_id", "code"),
        Index("ix_link_codes_address", "station_id", "address_id", "created_at"),  # how many he was given
    )

    address_id: Mapped[int] = mapped_column(ForeignKey("resident_addresses.id"))
    code: Mapped[int] = mapped_column(BigId)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime]  # used, replaced, or too old from then on


class LinkTry(Row, Base):
    """A wrong code somebody typed, for throttling him who guesses."""

    __tablename__ = "link_tries"
    __table_args__ = (
        Index("ix_link_tries_address", "station_id", "address_id", "at"),
        Index("ix_link_tries_at", "station_id", "at"),
    )

    address_id: Mapped[int] = mapped_column(ForeignKey("resident_addresses.id"))
    at: Mapped[datetime]


# --- what is said ---------------------------------------------------------------------------------------------------


class Conversation(Row, Base):
    """All that passes between one resident and the station on one address.

    `owner_id` and `served_by` say who speaks: that officer, or somebody in the platform's own client (his user id
    there, "" while the resident waits in its pool); both None: the bot. `dialogue` is the state of a multi-step
    exchange.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("station_id", "address_id"),
        Index("ix_conversations_latest", "station_id", "last_message_at"),  # review: newest conversations
        Index("ix_conversations_resident", "station_id", "resident_id"),  # all that one person says anywhere
    )

    address_id: Mapped[int] = mapped_column(ForeignKey("resident_addresses.id"))
    resident_id: Mapped[int] = mapped_column(ForeignKey("residents.id"))
    channel: Mapped[str] = mapped_column(String(40))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    served_by: Mapped[str | None] = mapped_column(String(64))
    dialogue: Mapped[dict[str, Any] | None] = mapped_column(EncryptedJson)
    last_topic: Mapped[str | None] = mapped_column(String(60))
    last_message_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    resident: Mapped[Resident] = relationship(lazy="raise")
    address: Mapped[ResidentAddress] = relationship(lazy="raise")
    owner: Mapped[Officer | None] = relationship(lazy="raise")

    @property
    def speaker(self) -> tuple[int | None, str | None]:
        """Who speaks; (None, None) is the bot."""
        return self.owner_id, self.served_by


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


class Author(StrEnum):
    RESIDENT = "resident"
    BOT = "bot"
    OFFICER = "officer"
    STATION = "station"  # a broadcast


class MessageState(StrEnum):
    RECEIVED = "received"  # stored, not yet handled: the promise to keep
    HANDLED = "handled"
    FAILED = "failed"  # given up after several tries; an officer has a ticket for it


_TO_FETCH = text("fetch_at IS NOT NULL")


class StoredMessage(Row, Base):
    """One message of a conversation, in or out. For an inbound one the bot's decision stands beside it."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("station_id", "channel", "address", "platform_id"),  # the same message three times is one
        Index("ix_messages_conversation", "station_id", "conversation_id", "id"),  # a conversation, read in order
        Index("ix_messages_unhandled", "state", "retry_at"),  # scheduler: stored but not handled
        Index(  # scheduler: pictures still with the platform
            "ix_messages_unfetched", "station_id", "fetch_at", sqlite_where=_TO_FETCH, postgresql_where=_TO_FETCH
        ),
        Index("ix_messages_unindexed", "station_id", "indexed", "id"),  # scheduler: words still to be indexed
        Index("ix_messages_text", "station_id", "text_index"),  # review: messages with the words asked for
        Index("ix_messages_created", "station_id", "created_at"),  # review by date; retention
        Index("ix_messages_reply", "in_reply_to"),  # the answer given to a repeated message
    )

    conversation_id: Mapped[int | None] = mapped_column(ForeignKey("conversations.id"))
    direction: Mapped[Direction] = mapped_column(_state(Direction))
    author: Mapped[Author] = mapped_column(_state(Author))
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    channel: Mapped[str] = mapped_column(String(40))
    address: Mapped[str] = mapped_column(String(80))
    platform_id: Mapped[str | None] = mapped_column(String(100))
    kind: Mapped[MessageKind] = mapped_column(_state(MessageKind))
    body: Mapped[str] = mapped_column(EncryptedText)
    media_id: Mapped[int | None] = mapped_column(ForeignKey("media.id"))
    fetches: Mapped[int] = mapped_column(default=0)  # how often the platform was asked for its picture in vain
    fetch_at: Mapped[datetime | None]  # when it is asked (again); None: there is nothing to fetch
    details: Mapped[dict[str, Any] | None] = mapped_column(EncryptedJson)  # event, location, link; choices of a reply
    in_reply_to: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    broadcast_id: Mapped[int | None] = mapped_column(ForeignKey("broadcasts.id"))
    sent_at: Mapped[datetime]
    created_at: Mapped[datetime]
    state: Mapped[MessageState] = mapped_column(_state(MessageState))
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]
    grant_count: Mapped[int | None]  # what it lets us send, for a message that is handled after a restart:
    grant_seconds: Mapped[int | None]  # so many messages within so many seconds
    decision: Mapped[str | None] = mapped_column(String(20))
    topic: Mapped[str | None] = mapped_column(String(60))
    candidates: Mapped[list[Any] | None]  # [[topic, score], …], best first
    words: Mapped[list[Any] | None] = mapped_column(EncryptedJson)  # the words that decided, as the resident wrote them
    helpful: Mapped[bool | None]
    right_topic: Mapped[str | None] = mapped_column(String(60))  # what it was about, as an officer says
    indexed: Mapped[bool] = mapped_column(default=False)  # its words are in search_words …
    text_index: Mapped[int | None] = mapped_column(BigId)  # … under this blind index of the whole text
    forgotten: Mapped[bool] = mapped_column(default=False)  # retention took its words
    recalled: Mapped[bool] = mapped_column(default=False)  # taken back by who sent it: pages hide the words


class SearchWord(Base):
    """A word of a text as a blind index: who has the table but not the key cannot read it.

    By text and not by message, because the bot says the same to many: `text` is `StoredMessage.text_index`.
    """

    __tablename__ = "search_words"
    __table_args__ = (Index("ix_search_words_text", "station_id", "text"),)  # is it indexed already; retention

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    word: Mapped[int] = mapped_column(BigId, primary_key=True)
    text: Mapped[int] = mapped_column(BigId, primary_key=True)


class Media(Row, Base):
    """A picture somebody sent, encrypted, at most 2 MB."""

    __tablename__ = "media"

    content_type: Mapped[str] = mapped_column(String(40))
    data: Mapped[bytes] = mapped_column(EncryptedBytes)
    conversation_id: Mapped[int | None] = mapped_column(ForeignKey("conversations.id"))
    created_at: Mapped[datetime]


# --- what a person handles ------------------------------------------------------------------------------------------


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
    priority: Mapped[Priority] = mapped_column(_state(Priority))
    priority_rank: Mapped[int]
    state: Mapped[TicketState] = mapped_column(_state(TicketState))
    topic: Mapped[str | None] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(EncryptedText)  # the first words of the resident
    first_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    outcome: Mapped[Outcome | None] = mapped_column(_state(Outcome))
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
    state: Mapped[ReferralState] = mapped_column(_state(ReferralState))
    due_at: Mapped[datetime]
    result: Mapped[str | None] = mapped_column(EncryptedText)
    created_at: Mapped[datetime]


# --- warnings and what leaves the house -----------------------------------------------------------------------------


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
    template: Mapped[str | None] = mapped_column(String(40))
    audience: Mapped[dict[str, Any]]
    repeat: Mapped[Repeat] = mapped_column(_state(Repeat), default=Repeat.ONCE)
    send_at: Mapped[datetime | None]  # None: as soon as it is approved
    expires_at: Mapped[datetime | None]  # after this nothing more is sent
    state: Mapped[BroadcastState] = mapped_column(_state(BroadcastState))
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

    `settled_to` is the last delivery that was written down as submitted: that goes in parts after the call.
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
    state: Mapped[MassJobState] = mapped_column(_state(MassJobState))
    size: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]  # due when passed; while SENDING: the end of the sender's lease
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
    route: Mapped[DeliveryRoute] = mapped_column(_state(DeliveryRoute), default=DeliveryRoute.OUTBOX)
    state: Mapped[DeliveryState] = mapped_column(_state(DeliveryState))
    rank: Mapped[int] = mapped_column(default=0)  # lower goes first: chat 0, warnings 10
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]  # due when passed; while SENDING: the end of the sender's lease
    code: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(200))
    waits: Mapped[bool] = mapped_column(default=False)  # while QUEUED: for the resident's next message
    unknown: Mapped[bool] = mapped_column(default=False)  # while FAILED: the platform may have it all the same
    from_character: Mapped[int] = mapped_column(default=0)  # the rest of a long text begins there
    mass_job_id: Mapped[int | None] = mapped_column(ForeignKey("mass_jobs.id"))
    platform_id: Mapped[str | None] = mapped_column(String(100))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("wecom_tasks.id"))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ParkedChannel(Base):
    """A channel through which nothing goes until `until`; with `alarm` because somebody has to mend something."""

    __tablename__ = "parked_channels"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    until: Mapped[datetime]
    code: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(200))
    alarm: Mapped[bool]
    since: Mapped[datetime]


class PlatformToken(Base):
    """A platform's access token, one row for all processes. `fetcher` is the one that asks the platform just now, until
    `lease_until` at the most; `renewed_at` is when a token the platform had refused was last replaced."""

    __tablename__ = "platform_tokens"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    token: Mapped[str | None] = mapped_column(EncryptedText)
    expires_at: Mapped[datetime | None]
    renewed_at: Mapped[datetime | None]
    fetcher: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]


class SceneCode(Row, Base):
    """What the QR code on a community's card says: the platform makes it once and keeps it for ever."""

    __tablename__ = "scene_codes"
    __table_args__ = (UniqueConstraint("station_id", "channel", "community_id"),)

    channel: Mapped[str] = mapped_column(String(40))
    community_id: Mapped[int] = mapped_column(ForeignKey("communities.id"))
    address: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]


class ChannelSign(Base):
    """The last signs of life of a channel's callback, for the self-check, written at most once a minute each; and when
    the tags of its followers were last brought into order."""

    __tablename__ = "channel_signs"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    believed_at: Mapped[datetime | None]  # a callback with a right signature
    refused_at: Mapped[datetime | None]
    refused_why: Mapped[str] = mapped_column(String(40), default="")
    tagged_at: Mapped[datetime | None]


class PulledStream(Base):
    """How far the messages of one account of a platform have been read, where they are fetched and not pushed.

    One reader at a time among all processes: `reader` until `leased_until`; `again` asks it to look once more.
    """

    __tablename__ = "pulled_streams"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    cursor: Mapped[str] = mapped_column(String(128), default="")
    series: Mapped[str] = mapped_column(String(8))  # begins our numbers of messages, which no other database may repeat
    answers_from: Mapped[datetime]  # what was written before is stored and not answered
    reader: Mapped[str | None] = mapped_column(String(32))
    leased_until: Mapped[datetime | None]
    again: Mapped[bool] = mapped_column(default=False)


# --- WeCom ----------------------------------------------------------------------------------------------------------


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
    state: Mapped[NoticeState] = mapped_column(_state(NoticeState))
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]  # due when passed; while SENDING: the end of the sender's lease
    code: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ContactWay(Row, Base):
    """An officer's QR code for one community; `code` is the state WeCom gives back when somebody comes by it.

    WeCom does not list these codes to anybody, so `config_id` is kept.
    """

    __tablename__ = "contact_ways"
    __table_args__ = (UniqueConstraint("station_id", "officer_id", "community_id"), UniqueConstraint("code"))

    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    community_id: Mapped[int] = mapped_column(ForeignKey("communities.id"))
    code: Mapped[str] = mapped_column(String(30))
    config_id: Mapped[str] = mapped_column(String(100), default="")  # "": WeCom has not made it yet
    qr_code: Mapped[str] = mapped_column(String(300), default="")  # the address of the picture
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]

    officer: Mapped[Officer] = relationship(lazy="raise")
    community: Mapped[Community] = relationship(lazy="raise")


class ContactState(StrEnum):
    HALF = "half"  # the resident added the officer, who has not confirmed yet
    FRIEND = "friend"
    LEFT = "left"  # the resident removed the officer
    REMOVED = "removed"  # the officer removed the resident, or another officer took over


class WelcomeState(StrEnum):
    NONE = "none"  # no code came with the event
    DUE = "due"
    SENT = "sent"
    OVER = "over"  # too late, or somebody else's welcome was first


class WeComContact(Row, Base):
    """A resident as an officer's friend in WeCom. `event_at` is the newest event about the two that was taken in."""

    __tablename__ = "wecom_contacts"
    __table_args__ = (
        UniqueConstraint("station_id", "userid", "external_userid"),
        Index("ix_wecom_contacts_address", "address_id", "state"),  # who may write to a resident
        Index("ix_wecom_contacts_left", "station_id", "state", "left_at"),  # console: people who left
        Index("ix_wecom_contacts_welcome", "welcome_state", "welcome_retry_at"),  # scheduler: welcomes cut short
    )

    userid: Mapped[str] = mapped_column(String(64))  # in small letters
    external_userid: Mapped[str] = mapped_column(String(80))
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))  # None: a member who is no officer
    address_id: Mapped[int] = mapped_column(ForeignKey("resident_addresses.id"))
    way_id: Mapped[int | None] = mapped_column(ForeignKey("contact_ways.id"))
    state: Mapped[ContactState] = mapped_column(_state(ContactState))
    change: Mapped[str] = mapped_column(String(40))  # the newest event's own name
    event_at: Mapped[datetime]
    added_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    welcome_code: Mapped[str | None] = mapped_column(EncryptedText)
    welcome_state: Mapped[WelcomeState] = mapped_column(_state(WelcomeState), default=WelcomeState.NONE)
    welcome_until: Mapped[datetime | None]
    welcome_retry_at: Mapped[datetime | None]
    followed_up_at: Mapped[datetime | None]
    followed_up_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    follow_up: Mapped[str | None] = mapped_column(EncryptedText)  # what came of it

    officer: Mapped[Officer | None] = relationship(lazy="raise", foreign_keys="WeComContact.officer_id")
    where: Mapped[ResidentAddress] = relationship(lazy="raise")  # … and so the resident, whoever he turns out to be


class TaskState(StrEnum):
    NEW = "new"
    SUBMITTING = "submitting"
    SEEKING = "seeking"  # the answer to handing it in was lost: WeCom's own list is asked whether it has it
    WAITING = "waiting"  # for the officer's tap in WeCom
    DONE = "done"  # each recipient's end is known
    CANCELLED = "cancelled"
    FAILED = "failed"  # WeCom did not take it, or nobody knows whether it did


TASK_ARROWS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.NEW: frozenset({TaskState.SUBMITTING, TaskState.CANCELLED}),
    TaskState.SUBMITTING: frozenset({TaskState.NEW, TaskState.SEEKING, TaskState.WAITING, TaskState.FAILED}),
    TaskState.SEEKING: frozenset({TaskState.NEW, TaskState.WAITING, TaskState.FAILED}),
    TaskState.WAITING: frozenset({TaskState.DONE, TaskState.CANCELLED}),
    TaskState.DONE: frozenset(),
    TaskState.CANCELLED: frozenset(),
    TaskState.FAILED: frozenset(),
}


class WeComTask(Row, Base):
    """A warning for residents who are one officer's friends: WeCom sends it when he taps, and tells when it is asked.

    `next_at` is when the next step is due: handing it in, seeking it, asking how far it is; while SUBMITTING the end of
    the lease.
    """

    __tablename__ = "wecom_tasks"
    __table_args__ = (
        Index("ix_wecom_tasks_due", "station_id", "state", "next_at"),  # scheduler: what is due
        Index("ix_wecom_tasks_broadcast", "broadcast_id"),  # warning page
    )

    broadcast_id: Mapped[int] = mapped_column(ForeignKey("broadcasts.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    userid: Mapped[str] = mapped_column(String(64))  # the sender, as he was called when it was made
    msgid: Mapped[str] = mapped_column(String(100), default="")
    state: Mapped[TaskState] = mapped_column(_state(TaskState))
    attempts: Mapped[int] = mapped_column(default=0)  # of handing it in
    tried_at: Mapped[datetime | None]  # when it was handed in for the first time
    polls: Mapped[int] = mapped_column(default=0)  # while SEEKING: how often it was not in WeCom's list
    next_at: Mapped[datetime | None]
    reminders: Mapped[list[Any]] = mapped_column(default=list)  # when the officer was reminded, ISO 8601
    code: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    officer: Mapped[Officer] = relationship(lazy="raise")


class UsedLogin(Base):
    """The state of a log-in by WeCom that has come back, as SHA-256: none comes back twice."""

    __tablename__ = "used_logins"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(BigId)
    used_at: Mapped[datetime]


# --- what the bot learns --------------------------------------------------------------------------------------------


class VersionState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"  # measured; waits for somebody else to approve it
    LIVE = "live"
    RETIRED = "retired"  # was live once; can be again
    REFUSED = "refused"


VERSION_ARROWS: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DRAFT: frozenset({VersionState.SUBMITTED, VersionState.REFUSED}),
    VersionState.SUBMITTED: frozenset({VersionState.LIVE, VersionState.DRAFT, VersionState.REFUSED}),
    VersionState.LIVE: frozenset({VersionState.RETIRED}),
    VersionState.RETIRED: frozenset({VersionState.LIVE}),
    VersionState.REFUSED: frozenset(),
}
_LIVE = text("state = 'live'")
_IN_WORK = text("state IN ('draft', 'submitted')")


class EntryVersion(Row, Base):
    """What the station itself says on one topic: more phrases, or fields that lie over the shipped entry's.

    At most one version of a topic is live, and at most one is being worked on. `content` is a mapping of entry fields;
    `measured` holds the figures before and after that the approver sees. Both are encrypted, for phrases and measured
    sentences are residents' words.
    """

    __tablename__ = "entry_versions"
    __table_args__ = (
        UniqueConstraint("station_id", "topic", "version"),
        Index("ix_entry_versions_state", "station_id", "state", "id"),  # every process: what is live; console: the list
        Index("uq_entry_versions_live", "station_id", "topic", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index(
            "uq_entry_versions_in_work",
            "station_id",
            "topic",
            unique=True,
            sqlite_where=_IN_WORK,
            postgresql_where=_IN_WORK,
        ),
    )

    topic: Mapped[str] = mapped_column(String(60))
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(EncryptedJson)
    measured: Mapped[dict[str, Any] | None] = mapped_column(EncryptedJson)
    state: Mapped[VersionState] = mapped_column(_state(VersionState))
    author_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))  # None: imported on the command line
    approver_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    why: Mapped[str] = mapped_column(String(200), default="")  # it was refused
    created_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]

    author: Mapped[Officer | None] = relationship(lazy="raise", foreign_keys="EntryVersion.author_id")
    approver: Mapped[Officer | None] = relationship(lazy="raise", foreign_keys="EntryVersion.approver_id")


class SettledSentence(Row, Base):
    """A sentence that need not be shown as not understood any more, as a blind index of its plain form.

    It waits in a version, or nothing is to be learnt from it (`version_id` None).
    """

    __tablename__ = "settled_sentences"
    __table_args__ = (
        UniqueConstraint("station_id", "sentence"),
        Index("ix_settled_sentences_version", "station_id", "version_id"),  # given back when a version is refused
    )

    sentence: Mapped[int] = mapped_column(BigId)
    version_id: Mapped[int | None] = mapped_column(ForeignKey("entry_versions.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    created_at: Mapped[datetime]


# --- who may do what, and who did -----------------------------------------------------------------------------------


class ConsoleSession(Base):
    """A log-in. `id` is the SHA-256 of the cookie, so that the table gives nobody a way in."""

    __tablename__ = "console_sessions"
    __table_args__ = (Index("ix_console_sessions_officer", "station_id", "officer_id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(BigId)
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    csrf: Mapped[str] = mapped_column(String(64))
    second_factor_done: Mapped[bool] = mapped_column(default=True)
    ip: Mapped[str] = mapped_column(String(45))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class LoginFailure(Row, Base):
    """A failed log-in, for throttling by name and by address."""

    __tablename__ = "login_failures"
    __table_args__ = (
        Index("ix_login_failures_username", "station_id", "username", "at"),
        Index("ix_login_failures_ip", "ip", "at"),
    )

    username: Mapped[str] = mapped_column(String(40))
    ip: Mapped[str] = mapped_column(String(45))
    at: Mapped[datetime]


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
