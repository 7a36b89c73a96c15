"""What the bot learns: the station's own versions of entries, and sentences that are settled."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row, one_of
from bot.store.models.stations import Officer
from bot.store.types import BigId, EncryptedJson


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
    state: Mapped[VersionState] = mapped_column(one_of(VersionState))
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
