"""Personal data at rest: what is written is not read without its key, and an old key goes on being read."""

import base64
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.store import encryption
from bot.store.encryption import EncryptionError, blind_index, decrypt, encrypt, new_key, use_keys


@pytest.fixture(autouse=True)
def keys_of_this_test() -> Iterator[None]:
    before, current = dict(encryption._keys), list(encryption._in_use)
    encryption._keys.clear()
    yield
    encryption._keys.clear()
    encryption._keys.update(before)
    encryption._in_use[:] = current


@given(data=st.binary(max_size=200))
def test_what_is_written_is_read_and_never_looks_the_same_twice(data: bytes) -> None:
    use_keys(KEY)
    first, second = encrypt(data), encrypt(data)
    assert decrypt(first) == decrypt(second) == data
    assert first != second
    assert len(first) == len(data) + 32
    assert len(data) < 8 or data not in first


KEY = new_key()


@given(position=st.integers(0, 40), bit=st.integers(0, 7))
def test_a_changed_bit_is_found(position: int, bit: int) -> None:
    use_keys(KEY)
    blob = bytearray(encrypt(b"name"))
    blob[position % len(blob)] ^= 1 << bit
    with pytest.raises(EncryptionError, match=r"was changed in the database|a key that is not loaded"):
        decrypt(bytes(blob))


def test_after_a_change_of_keys_whoever_was_known_is_still_found() -> None:
    old, new, newest = new_key(), new_key(), new_key()
    use_keys(old)
    known = blind_index("13900001111", "phone")
    for keys in ((new, old), (newest, new, old)):
        use_keys(*keys)
        assert blind_index("13900001111", "phone") == known
    use_keys(newest)
    assert blind_index("13900001111", "phone") != known


def test_after_a_change_of_keys_the_old_rows_are_still_read_and_new_ones_have_the_new_key() -> None:
    old, new = new_key(), new_key()
    use_keys(old)
    written = encrypt(b"name")
    encryption._keys.clear()
    use_keys(new, old)
    assert decrypt(written) == b"name"
    fresh = encrypt(b"name")
    assert fresh[:4] != written[:4]
    encryption._keys.clear()
    use_keys(new)
    assert decrypt(fresh) == b"name"
    with pytest.raises(EncryptionError, match=r"security\.previous_keys"):
        decrypt(written)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "has 0 bytes instead of 32"),
        (
            base64.urlsafe_b64encode(b"short").decode(),
            "has 5 bytes instead of 32; make one with: python -m bot new-key",
        ),
        ("é" * 44, "instead of 32"),
        ("x", "is not base64"),
    ],
)
def test_a_key_that_is_none_says_so(key: str, sentence: str) -> None:
    with pytest.raises(EncryptionError, match=sentence):
        use_keys(key)


def test_without_a_key_nothing_is_written() -> None:
    encryption._in_use.clear()
    with pytest.raises(EncryptionError, match=r"security\.data_key"):
        encrypt(b"name")


def test_a_blind_index_tells_equal_from_different_and_nothing_else() -> None:
    use_keys(KEY)
    assert blind_index("王小明", "name") == blind_index("王小明", "name")
    assert blind_index("王小明", "name") != blind_index("王小明", "search")
    assert blind_index("王小明", "name") != blind_index("王小红", "name")
    ours = blind_index("王小明", "name")
    use_keys(new_key())
    assert blind_index("王小明", "name") != ours
    assert -(2**63) <= ours < 2**63
