"""Search in chat logs: words of messages as blind indexes, found by all the words asked for."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import LargeBinary, Select, delete, func, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.store.bulk import insert_if_new
from bot.store.encryption import EncryptionError, blind_index, decrypt
from bot.store.models import Author, Conversation, Officer, SearchWord, StoredMessage, Ticket
from bot.store.types import EncryptedText

log = logging.getLogger(__name__)

Words = Callable[[str], Iterable[str]]  # the knowledge's own word splitter

MARKED_AT_ONCE = 200  # short transactions: residents wait behind them
INDEXED_AT_ONCE = 50
PAGE_ROWS = 30
_PURPOSE, _TEXT = "search", "text"


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a reviewer looks for; empty fields do not narrow."""

    words: tuple[str, ...] = ()
    resident_ids: tuple[int, ...] = ()
    officer_id: int | None = None
    author: str | None = None
    channel: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: str | None = None
    decision: str | None = None


def word_indexes(text: str, words: Words) -> list[int]:
    """The blind indexes of a text's words, each once."""
    return sorted({blind_index(word.casefold(), _PURPOSE) for word in words(text) if word.strip()})


def text_index(text: str) -> int:
    """The blind index of a whole text: what is said to many is indexed once."""
    return blind_index(text, _TEXT)


async def index_pending(session: AsyncSession, station_id: int, words: Words) -> int:
    """Index some of the messages that are not indexed yet; how many, 0 when nothing is left.

    Most say what was said before: they are found already, and need only be marked.
    """
    rows = await session.execute(
        select(StoredMessage.id, StoredMessage.text_index)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.indexed.is_(False),
            StoredMessage.conversation_id.is_not(None),
        )
        .order_by(StoredMessage.id)
        .limit(MARKED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    pending = {row.id: row.text_index for row in rows}
    known = await _known_texts(session, station_id, pending.values())
    marked = [number for number, text in pending.items() if text in known]
    read = await _index(session, station_id, [number for number in pending if pending[number] not in known], words)
    if marked:
        await session.execute(
            update(StoredMessage)
            .where(StoredMessage.id.in_(marked))
            .values(indexed=True)
            .execution_options(synchronize_session=False)
        )
    return len(marked) + read


async def _known_texts(session: AsyncSession, station_id: int, texts: Iterable[int | None]) -> set[int]:
    """Those of the texts whose words are in the index."""
    wanted = {text for text in texts if text is not None}
    known = select(SearchWord.text).where(SearchWord.station_id == station_id, SearchWord.text.in_(wanted)).distinct()
    return set((await session.execute(known)).scalars())


async def _index(session: AsyncSession, station_id: int, message_ids: Sequence[int], words: Words) -> int:
    """Read the first of these messages and put their words into the index; how many were read."""
    if not message_ids:
        return 0
    first = message_ids[:INDEXED_AT_ONCE]
    sealed = select(StoredMessage.id, type_coerce(StoredMessage.body, LargeBinary)).where(StoredMessage.id.in_(first))
    read = {
        number: body for number, blob in await session.execute(sealed) if (body := _opened(number, blob)) is not None
    }
    texts = {number: text_index(body) for number, body in read.items()}
    bodies = {texts[number]: body for number, body in read.items()}
    known = await _known_texts(session, station_id, bodies)  # a row without its text's index may say what others said
    found = [
        {"station_id": station_id, "word": word, "text": text}
        for text, body in bodies.items()
        if text not in known
        for word in word_indexes(body, words)
    ]
    if found:
        await session.execute(insert_if_new(session, SearchWord), found)  # another process may index the same text
    await session.execute(
        update(StoredMessage), [{"id": number, "indexed": True, "text_index": texts.get(number)} for number in first]
    )
    return len(first)


def _opened(message_id: int, blob: bytes) -> str | None:
    """The text of a message; None if it was damaged: it can be found by its resident and date, not by its words."""
    try:
        return EncryptedText.from_bytes(decrypt(blob))
    except EncryptionError as error:
        log.error("a message cannot be read", extra={"message_id": message_id, "why": str(error)})
        return None


async def forget_texts(session: AsyncSession, station_id: int, texts: Sequence[int]) -> None:
    """Take words out of the index that no message has any more; the messages' own `text_index` is gone already."""
    still = select(StoredMessage.text_index).where(
        StoredMessage.station_id == station_id, StoredMessage.text_index.in_(texts)
    )
    kept = set((await session.execute(still)).scalars())
    gone = [text for text in texts if text not in kept]
    await session.execute(delete(SearchWord).where(SearchWord.station_id == station_id, SearchWord.text.in_(gone)))


async def search(
    session: AsyncSession, station_id: int, criteria: Criteria, *, page: int = 1, rows: int = PAGE_ROWS
) -> tuple[Sequence[StoredMessage], int]:
    """One page of the messages that fit (`rows` on a page), newest first, and how many fit in all."""
    query = _matching(station_id, criteria)
    total = (await session.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
    ids = query.order_by(StoredMessage.id.desc()).limit(rows).offset((page - 1) * rows)
    found = await session.execute(
        select(StoredMessage).where(StoredMessage.id.in_(ids.scalar_subquery())).order_by(StoredMessage.id.desc())
    )
    return list(found.scalars()), total


def _matching(station_id: int, criteria: Criteria) -> Select[int]:
    query = select(StoredMessage.id).where(
        StoredMessage.station_id == station_id, StoredMessage.conversation_id.is_not(None)
    )
    for word in criteria.words:
        indexed = aliased(SearchWord)
        query = query.join(
            indexed,
            (indexed.text == StoredMessage.text_index)
            & (indexed.station_id == station_id)
            & (indexed.word == blind_index(word.casefold(), _PURPOSE)),
        )
    if criteria.resident_ids:
        query = query.join(Conversation, Conversation.id == StoredMessage.conversation_id).where(
            Conversation.resident_id.in_(criteria.resident_ids)
        )
    if criteria.officer_id is not None:
        query = query.where(StoredMessage.officer_id == criteria.officer_id)
    if criteria.author:
        query = query.where(StoredMessage.author == Author(criteria.author))
    if criteria.channel:
        query = query.where(StoredMessage.channel == criteria.channel)
    if criteria.since is not None:
        query = query.where(StoredMessage.created_at >= criteria.since)
    if criteria.until is not None:
        query = query.where(StoredMessage.created_at < criteria.until)
    if criteria.decision:
        query = query.where(StoredMessage.decision == criteria.decision)
    if criteria.outcome:
        closed = select(Ticket.conversation_id).where(
            Ticket.station_id == station_id, Ticket.outcome == criteria.outcome
        )
        query = query.where(StoredMessage.conversation_id.in_(closed))
    return query


async def officers(session: AsyncSession, station_id: int) -> list[Officer]:
    """Everybody who may have spoken, for the search form."""
    rows = await session.execute(select(Officer).where(Officer.station_id == station_id).order_by(Officer.name))
    return list(rows.scalars())
