"""What a change of the knowledge would do to all labelled questions, before it goes live."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bot import clock
from bot.actions.errors import ActionError
from knowledge import Changed, Knowledge, KnowledgeError, Question, compare, labelled_phrases, read_questions

SHIPPED_ONE_IN: Final = 12  # of the shipped phrases every twelfth is asked again: 2,000 questions in a second or two
_LEAST_HELD = 4
_KEPT_CHANGES = 100

Content = Mapping[str, Any]


def labelled_questions(file: Path | None) -> list[Question]:
    """The station's labelled questions, if its settings name a file. Takes a thread."""
    if file is None:
        return []
    try:
        return read_questions(file)
    except KnowledgeError as error:
        raise ActionError(f"标注问题文件读不了，请联系管理员核对设置 knowledge.questions（{error}）") from error


def measure(
    before: Knowledge,
    own: Mapping[str, Content],
    changes: Mapping[str, Content],
    labelled: Sequence[Question],
    versions: Sequence[int],
) -> dict[str, Any]:
    """What `changes` (content by topic; `own` is what is live) would do to all labelled questions. Takes a thread.

    Asked are the labelled questions, every phrase of the station's own, and the same twelfth of the shipped phrases.
    """
    after = _loaded({**own, **changes})
    fresh = {topic: _fresh_phrases(content, own.get(topic, {})) for topic, content in changes.items()}
    new = [Question(phrase, topic) for topic, phrases in fresh.items() for phrase in phrases]
    kept = [Question(phrase, topic) for topic, content in own.items() for phrase in content.get("phrases", ())]
    sample = list(labelled_phrases(before.shipped, one_in=SHIPPED_ONE_IN))
    figures, worse, better = [], [], 0
    for name, questions in (("labelled", labelled), ("own", kept), ("shipped", sample), ("new", new)):
        result = compare(before, after, questions)
        figures.append([name, result.questions, result.right_before, result.right_after])
        worse += [_in_words(changed) for changed in result.worse]
        better += len(result.better) if name != "new" else 0
    return {
        "versions": list(versions),
        "at": clock.now().isoformat(),
        "figures": figures,
        "worse": worse[:_KEPT_CHANGES],
        "worse_count": len(worse),
        "better_count": better,
        "held": _held_out(own, changes, fresh),
    }


def _loaded(own: Mapping[str, Content]) -> Knowledge:
    return Knowledge.load(own=[{**content, "topic": topic} for topic, content in own.items()])


def _fresh_phrases(content: Content, live_content: Content) -> list[str]:
    old = set(live_content.get("phrases", ()))
    return [phrase for phrase in content.get("phrases", ()) if phrase not in old]


def _held_out(
    own: Mapping[str, Content], changes: Mapping[str, Content], fresh: Mapping[str, Sequence[str]]
) -> list[int] | None:
    """Taught every other new phrase only: how many of the rest, which it then has not seen, would it know?"""
    rest = {topic: phrases[1::2] for topic, phrases in fresh.items()}
    held = [Question(phrase, topic) for topic, phrases in rest.items() for phrase in phrases]
    if sum(map(len, fresh.values())) < _LEAST_HELD:
        return None
    half = {
        topic: {**content, "phrases": [text for text in content.get("phrases", ()) if text not in rest[topic]]}
        for topic, content in changes.items()
    }
    taught = _loaded({**own, **half})
    return [sum(taught.match(question.text).topic == question.label for question in held), len(held)]


def _in_words(changed: Changed) -> dict[str, Any]:
    question = changed.question
    return {
        "text": question.text if question.second is None else f"{question.text} → {question.second}",
        "label": question.label,
        "before": [changed.before.decision.value, changed.before.topic],
        "after": [changed.after.decision.value, changed.after.topic],
    }
