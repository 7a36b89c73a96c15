"""What each role may do. No permission declared means no."""

from collections.abc import Mapping
from enum import StrEnum

from bot.store.models import Role


class Permission(StrEnum):
    ANSWER = "answer"  # the queue, tickets, replies
    WARN = "warn"  # write warnings
    APPROVE = "approve"  # approve warnings and changes of the knowledge
    LEARN = "learn"  # see what was not understood, put it under topics, write entries
    REVIEW = "review"  # search and read chat logs, the audit log, exports
    RESIDENTS = "residents"  # look residents up, reveal personal data
    SEPARATE = "separate"  # part addresses that were taken for one person's
    CHANNELS = "channels"  # see whether the channels work
    FIGURES = "figures"  # the station's figures
    MANAGE = "manage"  # officers, communities, settings; writes and approves entries, without residents' sentences
    SELF = "self"  # one's own password and second factor: everybody


_EVERYBODY = frozenset({Permission.SELF})

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.OFFICER: _EVERYBODY | {Permission.ANSWER, Permission.WARN, Permission.RESIDENTS, Permission.LEARN},
    Role.AUXILIARY: _EVERYBODY | {Permission.ANSWER},
    Role.CHIEF: _EVERYBODY
    | {
        Permission.ANSWER,
        Permission.WARN,
        Permission.APPROVE,
        Permission.LEARN,
        Permission.REVIEW,
        Permission.RESIDENTS,
        Permission.SEPARATE,
        Permission.CHANNELS,
        Permission.FIGURES,
    },
    Role.REVIEWER: _EVERYBODY | {Permission.REVIEW, Permission.APPROVE, Permission.FIGURES},
    Role.ADMIN: _EVERYBODY
    | {Permission.MANAGE, Permission.CHANNELS, Permission.FIGURES},  # manages, but does not read what people say
}


def may(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS[role]
