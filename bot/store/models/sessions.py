"""Log-ins: those that hold, those that failed, and states of WeCom's that were used."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models.base import Base, Row
from bot.store.types import BigId


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


class UsedLogin(Base):
    """The state of a log-in by WeCom that has come back, as SHA-256: none comes back twice."""

    __tablename__ = "used_logins"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(BigId)
    used_at: Mapped[datetime]
