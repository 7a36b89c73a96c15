"""Reading chat logs afterwards: search, a whole conversation, exports; each of them recorded with its reason."""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import residents
from bot.actions import review as actions
from bot.actions.errors import ActionError
from bot.console.dates import day, span_of_days
from bot.console.export import Table, as_csv, as_xlsx
from bot.console.sealed import seal, unseal
from bot.console.station_texts import AUTHORS
from bot.console.texts import CHANNELS, DECISIONS, KINDS, OUTCOMES
from bot.console.visit import Visit
from bot.message import MessageKind
from bot.security.masking import mask_name
from bot.store.access import access_conversation
from bot.store.models import Conversation, Officer, Outcome, StoredMessage
from bot.store.queries import conversation_messages, newest_deliveries, station_officers
from bot.store.search import PAGE_ROWS, Criteria, search
from bot.store.station_queries import (
    conversations_of,
    end_of_part,
    tickets_of_conversation,
    whole_conversation,
)

EXPORT_ROWS = 5000  # more than anybody reads; a spreadsheet of it still opens on an office machine
WORDS_CHARACTERS = 60
_EXCERPT_BEFORE, _EXCERPT_CHARACTERS = 40, 160
_CONTEXT_MESSAGES = 30  # said after the message that was found
_PURPOSE = "review"
_FIELDS = ("words", "resident", "author", "officer", "channel", "since", "until", "outcome", "decision", "why")
_PHONE = re.compile(r"1\d{10}")


# --- searching ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a message; `found` if it is one of the words looked for."""

    text: str
    found: bool


@dataclass(frozen=True, slots=True)
class Hit:
    message: StoredMessage
    conversation: Conversation
    pieces: list[Piece]


async def show(visit: Visit) -> web.StreamResponse:
    """The form; below it, when the address carries a search, a page of its results."""
    slip = visit.asked("s") or visit.text("s")
    asked = unseal(visit, _PURPOSE, slip) if slip else None
    filled = asked if asked is not None else {name: visit.text(name) for name in _FIELDS}
    values: dict[str, Any] = {"hits": None, "slip": slip, "found_words": (), "total": 0, "page": 1, "pages": 0}
    async with visit.store.read() as session:
        officers = await station_officers(session, visit.station_id)
    if asked is not None:
        values |= await _search(visit, asked)
    return visit.page(
        "review.html",
        filled=filled,
        officers=officers,
        authors=AUTHORS,
        outcomes=OUTCOMES,
        decisions=DECISIONS,
        channels=visit.desk.channels,
        export_rows=EXPORT_ROWS,
        why_characters=actions.WHY_CHARACTERS,
        words_characters=WORDS_CHARACTERS,
        lost=bool(slip) and asked is None,
        **values,
    )


async def submit(visit: Visit) -> web.StreamResponse:
    """Check the form; the search itself is an address that can be read again, paged and gone back to."""
    asked = {name: visit.text(name) for name in _FIELDS}
    actions.check_why(asked["why"])
    async with visit.store.read() as session:
        await _criteria(visit, session, asked)
    return visit.go(f"/console/review?s={seal(visit, _PURPOSE, asked)}", part="results")


async def _search(visit: Visit, asked: Mapping[str, str]) -> dict[str, Any]:
    page = max(1, visit.asked_number("page") or 1)
    async with visit.store.read() as session:
        criteria = await _criteria(visit, session, asked)
        messages, total = await _found(session, visit.station_id, criteria, page=page)
        found = await conversations_of(session, visit.station_id, {row.conversation_id or 0 for row in messages})
    async with visit.store.write() as session:
        await actions.searched(
            session, criteria or Criteria(), why=asked["why"], page=page, total=total, actor=visit.actor
        )
    words = criteria.words if criteria else ()
    hits = [
        Hit(message, found[message.conversation_id or 0], highlighted(excerpt(shown_text(message), words), words))
        for message in messages
    ]
    return {"hits": hits, "found_words": words, "total": total, "page": page, "pages": -(-total // PAGE_ROWS)}


async def _found(
    session: AsyncSession, station_id: int, criteria: Criteria | None, *, page: int = 1, rows: int = PAGE_ROWS
) -> tuple[Sequence[StoredMessage], int]:
    return ((), 0) if criteria is None else await search(session, station_id, criteria, page=page, rows=rows)


async def _criteria(visit: Visit, session: AsyncSession, asked: Mapping[str, str]) -> Criteria | None:
    """What to look for; None when the resident asked for is not known, so that nothing can be found."""
    if len(asked["words"]) > WORDS_CHARACTERS:
        raise ActionError(f"搜索的词语最多 {WORDS_CHARACTERS} 个字，请精简。")
    since, until = span_of_days(day(asked["since"], "开始日期"), day(asked["until"], "结束日期"), visit.desk.zone)
    officer = asked["officer"]
    if officer and not (officer.isascii() and officer.isdecimal() and len(officer) <= 18):
        raise ActionError("请从列表中选择民警。")
    for value, offered in (
        (asked["author"], AUTHORS),
        (asked["channel"], visit.desk.channels),
        (asked["outcome"], {outcome.value for outcome in Outcome}),
        (asked["decision"], DECISIONS),
    ):
        if value and value not in offered:
            raise ActionError("有一项条件不在列表中，请重新选择。")
    numbers = await _resident_numbers(session, visit.station_id, asked["resident"])
    if asked["resident"] and not numbers:
        return None
    return Criteria(
        words=searched_words(asked["words"], visit.desk.runtime.knowledge.words),
        resident_ids=numbers,
        officer_id=int(officer) if officer else None,
        author=asked["author"] or None,
        channel=asked["channel"] or None,
        since=since,
        until=until,
        outcome=asked["outcome"] or None,
        decision=asked["decision"] or None,
    )


def searched_words(typed: str, cut: Any) -> tuple[str, ...]:
    """The words as the index knows them, each once, in the order typed."""
    words: Iterable[str] = cut(typed)
    return tuple(dict.fromkeys(word.casefold() for word in words if word.strip()))


async def _resident_numbers(session: AsyncSession, station_id: int, typed: str) -> tuple[int, ...]:
    """Residents of exactly this name or phone: both are encrypted, so there is no search by parts."""
    if not typed:
        return ()
    if _PHONE.fullmatch(typed.replace(" ", "").replace("-", "")):
        found = await residents.find_by_phone(session, station_id, typed.replace(" ", "").replace("-", ""))
        return (found.id,) if found else ()
    return tuple(row.id for row in await residents.find_by_name(session, station_id, typed))


def shown_text(message: StoredMessage) -> str:
    """The words of a message, or what it was instead of words."""
    if message.forgotten:
        return "（内容已按保存期限清除）"
    if message.recalled:
        return "（已撤回）"
    kind = "" if message.kind is MessageKind.TEXT else KINDS.get(message.kind, "")
    return f"{kind}{message.body}"


def excerpt(text: str, words: Sequence[str]) -> str:
    """The part of a long text around the first word that was looked for."""
    if len(text) <= _EXCERPT_CHARACTERS:
        return text
    places = [place for word in words if (place := text.casefold().find(word)) >= 0]
    start = max(0, min(places, default=0) - _EXCERPT_BEFORE)
    part = text[start : start + _EXCERPT_CHARACTERS]
    return ("…" if start else "") + part + ("…" if start + _EXCERPT_CHARACTERS < len(text) else "")


def highlighted(text: str, words: Sequence[str]) -> list[Piece]:
    """The text in pieces, so that the template can mark the words without anybody's HTML."""
    if not words:
        return [Piece(text, found=False)]
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile("(" + "|".join(re.escape(word) for word in longest_first) + ")", re.IGNORECASE)
    return [Piece(part, found=n % 2 == 1) for n, part in enumerate(pattern.split(text)) if part]


# --- one conversation -----------------------------------------------------------------------------------------------


async def conversation(visit: Visit) -> web.StreamResponse:
    """A conversation as it was, with what the bot made of each message; first the reason, if none came along."""
    number = visit.number("id")
    asked = unseal(visit, _PURPOSE, visit.asked("s"))
    if asked is None:
        async with visit.store.read() as session:
            await access_conversation(session, visit.station_id, number)
        return visit.page("review_why.html", number=number, why_characters=actions.WHY_CHARACTERS)
    found = visit.asked_number("m")
    async with visit.store.read() as session:
        row = await access_conversation(session, visit.station_id, number)
        before = visit.asked_number("before")
        if before is None and found is not None:
            before = await end_of_part(session, visit.station_id, number, found, after=_CONTEXT_MESSAGES)
        messages, older = await conversation_messages(session, visit.station_id, [number], before=before)
        newer = await end_of_part(session, visit.station_id, number, messages[-1].id, after=0) if messages else None
        newer_end = await end_of_part(session, visit.station_id, number, messages[-1].id, after=100) if newer else None
        deliveries = await newest_deliveries(session, [message.id for message in messages])
        tickets = await tickets_of_conversation(session, visit.station_id, number)
        officers = await station_officers(session, visit.station_id)
    async with visit.store.write() as session:
        shown = [message.id for message in messages]
        await actions.opened(session, number, shown, why=asked["why"], actor=visit.actor)
    return visit.page(
        "review_conversation.html",
        row=row,
        messages=messages,
        older=older,
        newer=newer is not None,
        newer_end=newer_end,
        deliveries=deliveries,
        tickets=tickets,
        officers=officers,
        found=found,
        slip=visit.asked("s"),
        why=asked["why"],
    )


async def give_reason(visit: Visit) -> web.StreamResponse:
    """A conversation was opened by its address alone: the reason comes now."""
    why = visit.text("why")
    actions.check_why(why)
    asked = dict.fromkeys(_FIELDS, "") | {"why": why}
    return visit.go(f"/console/review/{visit.number('id')}?s={seal(visit, _PURPOSE, asked)}")


# --- exports --------------------------------------------------------------------------------------------------------

_COLUMNS: Final = ("时间", "对话编号", "居民", "社区", "渠道", "谁说的", "内容", "机器人判断", "知识主题")
_FORMS = {
    "csv": ("text/csv", as_csv),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", as_xlsx),
}


async def export_results(visit: Visit) -> web.StreamResponse:
    """All results of a search as a file."""
    asked = _slip_of_form(visit)
    async with visit.store.read() as session:
        criteria = await _criteria(visit, session, asked)
        messages, total = await _found(session, visit.station_id, criteria, rows=EXPORT_ROWS)
        if total > EXPORT_ROWS:
            raise ActionError(f"结果有 {total} 条，一次最多导出 {EXPORT_ROWS} 条，请缩小日期范围后再导出。")
        table = await _table(visit, session, messages[::-1], asked["why"])
    return await _file(visit, table, f"station:{visit.station_id}", criteria or Criteria(), asked["why"], "search")


async def export_conversation(visit: Visit) -> web.StreamResponse:
    """One whole conversation as a file."""
    asked, number = _slip_of_form(visit), visit.number("id")
    async with visit.store.read() as session:
        await access_conversation(session, visit.station_id, number)
        messages = await whole_conversation(session, visit.station_id, number, most=EXPORT_ROWS)
        table = await _table(visit, session, messages, asked["why"])
    return await _file(visit, table, f"conversation:{number}", None, asked["why"], f"conversation-{number}")


def _slip_of_form(visit: Visit) -> dict[str, Any]:
    asked = unseal(visit, _PURPOSE, visit.text("s"))
    if asked is None:
        raise ActionError("这次查阅已经过期，请重新搜索后再导出。")
    return asked


async def _table(visit: Visit, session: AsyncSession, messages: Sequence[StoredMessage], why: str) -> Table:
    numbers = {message.conversation_id or 0 for message in messages}
    found = await conversations_of(session, visit.station_id, numbers)
    officers = await station_officers(session, visit.station_id)
    officer, station = visit.officer, visit.desk.runtime.station
    head = [
        ("导出单位", station.name),
        ("导出人", f"{officer.name} {officer.badge}".strip()),
        ("导出时间", _stamp(visit, clock.now())),
        ("导出原因", why),
        ("记录条数", str(len(messages))),
        ("说明", "居民姓名已作隐藏处理。文件校验值（SHA-256）记在审计日志中，可核对文件是否被改动。"),
    ]
    rows = [_row(visit, message, found[message.conversation_id or 0], officers) for message in messages]
    return Table(head, _COLUMNS, rows)


def _stamp(visit: Visit, moment: datetime) -> str:
    return f"{visit.local(moment):%Y-%m-%d %H:%M:%S}"


def _row(
    visit: Visit, message: StoredMessage, conversation: Conversation, officers: Mapping[int, Officer]
) -> Sequence[str]:
    resident, entries = conversation.resident, visit.desk.runtime.knowledge.entries
    topic = entries.get(message.topic or "")
    channel = CHANNELS.get(visit.desk.channels.get(message.channel, ""), message.channel)
    return (
        _stamp(visit, message.created_at),
        str(conversation.id),
        f"{mask_name(resident.name)}（{resident.id}）",
        resident.community.name if resident.community else "",
        channel,
        author_name(message, officers),
        shown_text(message),
        DECISIONS.get(message.decision or "", ""),
        topic.title if topic else (message.topic or ""),
    )


def author_name(message: StoredMessage, officers: Mapping[int, Officer]) -> str:
    officer = officers.get(message.officer_id or 0)
    return AUTHORS[message.author] + (f" {officer.name}" if officer else "")


async def _file(
    visit: Visit, table: Table, subject: str, criteria: Criteria | None, why: str, name: str
) -> web.StreamResponse:
    form = visit.text("form")
    if form not in _FORMS:
        raise ActionError("请选择导出为 Excel 或 CSV。")
    content_type, write = _FORMS[form]
    content = await asyncio.to_thread(write, table)  # a thousand rows of a spreadsheet take half a second
    async with visit.store.write() as session:
        await actions.exported(
            session,
            subject,
            criteria=criteria,
            rows=len(table.rows),
            form=form,
            sha256=hashlib.sha256(content).hexdigest(),
            why=why,
            actor=visit.actor,
        )
    file_name = f"{name}-{visit.local(clock.now()):%Y%m%d-%H%M%S}.{form}"
    return web.Response(
        body=content,
        content_type=content_type,
        charset="utf-8" if form == "csv" else None,
        headers={"Content-Disposition": f"attachment; filename=\"{file_name}\"; filename*=UTF-8''{quote(file_name)}"},
    )
