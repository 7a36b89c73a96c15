"""What a resident reads: the right part of it, filled in, and never longer than WeChat takes."""

import re
from typing import Any

import pytest

from knowledge import Knowledge, KnowledgeError, entry_from_mapping
from knowledge.answer import MAX_BYTES, MAX_CHARS, render
from knowledge.entry import FACETS
from knowledge.own import laid_over

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


_RULED: dict[str, Any] = {
    "topic": "idcard.lost",
    "title": "身份证补领",
    "owner": "户籍窗口",
    "short": "到任一派出所申报丢失补领。",
    "checked": "2026-11-22",
    "review_by": "2027-11-22",
    "sources": [
        {"rule": "居民身份证法", "article": "第十一条", "in_force": "2012-01-01"},
        {"rule": "收费通知", "in_force": "2018-04-01", "confirmed": False},
    ],
}


def test_an_answer_is_dated_only_when_the_rules_it_names_have_been_read(knowledge: Knowledge) -> None:
    def basis(data: dict[str, Any]) -> str:
        entry = entry_from_mapping(data, name="idcard.lost", known=knowledge.entries)
        return render(entry, facet=None, language="zh", settings={}, defaults={}).splitlines()[-1]

    assert basis(_RULED) == "依据：《居民身份证法》第十一条、《收费通知》"
    assert basis(_RULED | {"sources": _RULED["sources"][:1]}) == "依据：《居民身份证法》第十一条（2026-11-22核对）"
    with pytest.raises(KnowledgeError, match="confirmed must be true or false"):
        basis(_RULED | {"sources": [{"rule": "x", "in_force": "2018-04-01", "confirmed": "maybe"}]})


def test_who_dates_a_text_of_his_own_has_read_its_rules() -> None:
    base = entry_from_mapping(_RULED, name="idcard.lost")
    undated = entry_from_mapping({"topic": "idcard.lost", "title": "补领", "fee": "本月免费"}, name="own")
    dated = entry_from_mapping({"topic": "idcard.lost", "title": "补领", "checked": "2026-12-01"}, name="own")
    assert [source.confirmed for source in laid_over(base, undated).sources] == [True, False]
    assert [source.confirmed for source in laid_over(base, dated).sources] == [True, True]


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
