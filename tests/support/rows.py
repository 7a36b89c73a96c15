"""Long tables of tests: `make check` runs their first rows, `make test` all of them."""

from collections.abc import Sequence
from typing import Any

import pytest


def first_fast(rows: Sequence[Any], fast: int = 1) -> Sequence[Any]:
    """The rows as parameters of a test; those after the first few carry the mark `slow`."""
    tables = [row if isinstance(row, tuple) else (row,) for row in rows]
    return [pytest.param(*row, marks=pytest.mark.slow if number >= fast else ()) for number, row in enumerate(tables)]
