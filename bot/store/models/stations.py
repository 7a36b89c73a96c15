"""The station, its communities and its officers."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base, Row, one_of
from bot.store.types import BigId, EncryptedText


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
    role: Mapped[Role] = mapped_column(one_of(Role))
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
