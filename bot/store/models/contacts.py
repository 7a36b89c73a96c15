"""Residents as officers' friends in WeCom, and the codes by which they come."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row, one_of
from bot.store.models.residents import ResidentAddress
from bot.store.models.stations import Community, Officer
from bot.store.types import EncryptedText


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
    state: Mapped[ContactState] = mapped_column(one_of(ContactState))
    change: Mapped[str] = mapped_column(String(40))  # the newest event's own name
    event_at: Mapped[datetime]
    added_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    welcome_code: Mapped[str | None] = mapped_column(EncryptedText)
    welcome_state: Mapped[WelcomeState] = mapped_column(one_of(WelcomeState), default=WelcomeState.NONE)
    welcome_until: Mapped[datetime | None]
    welcome_retry_at: Mapped[datetime | None]
    followed_up_at: Mapped[datetime | None]
    followed_up_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    follow_up: Mapped[str | None] = mapped_column(EncryptedText)  # what came of it

    officer: Mapped[Officer | None] = relationship(lazy="raise", foreign_keys="WeComContact.officer_id")
    where: Mapped[ResidentAddress] = relationship(lazy="raise")  # … and so the resident, whoever he turns out to be
