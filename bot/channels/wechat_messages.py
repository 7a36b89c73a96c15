"""What WeChat pushes, as a Message; what we say, as words and menus of WeChat."""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from bot import clock
from bot.channels.wechat_envelope import Fields, Opened, Reason, RefusedError
from bot.message import Choice, Event, EventKind, Location, Message, MessageKind, Reply

PASSIVE_LIMIT_CHARACTERS = 600  # both limits hold: one was seen to fail at 628 characters, one at 2048 bytes
PASSIVE_LIMIT_BYTES = 2000
PART_LIMIT_BYTES = 2048  # message/custom/send answers 45002 above it

_PLATFORM_ID_LIMIT = 100  # as long as the column
_SENDER = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_BETWEEN: Final = " · "
_HINT = "……\n（内容较长，未能全部显示。请把问题说得更具体些，再问一次。）"
_BREAKS = ("\n\n", "\n", "。", "！", "？", "；", ". ", "，", " ")  # where a long text may be parted, the best first

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
    fields, parsed = opened.fields, opened.parsed
    sender = fields.get("FromUserName")
    if not _SENDER.fullmatch(sender):
        raise RefusedError(Reason.INNER_XML)
    kind = fields.get("MsgType").strip().lower()
    unknown = Message(
        channel=channel,
        sender=sender,
        platform_id=_platform_id(fields, kind),
        kind=MessageKind.UNKNOWN,
        sent_at=_sent_at(fields.get("CreateTime")),
        text=fields.get("Content"),
        extra={"type": kind[:40], **_kept(fields, "Title", "Description", "AppId", "PagePath", "Url", "MediaId")},
    )
    if kind == "event" and fields.get("Event").strip():
        return _event(unknown, fields, parsed)
    if fields.doubled:
        return unknown  # two readers could read two different messages: a person shall look at it
    if kind == "text" and "Content" in fields.values:
        return replace(unknown, kind=MessageKind.TEXT, extra=_kept(fields, "bizmsgmenuid"))
    if kind in _MEDIA_KINDS and _words(parsed.media_id):
        return replace(
            unknown,
            kind=_MEDIA_KINDS[kind],
            text=fields.get("Recognition") if kind == "voice" else "",
            media=_words(parsed.media_id),
            url=fields.get("PicUrl"),
            extra=_kept(fields, "Format", "ThumbMediaId"),
        )
    if kind == "location":
        place = _place(parsed)
        return replace(unknown, kind=MessageKind.LOCATION, text=_words(parsed.label), location=place, extra={})
    if kind == "link":
        extra = _kept(fields, "Title", "Description")
        return replace(unknown, kind=MessageKind.LINK, url=_words(parsed.url), extra=extra)
    return unknown


def _event(message: Message, fields: Fields, parsed: Any) -> Message:
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
        extra["about"] = "account"
    return replace(message, kind=MessageKind.EVENT, text="", event=Event(kind, key=key, name=name[:60]), extra=extra)


def _platform_id(fields: Fields, kind: str) -> str:
    """What stays the same when the platform delivers again: MsgId, or what an event is made of."""
    number = fields.get("MsgId").strip()
    if kind != "event" and re.fullmatch(r"[0-9]{1,20}", number):
        return number
    if kind == "event":
        name, when, key = fields.get("Event").strip().lower(), fields.get("CreateTime").strip(), fields.get("EventKey")
        if name in _JOB_EVENTS:
            when, key = "job", fields.get("MsgID").strip()
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

    Where links make it too long the line has plain words, and where that is too long there is none.
    """
    if not reply.choices:
        return reply.text
    linked, rest = _linked(reply)
    plain = [choice.send for choice in rest if not choice.send.isdecimal()]  # a bare number says nothing
    for text, line in ((linked, map(_link, rest)), (reply.text, plain)):
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
    return _first_bytes(room, PASSIVE_LIMIT_BYTES - len(_HINT.encode())).rstrip() + _HINT


def parts_of(text: str, limit_bytes: int = PART_LIMIT_BYTES) -> Iterator[str]:
    """`text` in parts of at most `limit_bytes`, in order, parted between lines or sentences where it wastes little."""
    while len(text.encode()) > limit_bytes:
        head = _first_bytes(text, limit_bytes)
        for mark in _BREAKS:
            place = head.rfind(mark)
            if place >= len(head) // 2:
                head = head[: place + len(mark)]
                break
        if head.strip():
            yield head.rstrip("\n")
        text = text[len(head) :].lstrip("\n")
    if text.strip():
        yield text


def _first_bytes(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")  # a character cut in two is left out
