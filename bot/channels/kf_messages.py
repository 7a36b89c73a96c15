"""What sync_msg of 微信客服 brings, as values; what we say, as its messages and menus."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

from bot import clock
from bot.message import (
    Event,
    EventKind,
    Happening,
    Location,
    Message,
    MessageKind,
    NotDelivered,
    Recalled,
    Reply,
    SaidElsewhere,
    SessionMoved,
)
from bot.parts import parts_of
from bot.reach import Grant

GRANT: Final = Grant(5, timedelta(hours=48))  # what each message of a resident allows us, from when he wrote it
TEXT_LIMIT_BYTES: Final = 2048  # a longer text is cut by the platform
MENU_HEAD_BYTES: Final = 1024
MENU_ITEMS: Final = 10  # 95008 above it
_ITEM_BYTES = 128
_TAPPED = "say:"  # what we put before the words of a choice, so that a servicer's own menu is not taken for ours

_CUSTOMER, _SYSTEM, _SERVICER = 3, 4, 5
_ENDED = 3  # of a session's changes
_PERSON = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_NUMBER = re.compile(r"[\x21-\x7e]{1,100}")  # as long as the column
_LATEST_SECONDS = 32_503_680_000  # the year 3000
_MEDIA_KINDS = {"image": MessageKind.IMAGE, "voice": MessageKind.VOICE, "video": MessageKind.VIDEO}
# Kinds that carry a title and no more that a program could use: stored as unknown, named for the officer.
_NAMES = {
    "file": "文件",
    "business_card": "名片",
    "msgmenu": "菜单",
    "channels": "视频号",
    "channels_shop_product": "视频号商品",
    "channels_shop_order": "视频号订单",
    "merged_msg": "聊天记录",
    "meeting": "会议",
    "schedule": "日程",
    "calendar": "日程",
    "note": "笔记",
}
_TITLES = ("title", "nickname", "product_titles", "name", "userid", "head_content", "order_id")
_FORWARDED_MOST = 50
_SUMMARY_CHARACTERS = 2000
_FAIL_TYPES = {
    0: "微信没有说明原因，消息没有送达。请改用电话联系。",
    1: "微信客服账号已删除，消息没有送达。请管理员核对客服账号设置。",
    2: "企业微信应用已停用，消息没有送达。请管理员在企业微信后台启用。",
    4: "居民 48 小时内没有来消息，消息没有送达。急事请打电话。",
    5: "会话已结束，消息没有送达。等居民下次来消息时再发；急事请打电话。",
    6: "连续发送超过 5 条，消息没有送达。等居民下次来消息时再发；急事请打电话。",
    8: "企业未认证，发送受限，消息没有送达。请管理员完成企业认证。",
    10: "居民拒收客服消息，没有送达。请改用电话或上门联系。",
    11: "企业没有成员登录企业微信，消息没有送达。请任一成员登录后再发。",
    12: "微信客服不能发送这种消息，没有送达。请改用文字。",
    13: "消息没有通过微信的安全检查，没有送达。请修改内容后再发。",
}


# -- in ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """A page of sync_msg: what happened, in order. `unreadable`: rows that were no rows of the platform's."""

    happened: tuple[Happening, ...]
    cursor: str
    has_more: bool
    unreadable: int = 0


def page_of(channel: str, answer: Mapping[str, Any], *, series: str) -> Page:
    """The page in an answer; a row that cannot be read is counted and passed over, so that it holds up no other."""
    rows = answer.get("msg_list")
    rows = rows if isinstance(rows, list) else []
    happened: list[Happening] = []
    unreadable = 0
    for row in rows:
        one = happening_of(channel, row, series=series) if isinstance(row, dict) else _UNREADABLE
        unreadable += one is _UNREADABLE
        if not isinstance(one, _Passed):
            happened.append(one)
        if isinstance(one, SessionMoved) and (served := served_event(channel, one.sender, row)) is not None:
            happened.append(served)
    cursor = answer.get("next_cursor")
    return Page(tuple(happened), cursor if isinstance(cursor, str) else "", answer.get("has_more") == 1, unreadable)


class _Passed:
    """A row nothing is made of."""


_UNREADABLE, _NOTHING = _Passed(), _Passed()


def happening_of(channel: str, row: Mapping[str, Any], *, series: str) -> Happening | _Passed:
    """One row as a value."""
    kind, number, sent_at = _word(row, "msgtype"), _word(row, "msgid"), _moment(row.get("send_time"))
    if not _NUMBER.fullmatch(number) or sent_at is None or not kind:
        return _UNREADABLE
    body = row.get(kind)
    body = body if isinstance(body, dict) else {}
    sender = _word(body if kind == "event" else row, "external_userid") or _word(row, "external_userid")
    if kind == "event":
        return _event(channel, sender, number, sent_at, body, series)
    if not _PERSON.fullmatch(sender):
        return _UNREADABLE
    message = _message(channel, sender, number, sent_at, kind, body)
    origin = row.get("origin")
    if origin == _SERVICER:
        servicer = _word(row, "servicer_userid")
        extra = {**message.extra, "servicer": servicer}
        return SaidElsewhere(replace(message, extra=extra), servicer if _PERSON.fullmatch(servicer) else "")
    if origin != _CUSTOMER:
        return _NOTHING  # what the platform says by itself is no event of anybody
    left = sent_at + GRANT.lasting - clock.now()
    return replace(message, grant=Grant(GRANT.count, left) if left > timedelta(0) else None)


def _message(channel: str, sender: str, number: str, sent_at: datetime, kind: str, body: Mapping[str, Any]) -> Message:
    unknown = Message(channel, sender, number, MessageKind.UNKNOWN, sent_at, extra={"type": kind[:40]})
    media = _word(body, "media_id")
    if kind == "text" and isinstance(body.get("content"), str):
        tapped = _word(body, "menu_id")
        text = tapped.removeprefix(_TAPPED) if tapped.startswith(_TAPPED) else _word(body, "content")
        return replace(unknown, kind=MessageKind.TEXT, text=text, extra=_kept(body, "menu_id"))
    if kind in _MEDIA_KINDS and media:
        return replace(unknown, kind=_MEDIA_KINDS[kind], media=media, extra={})
    if kind == "location" and (place := _place(body)) is not None:
        return replace(unknown, kind=MessageKind.LOCATION, text=place.label, location=place, extra={})
    if kind == "link":
        extra = _kept(body, "title") | ({"description": _word(body, "desc")} if _word(body, "desc") else {})
        return replace(unknown, kind=MessageKind.LINK, url=_word(body, "url"), extra=extra)
    if kind == "miniprogram":  # a way to a page, as a link is
        extra = _kept(body, "title", "appid")
        return replace(unknown, kind=MessageKind.LINK, url=_word(body, "pagepath"), extra=extra)
    return replace(unknown, text=_summary(kind, body), media=media, extra={**unknown.extra, **_kept(body, "userid")})


def _summary(kind: str, body: Mapping[str, Any]) -> str:
    """What an officer reads of a message that is neither words nor a picture."""
    title = next((_word(body, name) for name in _TITLES if _word(body, name)), "")
    lines = ["：".join(part for part in (_NAMES.get(kind, ""), title) if part)]
    items = body.get("item")
    if kind == "merged_msg" and isinstance(items, list):
        lines += [_forwarded(item) for item in items[:_FORWARDED_MOST] if isinstance(item, dict)]
    return "\n".join(lines)[:_SUMMARY_CHARACTERS]


def _forwarded(item: Mapping[str, Any]) -> str:
    """A line of a conversation a resident forwarded; its content is JSON in a string."""
    kind = _word(item, "msgtype")
    try:
        content = json.loads(_word(item, "msg_content"))
    except (ValueError, RecursionError):
        content = None
    inner = content.get(kind) if isinstance(content, dict) else None
    words = _word(inner, "content") if isinstance(inner, dict) else ""
    return f"{_word(item, 'sender_name')}：{words or '[' + (_NAMES.get(kind) or kind) + ']'}"


def _event(
    channel: str, sender: str, number: str, sent_at: datetime, body: Mapping[str, Any], series: str
) -> Happening | _Passed:
    name = _word(body, "event_type")
    if name == "msg_send_fail":
        return _not_delivered(body, series)
    if not _PERSON.fullmatch(sender):
        return _NOTHING if name else _UNREADABLE  # about a servicer or the account: servicer_status_change
    if name == "session_status_change":
        servicer = _word(body, "new_servicer_userid")
        ended = body.get("change_type") == _ENDED or not _PERSON.fullmatch(servicer)
        return SessionMoved(sender, None if ended else servicer)
    if name in {"user_recall_msg", "servicer_recall_msg"}:
        return Recalled(sender, _word(body, "recall_msgid")[:100])
    event = Event(EventKind.OTHER, name=name[:60])
    extra = _kept(body, "servicer_userid", "reject_switch")
    if name == "enter_session":
        event = Event(EventKind.ENTER, key=unquote(_word(body, "scene_param"))[:128], name=name)
        extra = _kept(body, "scene") | ({"code": _word(body, "welcome_code")} if _word(body, "welcome_code") else {})
    return Message(channel, sender, number, MessageKind.EVENT, sent_at, event=event, extra=extra)


def served_event(channel: str, sender: str, row: Mapping[str, Any]) -> Message | None:
    """A servicer has ended the session: its code lets us say one thing. None of any other change."""
    number, sent_at, body = _word(row, "msgid"), _moment(row.get("send_time")), row.get("event")
    if (
        not isinstance(body, dict)
        or sent_at is None
        or body.get("change_type") != _ENDED
        or not _word(body, "msg_code")
    ):
        return None
    event = Event(EventKind.SERVED, name=_word(body, "event_type"))
    extra = {"code": _word(body, "msg_code")}
    return Message(channel, sender, number, MessageKind.EVENT, sent_at, event=event, extra=extra)


def _not_delivered(body: Mapping[str, Any], series: str) -> Happening | _Passed:
    found = re.fullmatch(rf"{re.escape(series)}-(\d{{1,14}})-[0-9a-f]{{8}}", _word(body, "fail_msgid"))
    if found is None:
        return _NOTHING  # a message of a servicer, or of an earlier database
    fail_type = body.get("fail_type")
    known = fail_type if isinstance(fail_type, int) and fail_type in _FAIL_TYPES else 0
    return NotDelivered(int(found[1]), f"fail_{known}", _FAIL_TYPES[known])


def _word(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # Half a surrogate pair is legal JSON and no text: a page that cannot be written would hold up all behind it.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _kept(body: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: _word(body, name) for name in names if _word(body, name)}


def _moment(send_time: object) -> datetime | None:
    if isinstance(send_time, bool) or not isinstance(send_time, int) or not 0 <= send_time < _LATEST_SECONDS:
        return None
    return datetime.fromtimestamp(send_time, UTC)


def _place(body: Mapping[str, Any]) -> Location | None:
    latitude, longitude = body.get("latitude"), body.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    label = " ".join(part for part in (_word(body, "name"), _word(body, "address")) if part)
    return Location(float(latitude), float(longitude), label)


# -- out --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One message to the platform: `kind` is its msgtype, `content` its object; of a picture, which of ours."""

    kind: str
    content: Mapping[str, Any]
    picture: int | None = None


def parts(reply: Reply) -> list[Part]:
    """The messages one reply makes, in the order the resident shall read them. Each costs one of the five."""
    texts = list(parts_of(reply.text, TEXT_LIMIT_BYTES))
    choices = [choice for choice in reply.choices if len((_TAPPED + choice.send).encode()) <= _ITEM_BYTES][:MENU_ITEMS]
    made = []
    if choices:
        # The menu carries the words too where they fit: one message instead of two.
        head = texts.pop() if texts and len(texts[-1].encode()) <= MENU_HEAD_BYTES else "您可以点选："
        items = [
            {"type": "click", "click": {"id": _TAPPED + choice.send, "content": _cut(choice.label)}}
            for choice in choices
        ]
        made.append(Part("msgmenu", {"head_content": head, "list": items}))
    made = [Part("text", {"content": text}) for text in texts] + made
    if reply.picture is not None:
        made.append(Part("image", {}, reply.picture))
    return made


def _cut(label: str) -> str:
    return next(parts_of(label, _ITEM_BYTES), label)


def number_of(series: str, delivery_id: int, place: int, part: Part) -> str:
    """Our number of the part at this place of a delivery, at most 32 characters: the same each time the same is sent,
    and another for other words, so that what the platform has is never sent twice and nothing else is taken for it."""
    said = json.dumps([place, part.kind, part.content, part.picture], ensure_ascii=False, sort_keys=True)
    return f"{series}-{delivery_id}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
