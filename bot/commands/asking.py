"""Asking the knowledge from the command line, measuring it, and adding a station's own entries."""

import json
from argparse import Namespace

from bot.commands import CommandError
from bot.message import TEXT_LIMIT_CHARACTERS
from handlers.texts import text
from knowledge import Decision, Knowledge, KnowledgeError, Match, evaluate, explain, read_questions, write_predictions

_TOPIC_ANSWERS = frozenset({Decision.ANSWER, Decision.OFFICER, Decision.REFER})


def ask(arguments: Namespace) -> None:
    """What the bot would do with each text; each is the follow-up of the one before it."""
    knowledge = _load()
    previous: str | None = None
    for said in arguments.texts:
        match = knowledge.match(said, previous_topic=previous)
        previous = match.topic or previous
        reply = _reply(knowledge, match)
        if arguments.json:
            print(json.dumps(explain(match, reply), ensure_ascii=False))
            continue
        print(f"{said}\n  decision: {match.decision}   topic: {match.topic or '-'}")
        for candidate in match.candidates:
            print(f"  {candidate.score:6.3f}  {candidate.topic}  {candidate.title}")
        if match.perhaps is not None:
            print(f"  perhaps: {match.perhaps}")
        print(f"  decided by: {' '.join(match.words) or '-'}\n")
        print("\n".join(f"    {line}" for line in reply.splitlines()) + "\n")


def _load() -> Knowledge:
    try:
        return Knowledge.load()
    except KnowledgeError as error:
        raise CommandError(str(error)) from error


def _reply(knowledge: Knowledge, match: Match) -> str:
    """The words a resident would read first; what the queue adds depends on the queue."""
    line = "" if match.perhaps is None else text("perhaps", english=match.language == "en") + "\n\n"
    return line + _after_line(knowledge, match, TEXT_LIMIT_CHARACTERS - len(line))


def _after_line(knowledge: Knowledge, match: Match, room: int) -> str:
    english = match.language == "en"
    if match.topic is not None and match.decision is Decision.URGENT:
        return knowledge.emergency_card(match.topic, match.language)
    if match.topic is not None and match.decision in _TOPIC_ANSWERS:
        return knowledge.answer(match.topic, facet=match.facet, language=match.language, limit=room)
    if match.decision is Decision.CLARIFY:
        options = "\n".join(f"{n}. {candidate.title}" for n, candidate in enumerate(match.candidates[:3], 1))
        return text("clarify", english=english, options=options)
    if match.decision is Decision.CHAT:
        return match.reply or ""
    return text("offer_officer", english=english)


def measure(arguments: Namespace) -> None:
    """The matcher on labelled questions."""
    try:
        report = evaluate(_load(), read_questions(arguments.file))
        if arguments.predictions:
            write_predictions(arguments.predictions, report)
    except (KnowledgeError, OSError) as error:
        raise CommandError(str(error)) from error
    print(json.dumps(report.as_dict(), ensure_ascii=False) if arguments.json else report.as_text())
