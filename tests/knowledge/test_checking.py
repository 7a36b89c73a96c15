"""The checker refuses content that must not go out, and says where and what to do."""

import re
from collections.abc import Callable
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from knowledge import Knowledge, read_questions
from knowledge.archive import write_archive
from knowledge.checking import check
from knowledge.knowledge import MODEL_FILE, ROOT
from tests.knowledge.conftest import LOST, write

Change = Callable[[str, str], Path]
# Labelled questions that the knowledge must never learn: they measure it.
MEASURING = [Path(__file__).parent / name for name in ("unseen.tsv", "roundabout.tsv")]


def faults(root: Path, **options: object) -> str:
    return "\n".join(map(str, check(root, model=False, **options)))  # type: ignore[arg-type]


def test_good_content_has_no_fault(small: Path) -> None:
    assert faults(small) == ""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("owner: 户籍窗口\n", "", "owner: missing"),
        ("checked: 2026-11-22\n", "", "checked: missing"),
        ("review_by: 2027-11-22", "review_by: 2025-01-01", "review_by: must be later than checked"),
        ("in_force: 2012-01-01", "in_force: 以前", "sources: number 1 needs rule and in_force"),
        ("short: 带户口本到派出所补领，工本费40元。\n", "", "short: missing"),
        ("{station.address}", "{station.adress}", "{station.adress} is not declared"),
        ("{station.address}", "{station.address", "broken placeholder"),
        ("{station.address}", "{local.unknown}", "{local.unknown} is not declared"),
        ("fee: 40元", "fee: 请打12399询问", "12399 is not in the list of known numbers"),
        ("fee: 40元", "fee: 加微信13812345678", "13812345678 is not in the list of known numbers"),
        ("fee: 40元", "fee: " + "很长" * 300, "shorten it to 600 characters"),
        ("  - 身份证丢了第7种问法\n", "", "39 phrases; at least 40 are needed"),
        ("topic: idcard.temp", "topic: idcard.found", "the file's place says idcard.temp"),
        ("topic: idcard.temp", "topic: 身份证", "must look like family.name"),
        ("fee: 40元", "fees: 40元", "unknown field fees"),
        ("bring: [户口本]", "bring: {户口本: 原件}", "field bring must be a list"),
        ("bring: [户口本]", "bring:\n  - 户口本: 原件", "put the whole line in double quotes"),
        ("fee: 40元", "fee: [", "not valid YAML"),
    ],
)
def test_each_fault_is_named_with_its_field_and_remedy(change: Change, old: str, new: str, says: str) -> None:
    found = faults(change(old, new))
    assert says in found
    assert "idcard" in found


def test_an_amount_is_no_telephone_number(change: Change) -> None:
    assert faults(change("fee: 40元", "fee: 120元，110天内，不超过119人")) == ""


def test_a_local_rule_has_no_place_in_an_english_answer(change: Change) -> None:
    root = change("fee: 40元", "fee: 40元\nenglish: {title: ID card, short: 'Call {station.phone}, {local.fee}.'}")
    (root / "settings" / "idcard.yaml").write_text(
        "local.fee: {meaning: 收费, default: 以窗口公示为准}\n", encoding="utf-8"
    )
    assert faults(root).count("has Chinese words only") == 1
    assert "english.short: {local.fee} has Chinese words only" in faults(root)


def test_a_phrase_under_two_topics_is_refused_however_it_is_written(small: Path) -> None:
    (small / "topics.yaml").write_text(
        "idcard:\n  - {id: idcard.temp, route: answer, scope: a}\n  - {id: idcard.renew, route: answer, scope: b}\n",
        encoding="utf-8",
    )
    other = LOST.replace("idcard.temp", "idcard.renew") + "  - 身份證丟了第3種問法？\n"
    write(small, other + "".join(f"  - 到期了第{number}种\n" for number in range(40)), "idcard/renew.yaml")
    assert "too; keep it under one topic" in faults(small)


def test_a_copy_of_a_labelled_question_is_refused(small: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "questions.tsv"
    labelled.write_text("text\tlabel\n身份证丢了，第7种问法？\tidcard.temp\n", encoding="utf-8")
    assert "nearly the labelled question" in faults(small, against=[labelled])


def test_an_entry_past_its_review_is_refused_when_the_day_is_given(small: Path) -> None:
    assert "check the rules again" in faults(small, today=date(2028, 1, 1))


def test_a_topic_without_an_entry_is_missed(small: Path) -> None:
    (small / "entries" / "idcard" / "temp.yaml").unlink()
    assert "no entry yet; write entries/idcard/temp.yaml" in faults(small)


def test_changed_entries_call_for_a_new_model(small: Path) -> None:
    assert "run make knowledge" in str(check(small)[0])
    write(small, LOST.replace("丢失补办", "到期").replace("temp", "renew") + "  - 身份证过期了\n", "idcard/renew.yaml")
    building = import_module("knowledge.build")  # only here: with scikit-learn it takes a second in every worker
    write_archive(small / MODEL_FILE, building.build(small))
    assert not [fault for fault in check(small) if fault.field == "model"]
    write(small, LOST + "  - 又一种问法\n")
    assert "temp.yaml changed); run make knowledge" in "\n".join(map(str, check(small)))


@pytest.mark.slow  # `make check` runs knowledge.check itself
def test_the_shipped_content_is_in_order() -> None:
    assert list(map(str, check(ROOT))) == []


def test_no_question_that_measures_the_knowledge_stands_in_it(knowledge: Knowledge) -> None:
    assert list(map(str, check(ROOT, against=MEASURING, model=False))) == []

    def plain(text: str) -> str:
        return re.sub(r"\W", "", text.lower()) or text

    taught = {
        plain(text)
        for entry in knowledge.entries.values()
        for text in (
            *entry.all_phrases(),
            *(text for text, _ in entry.near_misses),
            *(followup.ask for followup in entry.followups),
        )
    }
    asked = {plain(row.second or row.text) for path in MEASURING for row in read_questions(path)}
    assert len(asked) > 3000
    assert not asked & taught
