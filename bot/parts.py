"""A long text in the parts a platform takes."""

from collections.abc import Callable, Iterable, Iterator

_BETWEEN = "\n\n"
_BREAKS = ("\n\n", "\n", "。", "！", "？", "；", ". ", "，", " ")  # where a long text may be parted, the best first


def parts_of(text: str, limit_bytes: int) -> Iterator[str]:
    """`text` in parts of at most `limit_bytes`, in order, parted between lines or sentences where it wastes little."""
    while text.strip():
        head = _head(text, limit_bytes)
        if head.strip():
            yield head.rstrip("\n") if len(head) < len(text) else head
        text = text[len(head) :].lstrip("\n")


def beginning_of(text: str, limit_bytes: int, most: int, hint: str) -> tuple[str, int]:
    """What of `text` fits into `most` parts, with `hint` at its end, and the character at which the rest begins.

    All of it, and its length, when nothing is left over.
    """
    if sum(1 for _ in parts_of(text, limit_bytes)) <= most:
        return text, len(text)
    place = 0
    for number in range(1, most + 1):
        room = limit_bytes - (len(hint.encode()) if number == most else 0)
        place += len(_head(text[place:], room))
        place += len(text[place:]) - len(text[place:].lstrip("\n"))
    return text[:place].rstrip("\n") + hint, place


def joined(texts: Iterable[str]) -> str:
    """Several things said in one message."""
    return _BETWEEN.join(texts)


def how_many_fit(texts: Iterable[str], limit: int, measure: Callable[[str], int]) -> int:
    """How many of the texts, from the first on, `joined` make a message of at most `limit` by this measure."""
    count = 0
    for text in texts:
        limit -= measure(text) + (measure(_BETWEEN) if count else 0)
        if limit < 0:
            break
        count += 1
    return count


def in_bytes(text: str) -> int:
    return len(text.encode())


def first_bytes(text: str, limit: int) -> str:
    """As much of `text` as fits into `limit` bytes."""
    return text.encode()[:limit].decode(errors="ignore")  # a character cut in two is left out


def _head(text: str, limit_bytes: int) -> str:
    if len(text.encode()) <= limit_bytes:
        return text
    head = first_bytes(text, limit_bytes)
    for mark in _BREAKS:
        place = head.rfind(mark)
        if place >= len(head) // 2:
            return head[: place + len(mark)]
    return head
