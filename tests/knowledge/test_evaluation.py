"""Labelled questions are read with care and counted as they are labelled."""

from pathlib import Path

import pytest

from knowledge import Knowledge, KnowledgeError, evaluate, read_questions, write_predictions
from knowledge.evaluation import Report

UNSEEN = Path(__file__).parent / "unseen.tsv"
ROUNDABOUT = (
    Path(__file__).parent / "roundabout.tsv"
)  # harder: most tell what happened without the name of their matter
GOOD = """text\tlabel\tnote
身份证丢了怎么补办\tidcard.lost\tx
身份证丢了怎么补办 ||| 要带什么材料\tidcard.lost
我家着火了快来人\temergency.fire
家里灭火器多久换一次\tnot_emergency:safety.fire
谢谢\tnone
I lost my passport, what should I do\texit.passport_lost
"""


def test_each_kind_of_label_is_counted_in_its_figure(knowledge: Knowledge, tmp_path: Path) -> None:
    path = tmp_path / "questions.tsv"
    path.write_text(GOOD, encoding="utf-8")
    report = evaluate(knowledge, read_questions(path))
    for figure in ("hit@1", "hit@3", "follow-ups", "english", "urgent recognised", "urgent or perhaps"):
        assert report.figures[figure] == (1, 1), figure
    for figure in ("none answered", "near-misses raised", "near-misses perhaps"):
        assert report.figures[figure] == (0, 1), figure
    assert report.figures["calm as perhaps"] == (0, 4)
    assert "hit@1" in report.as_text()
    assert report.baseline["hit@1"][1] == 1
    predictions = tmp_path / "predictions.tsv"
    write_predictions(predictions, report)
    lines = predictions.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "text\tlabel\tdecision\ttopic\tsecond\tthird"
    assert lines[1].split("\t")[:4] == ["身份证丢了怎么补办", "idcard.lost", "answer", "idcard.lost"]
    assert len(lines) == 7
    assert all(line.count("\t") == 5 for line in lines)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("question\tlabel\n", "the header text<TAB>label"),
        ("", "the header text<TAB>label"),
        ("text\tlabel\n身份证丢了\n", ":2: a line needs text<TAB>label"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "questions.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(KnowledgeError, match=says):
        read_questions(path)


def test_a_missing_file_and_a_label_that_is_no_topic_are_named(knowledge: Knowledge, tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="no such file"):
        read_questions(tmp_path / "none.tsv")
    path = tmp_path / "questions.tsv"
    path.write_text("text\tlabel\n身份证丢了\tidcard.lots\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"idcard\.lots"):
        evaluate(knowledge, read_questions(path))


@pytest.fixture(scope="module")
def strangers(knowledge: Knowledge) -> dict[Path, Report]:
    """What other people wrote blind and the knowledge never learns."""
    return {path: evaluate(knowledge, read_questions(path), baseline=False) for path in (UNSEEN, ROUNDABOUT)}


@pytest.mark.parametrize(
    ("figure", "floor", "roundabout"),
    [
        ("hit@1", 0.92, 0.79),
        ("hit@3", 0.965, 0.90),
        ("urgent recognised", 0.965, 0.93),
        ("urgent or perhaps", 0.98, 0.97),
        ("urgent kind", 0.92, 0.86),
        ("follow-ups", 0.89, 0.84),
        ("english", 0.92, 0.68),
    ],
)
def test_strangers_are_understood_as_well_as_they_were(
    strangers: dict[Path, Report], figure: str, floor: float, roundabout: float
) -> None:
    assert (strangers[UNSEEN].share(figure) or 0.0) >= floor
    assert (strangers[ROUNDABOUT].share(figure) or 0.0) >= roundabout


@pytest.mark.parametrize(
    ("figure", "ceiling", "roundabout"),
    [("none answered", 0.04, 0.06), ("near-misses raised", 0.05, 0.07), ("calm as perhaps", 0.07, 0.11)],
)
def test_strangers_are_not_bothered_more_than_they_were(
    strangers: dict[Path, Report], figure: str, ceiling: float, roundabout: float
) -> None:
    assert (strangers[UNSEEN].share(figure) or 0.0) <= ceiling
    assert (strangers[ROUNDABOUT].share(figure) or 0.0) <= roundabout


def test_a_pasted_fraud_and_the_story_of_one_are_taken_for_fraud(knowledge: Knowledge) -> None:
    found: dict[str, list[bool]] = {}
    for line in UNSEEN.read_text(encoding="utf-8").splitlines()[1:]:
        text, label, *group = line.split("\t")
        if label.startswith("fraud.") and group and group[0] in ("swindler", "story", "question"):
            topic = knowledge.match(text).topic or ""
            found.setdefault(group[0], []).append(topic.startswith(("fraud.", "emergency.fraud_now")))
    shares = {voice: sum(hits) / len(hits) for voice, hits in found.items()}
    assert set(shares) == {"swindler", "story", "question"}
    assert shares["swindler"] >= 0.95
    assert min(shares.values()) >= 0.88
