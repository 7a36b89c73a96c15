"""A small knowledge of our own that tests may break."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from knowledge.knowledge import ROOT

LOST = """
topic: idcard.temp
title: 身份证丢失补办
owner: 户籍窗口
checked: 2026-11-22
review_by: 2027-11-22
sources:
  - {rule: 中华人民共和国居民身份证法, article: 第十一条, in_force: 2012-01-01}
short: 带户口本到派出所补领，工本费40元。
bring: [户口本]
fee: 40元
where: 本所{station.address}
phrases:
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A knowledge folder with one good entry of forty phrases and our dictionaries; no model."""
    root = tmp_path / "knowledge"
    shutil.copytree(ROOT / "dictionary", root / "dictionary")
    (root / "topics.yaml").write_text(
        "idcard:\n  - {id: idcard.temp, route: answer, scope: 身份证丢失}\n", encoding="utf-8"
    )
    (root / "entries" / "idcard").mkdir(parents=True)
    (root / "settings").mkdir()
    write(root, LOST + "".join(f"  - 身份证丢了第{number}种问法\n" for number in range(40)))
    return root


def write(root: Path, text: str, name: str = "idcard/temp.yaml") -> None:
    path = root / "entries" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def change(small: Path) -> Callable[[str, str], Path]:
    """Replace a piece of the good entry's text; the folder comes back."""

    def replaced(old: str, new: str) -> Path:
        path = small / "entries" / "idcard" / "temp.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return small

    return replaced
