"""Our cut gives jieba's words: the same dictionary, the same likeliest way through it."""

import re

import jieba
import pytest

from knowledge import Knowledge
from knowledge.archive import read_archive
from knowledge.knowledge import MODEL_FILE, ROOT
from knowledge.text import Segmenter

HAN = re.compile(r"[\u4e00-\u9fa5]+")


@pytest.fixture(scope="module")
def cut() -> Segmenter:
    return Segmenter(read_archive(ROOT / MODEL_FILE).words)


@pytest.fixture(scope="module")
def theirs() -> jieba.Tokenizer:
    """jieba with our words only; marked ready so that it does not read its own."""
    words = read_archive(ROOT / MODEL_FILE).words
    tokenizer = jieba.Tokenizer()
    table = dict(words)
    for word in words:
        for end in range(1, len(word)):
            table.setdefault(word[:end], 0)
    tokenizer.FREQ = table
    tokenizer.total = sum(words.values())
    tokenizer.initialized = True
    return tokenizer


def test_each_shipped_phrase_is_cut_into_jiebas_words(
    knowledge: Knowledge, cut: Segmenter, theirs: jieba.Tokenizer
) -> None:
    runs = {
        run for entry in knowledge.entries.values() for phrase in entry.all_phrases() for run in HAN.findall(phrase)
    }
    assert len(runs) > 10_000
    assert {run: cut(run) for run in runs} == {run: theirs.lcut(run, HMM=False) for run in runs}


@pytest.mark.parametrize("text", ["身份证丢失补办", "流动人口居住登记", "无犯罪记录证明", "龘龘龘"])
def test_words_for_search_are_jiebas_too(cut: Segmenter, theirs: jieba.Tokenizer, text: str) -> None:
    assert cut.for_search(text) == theirs.lcut_for_search(text, HMM=False)
