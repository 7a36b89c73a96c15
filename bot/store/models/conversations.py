"""What is said: conversations with their messages, pictures and search words."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.message import MessageKind
from bot.store.models.base import Base, Row, one_of
from bot.store.models.residents import Resident, ResidentAddress
from bot.store.models.stations import Officer
from bot.store.types import BigId, EncryptedBytes, EncryptedJson, EncryptedText


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
    direction: Mapped[Direction] = mapped_column(one_of(Direction))
    author: Mapped[Author] = mapped_column(one_of(Author))
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    channel: Mapped[str] = mapped_column(String(40))
    address: Mapped[str] = mapped_column(String(80))
    platform_id: Mapped[str | None] = mapped_column(String(100))
    kind: Mapped[MessageKind] = mapped_column(one_of(MessageKind))
    body: Mapped[str] = mapped_column(EncryptedText)
    media_id: Mapped[int | None] = mapped_column(ForeignKey("media.id"))
    fetches: Mapped[int] = mapped_column(default=0)  # how often the platform was asked for its picture in vain
    fetch_at: Mapped[datetime | None]  # when it is asked (again); None: there is nothing to fetch
    details: Mapped[dict[str, Any] | None] = mapped_column(EncryptedJson)  # event, location, link; choices of a reply
    in_reply_to: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    broadcast_id: Mapped[int | None] = mapped_column(ForeignKey("broadcasts.id"))
    sent_at: Mapped[datetime]
    created_at: Mapped[datetime]
    state: Mapped[MessageState] = mapped_column(one_of(MessageState))
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
