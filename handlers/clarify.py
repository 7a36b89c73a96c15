""" "Did you mean": up to three numbered choices when several topics are close; a number or the words choose."""

from bot.message import Choice, Reply
from bot.router import Answer, Context, Router, Turn, has_text, in_dialogue
from handlers.questions import ROUTE_DECISIONS, answer_topic, title_of
from handlers.queue import answer_with_queue
from handlers.texts import text
from knowledge import Decision, KnowledgeEntry

choices = Router("clarify choice")  # before the menu: a bare "2" means the second choice
router = Router("clarify")

_MOST = 3
_NONE = {False: Choice("都不是，找民警", "0"), True: Choice("None of these: officer", "0")}  # by: in English
_NONE_OF_THESE = (*(choice.label for choice in _NONE.values()), "0", "０", "都不是", "没有", "none", "都不对")
_NUMBERS = {
    "1": 0,
    "１": 0,
    "一": 0,
    "第一个": 0,
    "2": 1,
    "２": 1,
    "二": 1,
    "第二个": 1,
    "3": 2,
    "３": 2,
    "三": 2,
    "第三个": 2,
}


@choices.handle(in_dialogue("clarify"), has_text)
async def chosen(context: Context) -> Answer | None:
    said = context.text.strip("。.、 ")
    topics: list[str] = list(context.dialogue["topics"])
    question = str(context.dialogue["question"])
    if said in _NONE_OF_THESE:

        async def queue(turn: Turn) -> Reply:
            return await answer_with_queue(turn, "", topic=None, subject=question)

        return Answer(None, Decision.OFFICER, act=queue)
    number = _NUMBERS.get(said)
    entries = [context.knowledge.entries.get(topic) for topic in topics]  # one may have gone since
    if number is None:
        number = next((n for n, entry in enumerate(entries) if entry and said in _titles(entry)), None)
    entry = entries[number] if number is not None and number < len(entries) else None
    if entry is None:
        return None  # a new question
    decision = ROUTE_DECISIONS[entry.route] if entry.written else Decision.OFFICER
    return answer_topic(context, entry.topic, decision, None, question)


def _titles(entry: KnowledgeEntry) -> tuple[str, str]:
    """In both languages: some platforms send back the label that was tapped."""
    return entry.title, str((entry.english or {}).get("title", entry.title))


@router.handle(has_text)
async def did_you_mean(context: Context) -> Answer | None:
    match = context.match
    if match.decision is not Decision.CLARIFY or not match.candidates:
        return None
    topics = [candidate.topic for candidate in match.candidates[:_MOST]]
    titles = [title_of(context, topic) for topic in topics]
    options = "\n".join(f"{number}. {title}" for number, title in enumerate(titles, 1))
    buttons = tuple(Choice(title, str(number)) for number, title in enumerate(titles, 1))
    return Answer(
        Reply(text("clarify", english=context.english, options=options), (*buttons, _NONE[context.english])),
        Decision.CLARIFY,
        dialogue={"name": "clarify", "topics": topics, "question": context.text, "english": context.english},
        match=match,
    )
