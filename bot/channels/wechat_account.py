"""An official account's own affairs: menu, followers' details and tags, QR codes, what is left of its quota."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence

from bot.channels.base import Failure, Follower, FollowerPage, SendError
from bot.channels.wechat_api import WeChatApi
from bot.config import MenuButton

DETAILS_AT_ONCE = 100  # user/info/batchget
_TAGS_AT_ONCE = 50  # tags/members/batchtagging
_PARTLY = 45171  # some of the openids were not changed; the answer names them
_STRANGERS = frozenset({"40003", "49003"})
_SEND_PATH = "/cgi-bin/message/custom/send"


class WeChatAccount:
    """The calls of one official account that are not about a message. Every method raises SendError."""

    def __init__(self, api: WeChatApi) -> None:
        self._api = api
        self._tagging = asyncio.Lock()

    # -- menu ------------------------------------------------------------------------------------------------------

    async def set_menu(self, menu: Sequence[MenuButton]) -> None:
        """The buttons under the chat; phones show them within five minutes."""
        await self._api.post("/cgi-bin/menu/create", {"button": [button_of(button) for button in menu]})

    # -- followers -------------------------------------------------------------------------------------------------

    async def followers(self, openids: Sequence[str]) -> list[Follower]:
        """What the platform tells of up to 100 people; of who does not follow nothing else.

        It refuses all of them because of one it does not know, who is found by halves.
        """
        wanted = [{"openid": openid, "lang": "zh_CN"} for openid in openids[:DETAILS_AT_ONCE]]
        try:
            answer = await self._api.ask("/cgi-bin/user/info/batchget", {"user_list": wanted})
        except SendError as error:
            if error.code not in _STRANGERS:
                raise
            if len(wanted) == 1:
                return []
            half = len(wanted) // 2
            return await self.followers(openids[:half]) + await self.followers(openids[half:DETAILS_AT_ONCE])
        rows = answer.get("user_info_list")
        return [follower for row in _objects(rows) if (follower := _follower(row)) is not None]

    async def follower_page(self, after: str) -> FollowerPage:
        """Up to 10,000 openids of who follows."""
        answer = await self._api.ask("/cgi-bin/user/get", next_openid=after)
        total, data = answer.get("total"), answer.get("data")
        openids = data.get("openid") if isinstance(data, dict) else None
        if isinstance(total, bool) or not isinstance(total, int):
            raise SendError(Failure.RETRY, "bad_answer", "微信没有给出关注者名单，稍后自动重试。")
        page = [openid for openid in openids if isinstance(openid, str)] if isinstance(openids, list) else []
        return FollowerPage(page, total, str(answer.get("next_openid") or ""))

    # -- tags ------------------------------------------------------------------------------------------------------

    async def sync_tags(self, wanted: Mapping[str, Collection[str]]) -> int:
        """Give each tag exactly these followers; tags of other names are left alone. Returns how many were changed.

        One call after the other, so that nobody is changed twice at a time (45169).
        """
        async with self._tagging:
            return await self._sync_tags(wanted)

    async def _sync_tags(self, wanted: Mapping[str, Collection[str]]) -> int:
        numbers = {str(row.get("name")): row.get("id") for row in _objects((await self._tags()).get("tags"))}
        changed = 0
        for name, openids in wanted.items():
            tag = numbers.get(name)
            if not isinstance(tag, int):
                tag = await self._create_tag(name)
            now, then = await self._tagged(tag), set(openids)
            changed += await self._change_tag("batchtagging", tag, sorted(then - now))
            changed += await self._change_tag("batchuntagging", tag, sorted(now - then))
        return changed

    async def _tags(self) -> Mapping[str, object]:
        return await self._api.ask("/cgi-bin/tags/get")

    async def _create_tag(self, name: str) -> int:
        answer = await self._api.ask("/cgi-bin/tags/create", {"tag": {"name": name}})  # names are unique there
        tag = answer.get("tag")
        number = tag.get("id") if isinstance(tag, dict) else None
        if not isinstance(number, int):
            raise SendError(Failure.RETRY, "bad_answer", "微信没有建好标签，稍后自动重试。")
        return number

    async def _tagged(self, tag: int) -> set[str]:
        found: set[str] = set()
        following = ""
        while True:
            answer = await self._api.ask("/cgi-bin/user/tag/get", {"tagid": tag, "next_openid": following})
            data = answer.get("data")
            page = data.get("openid", []) if isinstance(data, dict) else []
            if not page or set(page) <= found:  # nothing new: the end, or a platform that goes round in a circle
                return found
            found.update(str(openid) for openid in page)
            following = str(answer.get("next_openid", ""))

    async def _change_tag(self, what: str, tag: int, openids: Sequence[str]) -> int:
        """In portions; those of a portion that the platform left out are tried once more."""
        for start in range(0, len(openids), _TAGS_AT_ONCE):
            left_out = await self._change_some(what, tag, openids[start : start + _TAGS_AT_ONCE])
            if left_out:
                await self._change_some(what, tag, left_out)
        return len(openids)

    async def _change_some(self, what: str, tag: int, openids: Sequence[str]) -> Sequence[str]:
        body = {"openid_list": list(openids), "tagid": tag}
        answer = await self._api.post(f"/cgi-bin/tags/members/{what}", body, also_accepted={_PARTLY})
        if answer.get("errcode") != _PARTLY:
            return ()
        named = answer.get("fail_openid_list")
        failed = {str(openid) for openid in named} if isinstance(named, list) else set(openids)
        return [openid for openid in openids if openid in failed]

    # -- QR codes --------------------------------------------------------------------------------------------------

    async def scene_address(self, scene: str) -> str:
        """What a QR code has to say so that a scan brings people here with this scene (1 to 64 characters); for good.

        The platform never deletes one, of which an account has 100,000: keep the address.
        """
        body = {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": scene}}}
        address = (await self._api.ask("/cgi-bin/qrcode/create", body)).get("url")
        if not isinstance(address, str) or not address.startswith(("http://", "https://")) or len(address) > 300:
            raise SendError(Failure.RETRY, "bad_answer", "微信没有给出二维码，请稍后再试。")
        return address

    # -- quota -----------------------------------------------------------------------------------------------------

    async def quota(self) -> tuple[int, int] | None:
        """How many of today's customer-service messages are left, and of how many; None when it does not say."""
        answer = (await self._api.ask("/cgi-bin/openapi/quota/get", {"cgi_path": _SEND_PATH})).get("quota")
        if not isinstance(answer, dict):
            return None
        left, limit = answer.get("remain"), answer.get("daily_limit")
        return (left, limit) if isinstance(left, int) and isinstance(limit, int) else None


def button_of(button: MenuButton) -> Mapping[str, object]:
    """A button as the platform wants it."""
    if button.buttons:
        return {"name": button.name, "sub_button": [button_of(inner) for inner in button.buttons]}
    if button.url:
        return {"type": "view", "name": button.name, "url": button.url}
    return {"type": "click", "name": button.name, "key": button.says}


def _follower(row: Mapping[str, object]) -> Follower | None:
    openid, union_id, language = row.get("openid"), row.get("unionid"), row.get("language")
    if not isinstance(openid, str):
        return None
    return Follower(
        address=openid,
        following=row.get("subscribe") == 1,
        union_id=union_id if isinstance(union_id, str) else "",
        english=isinstance(language, str) and language.casefold().startswith("en"),
    )


def _objects(rows: object) -> Iterator[Mapping[str, object]]:
    if isinstance(rows, list):
        yield from (row for row in rows if isinstance(row, dict))
