"""Words are jieba's, cut with our dictionary and without the tables it guesses names by."""

import subprocess
import sys

import pytest

from knowledge.archive import read_archive
from knowledge.knowledge import MODEL_FILE, ROOT
from knowledge.text import Segmenter


@pytest.fixture(scope="module")
def cut() -> Segmenter:
    return Segmenter(read_archive(ROOT / MODEL_FILE).words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("身份证丢了怎么补办", ["身份证", "丢了", "怎么", "补办"]),
        ("流动人口居住登记", ["流动人口", "居住登记"]),
        ("龘龘龘", ["龘", "龘", "龘"]),
        ("wifi密码 110", ["wifi", "密码", "110"]),
    ],
)
def test_a_text_is_cut_into_the_likeliest_words_of_our_dictionary(cut: Segmenter, text: str, words: list[str]) -> None:
    assert cut(text) == words


def test_for_search_long_words_come_with_the_words_inside_them(cut: Segmenter) -> None:
    assert {"身份证", "身份"} <= set(cut.for_search("身份证丢失补办"))


def test_the_program_starts_without_jiebas_tables_for_names() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, knowledge; print('jieba' in sys.modules, 'jieba.finalseg' in sys.modules)"],
        cwd=ROOT.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["True", "False"]
