"""What WeChat pushes, as a Message; what we say, as words and menus of WeChat."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from bot import clock
from bot.channels.base import Waiting
from bot.channels.wechat_envelope import Fields, Opened, Reason, RefusedError
from bot.message import Choice, Event, EventKind, Location, Message, MessageKind, Reply
from bot.parts import first_bytes
from bot.reach import Grant

PASSIVE_LIMIT_CHARACTERS = 600  # both limits hold: one was seen to fail at 628 characters, one at 2048 bytes
PASSIVE_LIMIT_BYTES = 2000
PART_LIMIT_BYTES = 2048  # message/custom/send answers 45002 above it

_PLATFORM_ID_LIMIT = 100  # as long as the column
# What the platform lets us send because of what a resident does (in force for all accounts since August 2023).
_BY_MESSAGE = Grant(5, timedelta(hours=48))
_BY_TAP = Grant(3, timedelta(minutes=1))
_TAPS = frozenset({"click", "scancode_push", "scancode_waitmsg", "subscribe", "scan"})  # VIEW and the others: nothing

_CHINA = timezone(timedelta(hours=8))

_SENDER = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_BETWEEN: Final = " · "
_HINT = "……\n（内容较长，未能全部显示。请把问题说得更具体些，再问一次。）"

_EVENTS = {
    "subscribe": EventKind.SUBSCRIBE,
    "subscribe_scan": EventKind.SUBSCRIBE,  # wechatpy's name for a subscription by QR code, prefix already gone
    "unsubscribe": EventKind.UNSUBSCRIBE,
    "scan": EventKind.SCAN,
    "click": EventKind.CLICK,
    "view": EventKind.VIEW,
}
# Reports on a job of ours come with the job's number; the second may differ elsewhere when they come again.
_JOB_EVENTS = frozenset({"masssendjobfinish", "templatesendjobfinish"})
# What residents say of subscription notices, and what became of one: the event's name, the element that holds it.
_NOTICE_EVENTS = {
    "subscribe_msg_popup_event": "SubscribeMsgPopupEvent",
    "subscribe_msg_change_event": "SubscribeMsgChangeEvent",
    "subscribe_msg_sent_event": "SubscribeMsgSentEvent",
}
_NOTICE_MOST = 20  # templates in one event; a page offers three
# About the account; the sender is the platform and no resident.
_ACCOUNT_EVENTS = frozenset(
    {
        "masssendjobfinish",
        "qualification_verify_success",
        "qualification_verify_fail",
        "naming_verify_success",
        "naming_verify_fail",
        "annual_renew",
        "verify_expired",
    }
)
# Somebody took back what he allowed the platform to tell us; his openid stands in a field of its own.
_PRIVACY_EVENTS = frozenset({"user_info_modified", "user_authorization_revoke", "user_authorization_cancellation"})
# What is kept in Message.extra, under names that mean the same on every channel.
_EXTRA = {
    "Title": "title",
    "Description": "description",
    "Format": "format",
    "ThumbMediaId": "thumbnail",
    "bizmsgmenuid": "menu_id",  # a hint only: it is known to arrive as 0
    "AppId": "app_id",
    "PagePath": "page",
    "Url": "url",
    "MediaId": "media",
    "Ticket": "ticket",
    "Status": "status",
    "MsgID": "job",
    "TotalCount": "total",
    "FilterCount": "filtered",
    "SentCount": "sent",
    "ErrorCount": "errors",
}
_MEDIA_KINDS = {
    "image": MessageKind.IMAGE,
    "voice": MessageKind.VOICE,
    "video": MessageKind.VIDEO,
    "shortvideo": MessageKind.VIDEO,
}


# -- in ---------------------------------------------------------------------------------------------------------------


def message_of(channel: str, opened: Opened) -> Message:
    """The Message in an opened callback. What we do not know is kept as UNKNOWN; RefusedError when it has no sender."""
    fields = opened.fields
    sender = fields.get("FromUserName")
    if fields.get("Event").strip().lower() in _PRIVACY_EVENTS:
        sender = fields.get("OpenID") or sender
    if not _SENDER.fullmatch(sender):
        raise RefusedError(Reason.INNER_XML)
    kind = fields.get("MsgType").strip().lower()
    unknown = Message(
        channel=channel,
        sender=sender,
        platform_id=_platform_id(opened, kind),
        kind=MessageKind.UNKNOWN,
        sent_at=_sent_at(fields.get("CreateTime")),
        text=fields.get("Content"),
        extra={"type": kind[:40], **_kept(fields, "Title", "Description", "AppId", "PagePath", "Url", "MediaId")},
        grant=_BY_MESSAGE if kind and kind != "event" else None,
    )
    if kind == "event" and fields.get("Event").strip():
        return _event(unknown, opened)
    if fields.doubled:
        return unknown  # two readers could read two different messages: a person shall look at it
    if kind == "text" and "Content" in fields.values:
        # A tap on our own line of choices comes as a text with this field. The platform counts it as a tap on a menu,
        # so a whole window is not promised on its account: one typed word opens that.
        grant = _BY_TAP if "bizmsgmenuid" in fields.values else _BY_MESSAGE
        return replace(unknown, kind=MessageKind.TEXT, extra=_kept(fields, "bizmsgmenuid"), grant=grant)
    if kind in _MEDIA_KINDS and (media := _words(opened.parsed.media_id)):
        return replace(
            unknown,
            kind=_MEDIA_KINDS[kind],
            text=fields.get("Recognition") if kind == "voice" else "",
            media=media,
            url=fields.get("PicUrl"),
            extra=_kept(fields, "Format", "ThumbMediaId"),
        )
    if kind == "location":
        place, label = _place(opened.parsed), _words(opened.parsed.label)
        return replace(unknown, kind=MessageKind.LOCATION, text=label, location=place, extra={})
    if kind == "link":
        extra = _kept(fields, "Title", "Description")
        return replace(unknown, kind=MessageKind.LINK, url=_words(opened.parsed.url), extra=extra)
    return unknown


def _event(message: Message, opened: Opened) -> Message:
    fields, parsed = opened.fields, opened.parsed
    name = fields.get("Event").strip()
    # wechatpy knows a subscription by QR code as an event of its own; what it does not know has no event at all.
    kind = _EVENTS.get(_words(getattr(parsed, "event", "")), EventKind.OTHER)
    key = fields.get("EventKey")
    if kind is EventKind.SUBSCRIBE:
        key = key.removeprefix("qrscene_")
    # Where a resident is (event LOCATION, as often as every 5 seconds) is not kept: nobody asked for it, and he who
    # wants to say where he is sends a place.
    extra = _kept(fields, "Ticket", "Status", "MsgID")
    if name.lower() in _ACCOUNT_EVENTS:
        extra |= {"about": "account", **_kept(fields, "TotalCount", "FilterCount", "SentCount", "ErrorCount")}
    if notices := _notices(name, parsed):
        extra["notices"] = json.dumps(notices, ensure_ascii=False)
    grant = _BY_TAP if name.lower() in _TAPS else None
    event = Event(kind, key=key, name=name[:60])
    return replace(message, kind=MessageKind.EVENT, text="", event=event, extra=extra, grant=grant)


def _notices(name: str, parsed: Any) -> list[dict[str, str]]:
    """The items of an event about subscription notices: one `List` or many."""
    held = getattr(parsed, "_data", {}).get(_NOTICE_EVENTS.get(name.lower(), ""))
    items = held.get("List") if isinstance(held, dict) else None
    found = items if isinstance(items, list) else [items]
    names = {"TemplateId": "template", "SubscribeStatusString": "status", "MsgID": "job", "ErrorCode": "code"}
    return [
        {names[key]: _words(value).strip()[:80] for key, value in item.items() if key in names}
        for item in found[:_NOTICE_MOST]
        if isinstance(item, dict)
    ]


def _platform_id(opened: Opened, kind: str) -> str:
    """What stays the same when the platform delivers again: MsgId, or what an event is made of."""
    fields = opened.fields
    number = fields.get("MsgId").strip()
    if kind != "event" and re.fullmatch(r"[0-9]{1,20}", number):
        return number
    if kind == "event":
        name, when, key = fields.get("Event").strip().lower(), fields.get("CreateTime").strip(), fields.get("EventKey")
        if name in _JOB_EVENTS:
            when, key = "job", fields.get("MsgID").strip()
        elif name in _NOTICE_EVENTS:  # two of them in the same second differ in their items only
            key = json.dumps(_notices(name, opened.parsed))
        wanted = f"event:{when}:{name}:{key}"
    else:
        wanted = "message:" + repr(sorted(fields.values.items()))
    if len(wanted) <= _PLATFORM_ID_LIMIT and wanted.isprintable() and kind == "event":
        return wanted
    return f"{wanted.partition(':')[0]}:{hashlib.sha256(wanted.encode()).hexdigest()}"


def _sent_at(create_time: str) -> datetime:
    if re.fullmatch(r"[0-9]{1,10}", create_time.strip()):
        return datetime.fromtimestamp(int(create_time), UTC)
    return clock.now()


def _place(parsed: Any) -> Location | None:
    try:
        latitude, longitude = (float(_words(part)) for part in parsed.location)
    except ValueError:
        return None
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return Location(latitude, longitude, _words(parsed.label))


def _words(value: object) -> str:
    return value if isinstance(value, str) else ""  # wechatpy gives None, or a dict for an element with children


def _kept(fields: Fields, *names: str) -> dict[str, str]:
    return {_EXTRA[name]: fields.get(name) for name in names if fields.get(name)}


# -- out --------------------------------------------------------------------------------------------------------------


def with_choices(reply: Reply) -> str:
    """The words of a reply, its choices tappable: where they stand in the words, the others in a line below.

    Where links make it too long the line has plain words, then the words as well, and then there is no line.
    """
    if not reply.choices:
        return reply.text
    linked, rest = _linked(reply)
    plain = [choice.send for choice in rest if not choice.send.isdecimal()]  # a bare number says nothing
    for text, line in ((linked, map(_link, rest)), (linked, plain), (reply.text, plain)):
        whole = "\n\n▸ ".join(part for part in (text, _BETWEEN.join(line)) if part)
        if fits_passive(whole):
            return whole
    return reply.text


def _linked(reply: Reply) -> tuple[str, list[Choice]]:
    """The words with the first mention of each choice made tappable, and the choices that are not mentioned."""
    waiting = {choice.label: choice for choice in reply.choices}

    def tappable(found: re.Match[str]) -> str:
        choice = waiting.pop(found[0], None)
        return found[0] if choice is None else _link(choice)

    labels = sorted(waiting, key=len, reverse=True)  # of two that begin alike the longer one is meant
    return re.sub("|".join(map(re.escape, labels)), tappable, reply.text), list(waiting.values())


@lru_cache(maxsize=256)  # the same few choices stand under most answers
def _link(choice: Choice) -> str:
    """Sends its words when it is tapped."""
    return f'<a href="weixin://bizmsgmenu?msgmenucontent={quote(choice.send)}&msgmenuid=1">{choice.label}</a>'


def fits_passive(text: str) -> bool:
    return len(text) <= PASSIVE_LIMIT_CHARACTERS and len(text.encode()) <= PASSIVE_LIMIT_BYTES


def cut_for_passive(text: str) -> str:
    """`text` as far as one answer can carry it, with a hint that something is missing."""
    if fits_passive(text):
        return text
    room = text[: PASSIVE_LIMIT_CHARACTERS - len(_HINT)]
    return first_bytes(room, PASSIVE_LIMIT_BYTES - len(_HINT.encode())).rstrip() + _HINT


# How long a template's fields may be, by the beginning of their names; a longer one is refused as a whole (47003).
_FIELD_CHARACTERS = {"thing": 20, "phrase": 5, "name": 10, "character_string": 32, "number": 32, "const": 20}


def notice_fields(fields: Mapping[str, str], waiting: Waiting) -> dict[str, dict[str, str]]:
    """The fields of a notice, filled in and as long as the platform takes them; times as they are in China."""
    places = {
        "{station}": waiting.station,
        "{officer}": waiting.officer or "社区民警",
        "{time}": f"{waiting.at.astimezone(_CHINA):%Y-%m-%d %H:%M}",
    }
    filled = {}
    for name, words in fields.items():
        for place, value in places.items():
            words = words.replace(place, value)
        limit = _FIELD_CHARACTERS.get(re.sub(r"\d+$", "", name), len(words))
        filled[name] = {"value": words[:limit]}
    return filled
