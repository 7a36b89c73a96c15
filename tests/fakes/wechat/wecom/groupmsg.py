"""Mass messages to external contacts: made by the app, sent only when each officer confirms in his client."""

import calendar
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words
from tests.fakes.wechat.wecom.apps import Apps
from tests.fakes.wechat.wecom.contacts import Contacts, Friendship, check_message, page, show
from tests.fakes.wechat.wecom.groups import Groups
from tests.fakes.wechat.wecom.members import Members

UNSENT, SENT, NO_FRIEND, ENOUGH = 0, 1, 2, 3  # the status of one recipient
REMINDERS_A_DAY = 3


@dataclass
class Recipient:
    """One resident, or one group chat, with the officer who is to send to him."""

    userid: str
    external_userid: str = ""
    chat_id: str = ""
    status: int = UNSENT
    sent_at: float = 0


@dataclass
class GroupTask:
    msgid: str
    chat_type: Literal["single", "group"]
    created_at: float
    body: dict[str, Any]
    recipients: list[Recipient]
    confirmed: dict[str, float] = field(default_factory=dict)  # userid → when
    reminded: list[float] = field(default_factory=list)
    cancelled: bool = False
    creator: str = ""  # who made it in a client or in the admin's console; an app leaves none
    personal: bool = False  # a member's own, not the corporation's

    @property
    def userids(self) -> list[str]:
        return list(dict.fromkeys(one.userid for one in self.recipients))


class GroupMessages:
    def __init__(
        self,
        platform: Platform,
        apps: Apps,
        members: Members,
        contacts: Contacts,
        groups: Groups,
        media: MediaStore,
    ) -> None:
        self.platform, self.apps, self.members = platform, apps, members
        self.contacts, self.groups, self.media = contacts, groups, media
        self.tasks: dict[str, GroupTask] = {}

    def endpoints(self) -> Endpoints:
        table = {
            "add_msg_template": self._add,
            "remind_groupmsg_send": self._remind,
            "cancel_groupmsg_send": self._cancel,
            "get_groupmsg_list_v2": self._list,
            "get_groupmsg_task": self._task,
            "get_groupmsg_send_result": self._result,
        }
        return {("POST", f"externalcontact/{path}"): serve for path, serve in table.items()}

    # -- what officers do ------------------------------------------------------------------------------------------

    def confirm(self, msgid: str, userid: str) -> list[Recipient]:
        """The officer taps 发送: his part of the task goes out. LookupError: nothing waits for him."""
        task, now = self.tasks[msgid], self.platform.now()
        if task.cancelled or userid in task.confirmed or userid not in task.userids:
            raise LookupError(f"no mass message waits for {userid}")
        task.confirmed[userid] = now
        mine = [one for one in task.recipients if one.userid == userid]
        for recipient in mine:
            recipient.status = self._send(task, recipient)
            recipient.sent_at = now if recipient.status == SENT else 0
        return mine

    def _send(self, task: GroupTask, recipient: Recipient) -> int:
        now = self.platform.now()
        if recipient.chat_id:
            self.groups.show(recipient.chat_id, recipient.userid, task.body, now)
            return SENT
        friendship = self.contacts.friendships.get((recipient.userid, recipient.external_userid))
        if friendship is None or friendship.removed:
            return NO_FRIEND
        outsider, local = self.contacts.outsiders[recipient.external_userid], self.platform.clock.local()
        month = local.strftime("%Y-%m")
        limit = self.platform.rules.customer_mass_per_month
        if outsider.mass_in_month.get(month, 0) >= (limit or calendar.monthrange(local.year, local.month)[1]):
            return ENOUGH
        outsider.mass_in_month[month] = outsider.mass_in_month.get(month, 0) + 1
        show(friendship, task.body, now, "mass")
        return SENT

    def make_by_hand(
        self, userid: str, text: str, external_userids: list[str], *, creator: str = "admin", personal: bool = False
    ) -> GroupTask:
        """Somebody makes the same in the admin's console, or (`personal`) a member in his own client."""
        now, msgid = self.platform.now(), f"msg{secrets.token_hex(14)}"
        recipients = [Recipient(userid, one) for one in external_userids]
        made = GroupTask(msgid, "single", now, {"text": {"content": text}}, recipients)
        made.creator, made.personal = creator, personal
        self.tasks[msgid] = made
        return made

    # -- the API ---------------------------------------------------------------------------------------------------

    async def _add(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        check_message(body)
        for attachment in body.get("attachments") or ():
            if media_id := part(attachment, str(attachment["msgtype"])).get("media_id"):
                self.media.check(media_id)
        chat_type = words(body, "chat_type") or "single"
        if chat_type == "group":
            recipients, failed = self._to_groups(body)
        elif chat_type == "single":
            recipients, failed = self._to_residents(body)
        else:
            raise Refusal(40058, "invalid chat_type")
        if not recipients:
            raise Refusal(41048, "no sendable customers", fail_list=failed)
        now, msgid = self.platform.now(), f"msg{secrets.token_hex(14)}"
        self.tasks[msgid] = GroupTask(msgid, chat_type, now, dict(body), recipients)  # type: ignore[arg-type]
        return {**OK, "fail_list": failed, "msgid": msgid}

    def _to_groups(self, body: dict[str, Any]) -> tuple[list[Recipient], list[str]]:
        if not (sender := words(body, "sender")):
            raise Refusal(40058, "sender is required for groups")
        wanted = several(body, "chat_id_list")
        if len(wanted) > 2000:
            raise Refusal(40058, "chat_id_list exceeds 2000")
        own = {one.chat_id for one in self.groups.held.values() if one.owner == sender}
        chosen = wanted or sorted(own)
        return [Recipient(sender, chat_id=one) for one in chosen if one in own], [o for o in chosen if o not in own]

    def _to_residents(self, body: dict[str, Any]) -> tuple[list[Recipient], list[str]]:
        sender, wanted, tags = words(body, "sender"), several(body, "external_userid"), part(body, "tag_filter")
        if not (sender or wanted or tags):
            raise Refusal(40058, "one of sender, external_userid, tag_filter is needed")
        if len(wanted) > 10_000:
            raise Refusal(40058, "external_userid exceeds 10000")
        latest: dict[str, Friendship] = {}  # whoever talked with a resident last sends to him
        for one in self.contacts.friendships.values():
            member = self.members.find(one.userid)
            reaches = member is not None and member.visible and member.status == 1 and not one.removed
            if not reaches or (sender and one.userid != sender):
                continue
            held = latest.get(one.external_userid)
            if held is None or one.talked_at >= held.talked_at:
                latest[one.external_userid] = one
        if wanted:
            failed = [one for one in wanted if one not in latest]
            chosen = [latest[one] for one in dict.fromkeys(wanted) if one in latest]
        else:
            failed = []
            chosen = [one for one in latest.values() if _has_tags(one, tags)]
        return [Recipient(one.userid, one.external_userid) for one in chosen], failed

    def _access(self, asked: Asked) -> GroupTask:
        task = self.tasks.get(words(asked.body, "msgid"))
        if task is None:
            raise Refusal(40058, "invalid msgid")
        if self.platform.now() - task.created_at < self.platform.rules.dispatch_seconds:
            raise Refusal(41063, "the task is being dispatched, retry later")
        return task

    async def _remind(self, asked: Asked) -> dict[str, Any]:
        task, now = self._access(asked), self.platform.now()
        task.reminded = [at for at in task.reminded if now - at < DAY]
        if len(task.reminded) >= REMINDERS_A_DAY:
            raise Refusal(41094, "reminded too often")
        task.reminded.append(now)
        return OK

    async def _cancel(self, asked: Asked) -> dict[str, Any]:
        self._access(asked).cancelled = True  # what was sent stays sent
        return OK

    async def _list(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        start, end = whole(body, "start_time", 0), whole(body, "end_time", 0)
        if end < start or end - start > 31 * DAY:
            raise Refusal(40058, "the time may span one month")
        kind, creator, made_by = words(body, "chat_type"), words(body, "creator"), whole(body, "filter_type", 2)
        found = [
            one
            for one in self.tasks.values()
            if one.chat_type == kind
            and start <= one.created_at <= end
            and made_by in {2, int(one.personal)}
            and creator in {"", one.creator}
        ]
        rows = [
            {
                "msgid": one.msgid,
                **({"creator": one.creator} if one.creator else {}),  # not of what an app made
                "create_time": str(int(one.created_at)),
                "create_type": int(one.personal),
                **_shown(one.body),
            }
            for one in found
        ]
        shown, cursor = page(rows, body, default=50, most=100)
        return {**OK, "group_msg_list": shown, "next_cursor": cursor}

    async def _task(self, asked: Asked) -> dict[str, Any]:
        task = self._access(asked)
        rows = [_task_row(task, userid) for userid in task.userids]
        shown, cursor = page(rows, asked.body, default=500, most=1000)
        return {**OK, "task_list": shown, "next_cursor": cursor}

    async def _result(self, asked: Asked) -> dict[str, Any]:
        task, userid = self._access(asked), words(asked.body, "userid")
        mine = [one for one in task.recipients if one.userid.lower() == userid.lower()]
        if task.chat_type == "group":
            mine = [one for one in mine if one.status == SENT]
        shown, cursor = page([_result_row(one) for one in mine], asked.body, default=500, most=1000)
        return {**OK, "send_list": shown, "next_cursor": cursor}


def _has_tags(friendship: Friendship, tags: dict[str, Any]) -> bool:
    """OR inside a group, AND between groups; no filter takes everybody."""
    return all(set(several(group, "tag_list")) & set(friendship.tags) for group in tags.get("group_list") or ())


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("text", "attachments") if name in body}


def _task_row(task: GroupTask, userid: str) -> dict[str, Any]:
    sent_at = task.confirmed.get(userid)
    row: dict[str, Any] = {"userid": userid, "status": 0 if sent_at is None else 2}
    return row | ({"send_time": int(sent_at)} if sent_at is not None else {})


def _result_row(recipient: Recipient) -> dict[str, Any]:
    row: dict[str, Any] = {"userid": recipient.userid, "status": recipient.status}
    row |= {"chat_id": recipient.chat_id} if recipient.chat_id else {"external_userid": recipient.external_userid}
    return row | ({"send_time": int(recipient.sent_at)} if recipient.sent_at else {})
