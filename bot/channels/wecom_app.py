"""The station's WeCom app (bot.wecom.WeComApp) on WeCom's API."""

import re
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from bot.channels.base import Failure, PictureStore, SendError, TokenStore
from bot.channels.platform_api import TOTAL_SECONDS
from bot.channels.platform_checks import check_api
from bot.channels.uploads import Uploads
from bot.channels.wecom_api import WeComApi
from bot.channels.wecom_errors import ALL_INVALID, MEDIA_CODES, NO_FRIEND, STRANGERS, WELCOME_OVER
from bot.checks import Check, Words
from bot.config import WeComSettings
from bot.wecom import EXTERNAL_USERID, Card, Fate, Friend, Handed, Listed, Way, WeComRefused, Who, Why, folded

_INSIDE_HOST: Final = "https://open.weixin.qq.com"
_DESK_HOST: Final = "https://login.work.weixin.qq.com"
_SAME_MESSAGE_SECONDS = 1800  # within these WeCom does not send the same words to the same people again
_PAGE_ROWS = 1000
_MOST_PAGES = 100  # of one list: 10,000 residents at the worst
_FRIENDS_ROWS = 100
_BY_ADMIN = 202  # how two came together: an admin gave him the other's resident
_TAPPED = 2
_ACTIVE = 1  # user/get: 2 disabled, 4 not activated, 5 left
_REASONS: Final = {
    Failure.RETRY: Why.AGAIN,
    Failure.LATER: Why.NEVER,
    Failure.REFUSED: Why.NEVER,
    Failure.UNKNOWN: Why.UNKNOWN,
    Failure.CHANNEL_DOWN: Why.DOWN,
}
_CONTACT = Words("客户联系", "customer contact")
_CONTACT_REMEDY = Words(
    "请在企业微信后台“客户与上下游 → 客户联系”里为民警开通，并把应用加入“可调用接口的应用”。",
    "in WeCom's console, 客户联系: switch it on for the officers and let the app call it",
)
_NO_MEMBER = "只有本单位的企业微信成员才能这样登录。请用本单位的企业微信扫码，或改用密码。"
_NOT_ACTIVE = "您的企业微信账号没有激活或已停用，不能登录。请联系管理员。"
_NO_ANSWER = "企业微信的回答不完整，不知是否办成。请稍后核对。"


class WeCom:
    """One app of one corp."""

    def __init__(
        self,
        settings: WeComSettings,
        *,
        tokens: TokenStore,
        pictures: PictureStore,
        call_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.name, self.customer_contact = settings.name, settings.customer_contact
        self._corp_id, self._agent_id = settings.corp_id, settings.agent_id
        self._inside = f"{settings.login_base.rstrip('/') or _INSIDE_HOST}/connect/oauth2/authorize"
        self._at_a_desk = f"{settings.login_base.rstrip('/') or _DESK_HOST}/wwlogin/sso/login"
        self._api = WeComApi(
            channel=settings.name,
            corp_id=settings.corp_id,
            secret=settings.secret,
            api_base=settings.api_base,
            tokens=tokens,
            total_seconds=call_seconds,
        )
        self._uploads = Uploads(pictures, self._api.upload_picture)

    async def close(self) -> None:
        await self._api.close()

    async def check(self) -> Sequence[Check]:
        """The self-check of the app's API; and whether it may see the officers' friends, where they have any."""
        checks = list(await check_api(self._api))
        return [*checks, await self._check_contact()] if self.customer_contact else checks

    async def _check_contact(self) -> Check:
        try:
            able = (await self._api.ask("/cgi-bin/externalcontact/get_follow_user_list")).get("follow_user")
        except SendError as error:
            found = Words(f"平台没有列出（代码 {error.code}）", f"not told (code {error.code})")
            return Check(_CONTACT, False, found, Words(error.reason, _CONTACT_REMEDY.en))
        if not isinstance(able, list) or not able:
            return Check(_CONTACT, False, Words("没有成员开通", "switched on for nobody"), _CONTACT_REMEDY)
        return Check(_CONTACT, True, Words(f"{len(able)} 位成员已开通", f"switched on for {len(able)} members"))

    # -- officers --------------------------------------------------------------------------------------------------

    async def tell(self, userids: Sequence[str], card: Card) -> frozenset[str]:
        body = {
            "touser": "|".join(userids),
            "msgtype": "textcard",
            "agentid": self._agent_id,
            "textcard": {"title": card.title, "description": card.text, "url": card.url, "btntxt": "打开"},
            "enable_duplicate_check": 1,
            "duplicate_check_interval": _SAME_MESSAGE_SECONDS,
        }
        try:
            answer = await _asked(self._api.post("/cgi-bin/message/send", body))
        except WeComRefused as refused:
            if refused.code == str(ALL_INVALID):
                return frozenset(map(folded, userids))
            raise
        # A 0 says that somebody got it; the others are named beside it, perhaps in small letters.
        listed = "|".join(str(answer.get(name) or "") for name in ("invaliduser", "unlicenseduser"))
        return frozenset(folded(userid) for userid in listed.split("|") if userid.strip())

    def login_address(self, back: str, state: str, *, inside: bool) -> str:
        if inside:  # the order of the parameters and the fragment matter
            query = {
                "appid": self._corp_id,
                "redirect_uri": back,
                "response_type": "code",
                "scope": "snsapi_base",
                "state": state,
                "agentid": self._agent_id,
            }
            return f"{self._inside}?{urlencode(query)}#wechat_redirect"
        query = {
            "login_type": "CorpApp",
            "appid": self._corp_id,
            "agentid": self._agent_id,
            "redirect_uri": back,
            "state": state,
        }
        return f"{self._at_a_desk}?{urlencode(query)}"

    async def member_of(self, code: str) -> str:
        answer = await _asked(self._api.ask("/cgi-bin/auth/getuserinfo", code=code))
        userid = answer.get("userid") or answer.get("UserId")  # a stranger has an openid or external_userid instead
        if not isinstance(userid, str) or not userid:
            raise WeComRefused(Why.NEVER, "no_member", _NO_MEMBER)
        member = await _asked(self._api.ask("/cgi-bin/user/get", userid=userid))
        if member.get("status") != _ACTIVE:
            raise WeComRefused(Why.NEVER, "not_active", _NOT_ACTIVE)
        return folded(userid)

    # -- residents -------------------------------------------------------------------------------------------------

    async def add_contact_way(self, userid: str, state: str, remark: str) -> Way:
        body = {"type": 1, "scene": 2, "user": [userid], "state": state, "remark": remark[:30], "skip_verify": True}
        answer = await _asked(self._api.post("/cgi-bin/externalcontact/add_contact_way", body))
        config_id, address = answer.get("config_id"), answer.get("qr_code")
        if not (isinstance(config_id, str) and config_id and isinstance(address, str) and address):
            raise WeComRefused(Why.UNKNOWN, "bad_answer", _NO_ANSWER)
        return Way(config_id, address, await self._api.picture_at(address))

    async def welcome(self, code: str, text: str) -> bool:
        body = {"welcome_code": code, "text": {"content": text}}
        try:
            await _asked(self._api.post("/cgi-bin/externalcontact/send_welcome_msg", body))
        except WeComRefused as refused:
            if refused.code in {str(known) for known in WELCOME_OVER}:
                return False
            raise
        return True

    async def friends(self, userid: str, cursor: str) -> tuple[Sequence[Friend], str]:
        body = {"userid_list": [userid], "cursor": cursor, "limit": _FRIENDS_ROWS}
        try:
            answer = await _asked(self._api.ask("/cgi-bin/externalcontact/batch/get_by_user", body))
        except WeComRefused as refused:
            if refused.code == str(NO_FRIEND):
                return (), ""
            raise
        rows = _rows(answer, "external_contact_list")
        return [friend for row in rows if (friend := _friend(row)) is not None], str(answer.get("next_cursor") or "")

    async def who_is(self, external_userid: str) -> Who:
        try:
            answer = await _asked(self._api.ask("/cgi-bin/externalcontact/get", external_userid=external_userid))
        except WeComRefused as refused:
            if refused.code in {str(known) for known in STRANGERS}:
                return Who()
            raise
        person, follow = answer.get("external_contact"), _rows(answer, "follow_user")
        union_id = person.get("unionid") if isinstance(person, dict) else None
        return Who(
            union_id=union_id if isinstance(union_id, str) else "",
            members=frozenset(folded(str(row.get("userid"))) for row in follow),
            given_to=frozenset(folded(str(row.get("userid"))) for row in follow if row.get("add_way") == _BY_ADMIN),
        )

    # -- warnings --------------------------------------------------------------------------------------------------

    async def hand_in(
        self, userid: str, text: str, external_userids: Sequence[str], *, picture: int | None = None
    ) -> Handed:
        body = {
            "chat_type": "single",
            "external_userid": list(external_userids),
            "sender": userid,
            "text": {"content": text},
        }
        try:
            answer = await self._add_task(body, picture)
        except WeComRefused as refused:
            if picture is None or refused.code not in MEDIA_CODES:
                raise
            self._uploads.forget(picture)  # WeCom keeps it no longer
            answer = await self._add_task(body, picture)
        msgid, failed = answer.get("msgid"), answer.get("fail_list")
        if not isinstance(msgid, str) or not msgid:
            raise WeComRefused(Why.UNKNOWN, "bad_answer", _NO_ANSWER)
        return Handed(msgid, frozenset(map(str, failed if isinstance(failed, list) else [])))

    async def _add_task(self, body: Mapping[str, object], picture: int | None) -> Mapping[str, Any]:
        if picture is not None:
            try:
                media_id = await self._uploads.media_id(picture)
            except SendError as error:
                raise _refused(error) from None
            body = {**body, "attachments": [{"msgtype": "image", "image": {"media_id": media_id}}]}
        return await _asked(self._api.post("/cgi-bin/externalcontact/add_msg_template", body))

    async def search(
        self, userid: str, text: str, *, since: datetime, until: datetime, without: Collection[str]
    ) -> Sequence[Listed]:
        found = []
        async for row in self._listed(since, until):
            msgid, content = row.get("msgid"), row.get("text")
            words = content.get("content") if isinstance(content, dict) else None
            # WeCom names the creator of what people made and nobody for what an app did, so the sender is asked for.
            if not isinstance(msgid, str) or not msgid or msgid in without or row.get("creator"):
                continue
            if _plain(str(words or "")) == _plain(text) and await self._part_of(msgid, userid) is not None:
                found.append(Listed(msgid, await self._residents_of(msgid, userid)))
        return found

    async def _listed(self, since: datetime, until: datetime) -> AsyncIterator[Mapping[str, Any]]:
        """The mass messages of the corp (not of its members) that were made in this time."""
        cursor = ""
        for _ in range(_MOST_PAGES):
            body = {
                "chat_type": "single",
                "start_time": int(since.timestamp()),
                "end_time": int(until.timestamp()),
                "filter_type": 0,
                "limit": 100,
                "cursor": cursor,
            }
            answer = await _asked(self._api.ask("/cgi-bin/externalcontact/get_groupmsg_list_v2", body))
            for row in _rows(answer, "group_msg_list"):
                yield row
            cursor = str(answer.get("next_cursor") or "")
            if not cursor:
                return

    async def _residents_of(self, msgid: str, userid: str) -> frozenset[str]:
        found: set[str] = set()
        cursor = ""
        for _ in range(_MOST_PAGES):
            answer = await self._results(msgid, userid, cursor)
            found.update(str(row.get("external_userid")) for row in _rows(answer, "send_list"))
            cursor = str(answer.get("next_cursor") or "")
            if not cursor:
                break
        return frozenset(found)

    async def fates(self, msgid: str, userid: str, cursor: str) -> tuple[Mapping[str, Fate], str]:
        if not cursor and await self._part_of(msgid, userid) != _TAPPED:
            return {}, ""
        answer = await self._results(msgid, userid, cursor)
        known = {fate.value: fate for fate in Fate}
        fates = {
            str(row.get("external_userid")): known[str(row.get("status"))]
            for row in _rows(answer, "send_list")
            if str(row.get("status")) in known
        }
        return fates, str(answer.get("next_cursor") or "")

    async def _results(self, msgid: str, userid: str, cursor: str) -> Mapping[str, Any]:
        body = {"msgid": msgid, "userid": userid, "limit": _PAGE_ROWS, "cursor": cursor}
        return await _asked(self._api.ask("/cgi-bin/externalcontact/get_groupmsg_send_result", body))

    async def _part_of(self, msgid: str, userid: str) -> object:
        """How far this member is with a mass message; None when he is not among its senders."""
        body = {"msgid": msgid, "limit": _PAGE_ROWS, "cursor": ""}
        rows = _rows(await _asked(self._api.ask("/cgi-bin/externalcontact/get_groupmsg_task", body)), "task_list")
        return next((row.get("status") for row in rows if folded(str(row.get("userid"))) == folded(userid)), None)

    async def remind(self, msgid: str) -> None:
        await _asked(self._api.post("/cgi-bin/externalcontact/remind_groupmsg_send", {"msgid": msgid}))

    async def cancel(self, msgid: str) -> None:
        await _asked(self._api.post("/cgi-bin/externalcontact/cancel_groupmsg_send", {"msgid": msgid}))


async def _asked(call: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return await call
    except SendError as error:
        raise _refused(error) from None


def _refused(error: SendError) -> WeComRefused:
    return WeComRefused(_REASONS[error.failure], error.code, error.reason, after=error.after)


def _friend(row: Mapping[str, Any]) -> Friend | None:
    person, follow = row.get("external_contact"), row.get("follow_info")
    if not isinstance(person, dict) or not isinstance(follow, dict):
        return None
    number, since, state = person.get("external_userid"), follow.get("createtime"), follow.get("state")
    if not isinstance(number, str) or not re.fullmatch(EXTERNAL_USERID, number) or not isinstance(since, int):
        return None
    return Friend(number, datetime.fromtimestamp(since, UTC), state[:100] if isinstance(state, str) else "")


def _plain(text: str) -> str:
    """Words as they are compared: WeCom may have touched the ends of lines."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _rows(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = answer.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
