"""However a resident writes it, it reads the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.knowledge import ROOT, make_reader
from knowledge.text import CHILD_AGE, ELDER_AGE, IDNUMBER, LINK, MONEY, PHONE, PLATE, language_of

READER = make_reader(ROOT, {"身份证": 500, "派出所": 500, "户口": 500, "居住证": 500, "怎么办": 500, "电动车": 500})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("身分証掉了", "身份证掉了"),
        ("護照", "护照"),
        ("ＱＱ群", "qq群"),
        ("丢了😭😭怎么办！！！", "丢了 怎么办!"),
        ("好的[呲牙]", "好的"),
        ("俺娃咋办", "我孩子怎么办"),
        ("啊啊啊啊啊", "啊啊"),
    ],
)
def test_width_script_emoji_and_dialect_come_to_one_spelling(written: str, read: str) -> None:
    assert READER.normalise(written) == read


@pytest.mark.parametrize(
    ("written", "sign"),
    [
        ("转了三万块", MONEY),
        ("转了20000元", MONEY),
        ("打我13812345678", PHONE),
        ("点https://a.cn/x?y=1看看", LINK),
        ("车牌浙A12345", PLATE),
        ("身份证号110101199003071234", IDNUMBER),
        ("孩子今年8岁", CHILD_AGE),
        ("我爸七十三岁", ELDER_AGE),
    ],
)
def test_numbers_become_what_they_are(written: str, sign: str) -> None:
    assert sign in READER.normalise(written)


@pytest.mark.parametrize("number", ["110", "96110", "12389", "12123"])
def test_public_numbers_stay_themselves(number: str) -> None:
    assert number in READER.normalise(f"打{number}吗")


@pytest.mark.parametrize("heard", ["居注正怎么半", "聚住证", "派出索在哪"])
def test_what_sounds_like_our_term_becomes_it(heard: str) -> None:
    """Voice input: three syllables of a term are the term, whichever signs were written."""
    text = READER.read(heard).text
    assert "居住证" in text or "派出所" in text


def test_english_is_read_with_the_chinese_words_for_it() -> None:
    assert "护照" in READER.read("my passport was stolen").words


@pytest.mark.parametrize(
    ("text", "language"),
    [("身份证丢了", "zh"), ("passport lost", "en"), ("OK", "en"), ("我的ETC扣费", "zh"), ("😭", "zh"), ("", "zh")],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_reading_and_reading_twice_changes_no_more_than_once(text: str) -> None:
    reading = READER.read(text)
    assert len(reading.features) == len(reading.keys)
    assert len(READER.normalise(text)) <= 4 * max(len(text), 1) + 20
