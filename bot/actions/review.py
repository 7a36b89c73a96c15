"""Reading what others said: each search, opening and export of chat logs stands in the audit log with its reason."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.store.encryption import blind_index
from bot.store.search import Criteria

WHY_CHARACTERS = 100
_LEAST_CHARACTERS = 2


def check_why(why: str) -> None:
    """A reason somebody can check later: not empty, not a novel."""
    if len(why.strip()) < _LEAST_CHARACTERS:
        raise ActionError("请写明查阅的原因，例如“核实 3 月 5 日投诉”。原因会记入审计日志。")
    if len(why) > WHY_CHARACTERS:
        raise ActionError(f"原因最多 {WHY_CHARACTERS} 个字，请写简短些。")


def _in_figures(criteria: Criteria) -> dict[str, object]:
    """What was looked for, without the words: who reads the audit log must not learn what residents may have said.

    The hash lets two searches be recognised as the same one.
    """
    found: dict[str, object] = {}
    if criteria.words:
        found["words"] = len(criteria.words)
        found["words_hash"] = f"{blind_index(' '.join(sorted(criteria.words)), 'audit'):x}"
    if criteria.resident_ids:
        found["residents"] = list(criteria.resident_ids)
    if criteria.officer_id is not None:
        found["officer"] = criteria.officer_id
    for name in ("author", "channel", "outcome", "decision"):
        if value := getattr(criteria, name):
            found[name] = value
    for name in ("since", "until"):
        if moment := getattr(criteria, name):
            found[name] = moment.isoformat()
    return found


async def searched(session: AsyncSession, criteria: Criteria, *, why: str, page: int, total: int, actor: Actor) -> None:
    """A page of results was shown."""
    details = {**_in_figures(criteria), "page": page, "total": total}
    await record(session, actor, "review.searched", f"station:{actor.station_id}", why=why, details=details)


async def opened(
    session: AsyncSession, conversation_id: int, messages: Sequence[int], *, why: str, actor: Actor
) -> None:
    """A part of a conversation was shown; `messages` are the numbers of the first and the last one."""
    await record(
        session,
        actor,
        "review.opened",
        f"conversation:{conversation_id}",
        why=why,
        details={"from": messages[0], "to": messages[-1]} if messages else {},
    )


async def exported(
    session: AsyncSession,
    subject: str,
    *,
    criteria: Criteria | None,
    rows: int,
    form: str,
    sha256: str,
    why: str,
    actor: Actor,
) -> None:
    """A file left the house; its hash says later whether a file that turned up is this one, unchanged."""
    details = {**(_in_figures(criteria) if criteria else {}), "rows": rows, "form": form, "sha256": sha256}
    await record(session, actor, "review.exported", subject, why=why, details=details)
