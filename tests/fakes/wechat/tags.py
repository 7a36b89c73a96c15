"""Tags of the official account's followers: limits, partial results, no two writes to one resident at a time."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.fakes.wechat.people import Follower, People, page_of
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words

PER_ACCOUNT, PER_PERSON, NAME_CHARACTERS, PER_CALL = 100, 20, 30, 50
_SYSTEM = {0, 1, 2}


@dataclass
class Tag:
    id: int
    name: str


class Tags:
    """`fail_once`: openids that the next call cannot change (45171)."""

    def __init__(self, platform: Platform, people: People) -> None:
        self.platform, self.people = platform, people
        self.held: dict[int, Tag] = {}
        self.fail_once: set[str] = set()
        self._busy: set[str] = set()
        self._next = 100

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "tags/create"): self._create,
            ("GET", "tags/get"): self._get,
            ("POST", "tags/update"): self._update,
            ("POST", "tags/delete"): self._delete,
            ("POST", "tags/members/batchtagging"): self._tag,
            ("POST", "tags/members/batchuntagging"): self._untag,
            ("POST", "user/tag/get"): self._members,
            ("POST", "tags/getidlist"): self._tags_of,
        }

    def members(self, tag: int) -> list[str]:
        return [one.openid for one in self.people.followers.values() if one.following and tag in one.tags]

    def _name(self, given: dict[str, Any]) -> str:
        name = words(given, "name")
        if not 0 < len(name) <= NAME_CHARACTERS:
            raise Refusal(45158, "invalid tag name size")
        if any(tag.name == name for tag in self.held.values()):
            raise Refusal(45157, "tag name already used")
        return name

    def _access(self, given: dict[str, Any], name: str = "id") -> Tag:
        tag = whole(given, name, -1)
        if tag in _SYSTEM:
            raise Refusal(45058, "system tag")
        if tag not in self.held:
            raise Refusal(45159, "invalid tag id")
        return self.held[tag]

    async def _create(self, asked: Asked) -> dict[str, Any]:
        if len(self.held) >= PER_ACCOUNT:
            raise Refusal(45056, "too many tags")
        tag = Tag(self._next, self._name(part(asked.body, "tag")))
        self._next += 1
        self.held[tag.id] = tag
        return {"tag": {"id": tag.id, "name": tag.name}}

    async def _get(self, _: Asked) -> dict[str, Any]:
        return {"tags": [{"id": t.id, "name": t.name, "count": len(self.members(t.id))} for t in self.held.values()]}

    async def _update(self, asked: Asked) -> dict[str, Any]:
        given = part(asked.body, "tag")
        self._access(given).name = self._name(given)
        return OK

    async def _delete(self, asked: Asked) -> dict[str, Any]:
        tag = self._access(part(asked.body, "tag"))
        if len(self.members(tag.id)) > 100_000:
            raise Refusal(45057, "too many fans to delete the tag")
        for person in self.people.followers.values():
            person.tags = [one for one in person.tags if one != tag.id]
        del self.held[tag.id]
        return OK

    async def _tag(self, asked: Asked) -> dict[str, Any]:
        tag = self._access(asked.body, "tagid")
        people = self._people(asked)
        if any(tag.id not in one.tags and len(one.tags) >= PER_PERSON for one in people):
            raise Refusal(45059, "too many tags on one user")
        return await self._write(people, lambda one: one.tags.append(tag.id) if tag.id not in one.tags else None)

    async def _untag(self, asked: Asked) -> dict[str, Any]:
        tag = self._access(asked.body, "tagid")
        return await self._write(
            self._people(asked), lambda one: one.tags.remove(tag.id) if tag.id in one.tags else None
        )

    def _people(self, asked: Asked) -> list[Follower]:
        openids = several(asked.body, "openid_list")
        if not 1 <= len(openids) <= PER_CALL:
            raise Refusal(40032, "invalid openid list size")
        return [self.people.access(openid) for openid in openids]

    async def _write(self, people: list[Follower], change: Any) -> dict[str, Any]:
        """Hold the residents a moment: whoever writes to one of them meanwhile is refused."""
        openids = {one.openid for one in people}
        if openids & self._busy:
            raise Refusal(45169, "concurrent change of the same openid")
        self._busy |= openids
        try:
            await asyncio.sleep(self.platform.rules.tag_write_seconds)
            left_out = openids & self.fail_once
            self.fail_once -= left_out
            for person in people:
                if person.openid not in left_out:
                    change(person)
        finally:
            self._busy -= openids
        if left_out:
            raise Refusal(45171, "partly failed", fail_openid_list=sorted(left_out))
        return OK

    async def _members(self, asked: Asked) -> dict[str, Any]:
        tag = self._access(asked.body, "tagid")
        after = words(asked.body, "next_openid")
        return page_of(self.members(tag.id), after, self.platform.rules.follower_page)

    async def _tags_of(self, asked: Asked) -> dict[str, Any]:
        return {"tagid_list": list(self.people.access(asked.body.get("openid")).tags)}
