"""Group chats of officers with residents (客户群)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.wechat.chat import Bubble, words_of
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, words

PushEvent = Callable[[str, str, str, dict[str, str]], Awaitable[object]]
_MEMBER, _EXTERNAL = 1, 2


@dataclass
class GroupChat:
    """`people`: who is inside (userid or external_userid → when he came)."""

    chat_id: str
    name: str
    owner: str
    created_at: float
    notice: str = ""
    people: dict[str, float] = field(default_factory=dict)
    chat: list[Bubble] = field(default_factory=list)
    version: int = 1


class Groups:
    def __init__(self, platform: Platform, push: PushEvent) -> None:
        self.platform, self._push = platform, push
        self.held: dict[str, GroupChat] = {}

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "externalcontact/groupchat/list"): self._list,
            ("POST", "externalcontact/groupchat/get"): self._get,
        }

    async def open(self, chat_id: str, name: str, owner: str, *people: str) -> object:
        """An officer opens a group: change_external_chat, create."""
        now = self.platform.now()
        self.held[chat_id] = GroupChat(chat_id, name, owner, now, people=dict.fromkeys((owner, *people), now))
        return await self._changed(chat_id, {"ChangeType": "create"})

    async def join(self, chat_id: str, *people: str) -> object:
        self.held[chat_id].people |= dict.fromkeys(people, self.platform.now())
        return await self._updated(chat_id, "add_member", people, {"JoinScene": "3"})

    async def leave(self, chat_id: str, *people: str) -> object:
        for one in people:
            self.held[chat_id].people.pop(one)
        return await self._updated(chat_id, "del_member", people, {"QuitScene": "0"})

    async def dismiss(self, chat_id: str) -> object:
        del self.held[chat_id]
        return await self._changed(chat_id, {"ChangeType": "dismiss"})

    def show(self, chat_id: str, userid: str, body: dict[str, Any], at: float) -> None:
        """A mass message of an officer into the group."""
        group = self.held[chat_id]
        if text := part(body, "text").get("content"):
            group.chat.append(Bubble("account", "text", str(text), at, "mass", {"userid": userid, **body}))
        for one in body.get("attachments") or ():
            kind = str(one["msgtype"])
            group.chat.append(Bubble("account", kind, words_of(kind, one[kind]), at, "mass", one))

    async def _updated(self, chat_id: str, detail: str, people: tuple[str, ...], more: dict[str, str]) -> object:
        group = self.held[chat_id]
        versions = {"LastMemVer": str(group.version), "CurMemVer": str(group.version + 1)}
        group.version += 1
        count = {"MemChangeCnt": str(len(people))}
        return await self._changed(
            chat_id, {"ChangeType": "update", "UpdateDetail": detail, **more, **count, **versions}
        )

    async def _changed(self, chat_id: str, fields: dict[str, str]) -> object:
        return await self._push("contact", "sys", "change_external_chat", {"ChatId": chat_id, **fields})

    async def _list(self, asked: Asked) -> dict[str, Any]:
        owners = several(part(asked.body, "owner_filter"), "userid_list")
        rows = [
            {"chat_id": one.chat_id, "status": 0} for one in self.held.values() if not owners or one.owner in owners
        ]
        return {**OK, "group_chat_list": rows, "next_cursor": ""}

    async def _get(self, asked: Asked) -> dict[str, Any]:
        group = self.held.get(words(asked.body, "chat_id"))
        if group is None:
            raise Refusal(40050, "invalid chat_id")
        inside = [
            {
                "userid": person,
                "type": _EXTERNAL if person.startswith(("wm", "wo")) else _MEMBER,
                "join_time": int(at),
                "join_scene": 3,
            }
            for person, at in group.people.items()
        ]
        found = {
            "chat_id": group.chat_id,
            "name": group.name,
            "owner": group.owner,
            "create_time": int(group.created_at),
            "notice": group.notice,
            "member_list": inside,
            "admin_list": [],
            "member_version": str(group.version),
        }
        return {**OK, "group_chat": found}
