"""Warnings that an officer sends to his friends in WeCom himself."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.models.base import Base, Row, one_of
from bot.store.models.stations import Officer


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
    state: Mapped[TaskState] = mapped_column(one_of(TaskState))
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
