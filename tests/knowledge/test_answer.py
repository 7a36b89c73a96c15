"""What a resident reads: the right part of it, filled in, and never longer than WeChat takes."""

import re

import pytest

from knowledge import Knowledge, KnowledgeError, entry_from_mapping
from knowledge.answer import MAX_BYTES, MAX_CHARS, render
from knowledge.entry import FACETS

_NAMES = re.compile("交管12123|车管所")  # what a foreigner has to find on the phone or over the door
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


def test_every_answer_fits_and_leaves_no_placeholder(knowledge: Knowledge) -> None:
    for topic in knowledge.entries:
        if topic.startswith("none."):
            continue
        for language in ("zh", "en"):
            for facet in (None, *FACETS):
                text = knowledge.answer(topic, facet=facet, language=language)
                assert text, topic
                assert len(text) <= MAX_CHARS, topic
                assert len(text.encode()) <= MAX_BYTES, topic
                assert not _PLACEHOLDER.search(text), topic


def test_a_facet_is_answered_by_itself(knowledge: Knowledge) -> None:
    whole, fee = knowledge.answer("idcard.lost"), knowledge.answer("idcard.lost", facet="fee")
    assert "40" in fee
    assert len(fee) < len(whole) / 3


def test_the_stations_own_words_stand_in_the_answer(knowledge: Knowledge) -> None:
    text = knowledge.answer("station.hours", settings={"station.address": "枫林路8号", "station.phone": "0575-1"})
    assert "枫林路8号" in text


def test_an_emergency_card_starts_with_what_to_do(knowledge: Knowledge) -> None:
    for topic in (name for name in knowledge.entries if name.startswith("emergency.")):
        for language in ("zh", "en"):
            first = knowledge.emergency_card(topic, language).splitlines()[0]
            assert re.search(r"1[12]\d|96110|挂断|hang up", first, re.IGNORECASE), (topic, first)


def test_english_is_answered_in_english_where_there_is_one(knowledge: Knowledge) -> None:
    assert re.search(r"[A-Za-z]{4}", knowledge.answer("exit.passport_lost", language="en"))
    assert not re.search(r"[\u4e00-\u9fff]", knowledge.answer("exit.passport_lost", language="en").splitlines()[1])


def test_what_a_station_has_not_set_reads_in_the_language_of_the_answer(knowledge: Knowledge) -> None:
    assert "day" in knowledge.answer("station.hours", facet="time", language="en")
    assert "上班时间" in knowledge.answer("station.hours", facet="time")
    for topic, entry in knowledge.entries.items():
        for facet in (None, *FACETS) if entry.english else ():
            text = _NAMES.sub("", knowledge.answer(topic, facet=facet, language="en"))
            assert not re.search(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", text), (topic, facet)


def test_too_long_an_answer_loses_its_least_needed_parts_first() -> None:
    entry = entry_from_mapping(
        {"topic": "own.one", "title": "一件事", "short": "先这样。", "bring": ["户口本"], "watch": "注意" * 400},
        name="own",
    )
    text = render(entry, facet=None, language="zh", settings={}, defaults={})
    assert "先这样。" in text
    assert "户口本" in text
    assert "注意" not in text


def test_even_one_overlong_sentence_is_cut_to_fit() -> None:
    entry = entry_from_mapping({"topic": "own.one", "title": "一件事", "short": "很长" * 800}, name="own")
    text = render(entry, facet=None, language="zh", settings={}, defaults={})
    assert len(text) <= MAX_CHARS
    assert text.endswith("…")


def test_an_unknown_topic_is_said_by_name(knowledge: Knowledge) -> None:
    with pytest.raises(KnowledgeError, match=r"no\.such"):
        knowledge.answer("no.such")
