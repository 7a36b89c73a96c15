"""How it stands with each channel: what is parked, its token, codes, signs of life and how far it was read."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base, Row
from bot.store.types import BigId, EncryptedText


class ParkedChannel(Base):
    """A channel through which nothing goes until `until`; with `alarm` the station is told. `heals`: by then it is over
    by itself, such as a day's quota; otherwise somebody has to mend something."""

    __tablename__ = "parked_channels"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    until: Mapped[datetime]
    code: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(200))
    alarm: Mapped[bool]
    heals: Mapped[bool]
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
    """The last signs of life of a channel's callback, for the self-check, written at most once a minute each; when the
    tags of its followers were last brought into order, and when its followers were last compared with the platform's
    list (`listed_at`) and will be again (`list_at`; None: as soon as can be). `list_code`: why that was not possible.
    """

    __tablename__ = "channel_signs"

    station_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    believed_at: Mapped[datetime | None]  # a callback with a right signature
    refused_at: Mapped[datetime | None]
    refused_why: Mapped[str] = mapped_column(String(40), default="")
    tagged_at: Mapped[datetime | None]
    listed_at: Mapped[datetime | None]
    list_at: Mapped[datetime | None]
    list_code: Mapped[str] = mapped_column(String(20), default="")


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
