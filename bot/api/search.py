"""Search in the chat logs, with a reason; each page that was shown stands in the audit log.

By POST, because an address with a resident's words in it stays in the logs of whoever passes it on.
"""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from bot.actions import review
from bot.api.call import LARGEST_ID, Call
from bot.api.guard import invalid
from bot.api.problems import FieldError
from bot.api.shapes import Answer, MaskedResident, Moment, Page, Paged, Person, Text
from bot.api.texts import NO_WORDS, TOO_MANY_WORDS
from bot.store.models import Author, Conversation, Officer, Outcome, StoredMessage
from bot.store.queries import station_officers
from bot.store.search import PAGE_ROWS, Criteria
from bot.store.search import search as find
from bot.store.station_queries import conversations_of

MOST_WORDS = 20  # each is a join


class Asked(Paged):
    reason: Text = Field(min_length=2, max_length=review.WHY_CHARACTERS, description="查阅原因，记入审计日志")
    q: Text = Field("", max_length=60, description="要找的词，全部出现才算找到")
    officer_id: int | None = Field(None, ge=1, le=LARGEST_ID)
    channel: Text | None = Field(None, max_length=40)
    since: Moment | None = None
    until: Moment | None = None
    outcome: Outcome | None = None
    decision: Text | None = Field(None, max_length=20)


class Found(Answer):
    id: int
    conversation_id: int
    at: datetime
    author: Author
    officer: Person | None
    resident: MaskedResident
    channel: str
    text: str
    forgotten: bool = Field(description="内容已按保存期限清除")
    decision: str | None
    topic: str | None


class FoundPage(Page):
    total: int
    messages: tuple[Found, ...]


async def search(call: Call, asked: Asked) -> FoundPage:
    criteria = _criteria(call, asked)
    async with call.store.read() as session:
        rows, total = await find(session, call.station_id, criteria, page=asked.page)
        numbers = {row.conversation_id for row in rows if row.conversation_id is not None}
        conversations = await conversations_of(session, call.station_id, numbers)
        officers = await station_officers(session, call.station_id)
    async with call.store.write() as session:
        await review.searched(session, criteria, why=asked.reason, page=asked.page, total=total, actor=call.actor)
    return FoundPage(
        page=asked.page,
        more=total > (asked.page - 1) * PAGE_ROWS + len(rows),
        total=total,
        messages=tuple(_found(row, conversations, officers) for row in rows),
    )


def _criteria(call: Call, asked: Asked) -> Criteria:
    words = tuple(dict.fromkeys(word.casefold() for word in call.runtime.knowledge.words(asked.q) if word.strip()))
    if asked.q and not words:  # only signs: that would find everything
        raise invalid(FieldError(field="q", detail=NO_WORDS))
    if len(words) > MOST_WORDS:
        raise invalid(FieldError(field="q", detail=TOO_MANY_WORDS.format(most=MOST_WORDS)))
    return Criteria(
        words=words,
        officer_id=asked.officer_id,
        channel=asked.channel,
        since=asked.since,
        until=asked.until,
        outcome=asked.outcome,
        decision=asked.decision,
    )


def _found(row: StoredMessage, conversations: Mapping[int, Conversation], officers: Mapping[int, Officer]) -> Found:
    conversation = conversations[row.conversation_id or 0]
    officer = officers.get(row.officer_id or 0)
    return Found(
        id=row.id,
        conversation_id=conversation.id,
        at=row.created_at,
        author=row.author,
        officer=Person.of(officer) if officer else None,
        resident=MaskedResident.of(conversation.resident),
        channel=row.channel,
        text=row.body,
        forgotten=row.forgotten,
        decision=row.decision,
        topic=row.topic,
    )
