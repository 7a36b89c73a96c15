"""Residents, the addresses at which they are reached, and how two of these become one person."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row
from bot.store.models.stations import Community
from bot.store.types import BigId, EncryptedText


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

    `union_id` is the platform's number for the person behind several addresses; it joins nobody to an address that was
    parted from another (`parted_at`), for two people may share one account there. `looked_up_at` is when the platform
    was asked who this is (None: still to be asked, where the platform can be).
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
    parted_at: Mapped[datetime | None]
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
