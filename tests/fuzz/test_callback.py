"""The fuzz target works, and some thousand mutated callbacks find nothing."""

import random
from collections.abc import Iterator

import pytest

from bot import clock
from bot.channels import wechat_messages
from tests.fuzz import target


@pytest.fixture(autouse=True)
def _stopped_clock() -> Iterator[None]:
    target.stop_the_clock()
    yield
    clock.set_source(None)


def test_every_well_formed_seed_is_read_to_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[str] = []

    def noted(_: object, words: str) -> None:
        answered.append(words)

    monkeypatch.setattr(target, "_check_answers", noted)
    for seed in target.seeds():
        target.one_callback(seed)
    assert len(answered) == len(target.seeds()) - 2  # the noise in the cipher and the query alone are refused


def test_mutated_callbacks_are_read_or_refused() -> None:
    chance = random.Random(20261122)
    for _ in range(4_000):
        data = target.mutated(chance)
        try:
            target.one_callback(data)
        except Exception as error:
            raise AssertionError(f"{data!r} ends with {error!r}") from error


def test_the_target_would_notice_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechat_messages, "_sent_at", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        target.one_callback(target.seeds()[0])
