"""The console's main pages, in the order of its menu, with who sees them."""

from dataclasses import dataclass

from bot.security.permissions import Permission, may
from bot.store.models import Role


@dataclass(frozen=True)
class Tab:
    """One entry of the menu; `icon` is a name in templates/icons.html."""

    path: str
    label: str
    icon: str
    needs: tuple[Permission, ...]
    friends: bool = False  # only where officers have friends in WeCom


TABS = (
    Tab("/console/tickets", "工单", "tickets", (Permission.ANSWER,)),
    Tab("/console/broadcasts", "提醒", "broadcasts", (Permission.WARN, Permission.APPROVE)),
    Tab("/console/residents", "居民", "residents", (Permission.RESIDENTS,)),
    Tab("/console/learning", "学习", "learning", (Permission.LEARN,)),
    Tab("/console/review", "查阅", "review", (Permission.REVIEW,)),
    Tab("/console/figures", "概况", "figures", (Permission.FIGURES,)),
    Tab("/console/audit", "审计", "audit", (Permission.REVIEW,)),
    Tab("/console/officers", "人员", "officers", (Permission.MANAGE,)),
    Tab("/console/knowledge", "知识", "knowledge", (Permission.ANSWER, Permission.MANAGE)),
    Tab("/console/communities", "社区", "communities", (Permission.ANSWER, Permission.MANAGE)),
    Tab("/console/contacts", "好友", "contacts", (Permission.ANSWER, Permission.MANAGE), friends=True),
    Tab("/console/channels", "渠道", "channels", (Permission.CHANNELS,)),
    Tab("/console/canned", "常用语", "canned", (Permission.ANSWER,)),
    Tab("/console/me", "我的", "me", (Permission.SELF,)),
)


def tabs_for(role: Role, *, friends: bool = False) -> tuple[Tab, ...]:
    """The menu of a role; `friends`: the station's WeCom has 客户联系."""
    return tuple(
        tab for tab in TABS if (friends or not tab.friends) and any(may(role, permission) for permission in tab.needs)
    )


def first_page(role: Role) -> str:
    """Where somebody of this role begins: the first page of his menu."""
    return tabs_for(role)[0].path
