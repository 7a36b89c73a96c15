"""The bot's own sentences, read once from texts.yaml."""

from collections.abc import Mapping
from pathlib import Path

import yaml


def _load() -> Mapping[str, Mapping[str, str]]:
    loaded: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return loaded


TEXTS = _load()


def text(key: str, *, english: bool = False, **values: object) -> str:
    """The sentence called `key`, filled in; KeyError for an unknown key or a missing value."""
    return TEXTS[key]["en" if english else "zh"].format(**values)
