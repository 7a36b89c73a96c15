"""`python -m bot import-knowledge`: a station's own entries and settings, all or none, each bad one named."""

import asyncio
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from openpyxl import Workbook
from sqlalchemy import select

from bot.commands import CommandError, knowledge, serving
from bot.config import load_config
from bot.store.engine import Store
from bot.store.learning_queries import live_content
from bot.store.models import AuditEvent, EntryVersion, Station, VersionState
from tests.support.rows import first_fast

DATA_KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
DOGS: dict[str, Any] = {
    "topic": "own.dogs",
    "title": "警犬见面会",
    "short": "每月第一个周六上午，在{station.address}。",
    "owner": "社区警务室",
    "checked": "2026-11-20",
    "review_by": "2027-11-20",
    "sources": [{"rule": "枫林警营开放日公告", "in_force": "2026-05-01"}],
    "phrases": ["警犬见面会几号开始", "想带娃看警犬见面会", "警犬表演在哪看"],
}
MORE: dict[str, Any] = {"topic": "idcard.lost", "phrases": ["麒麟本本整丢哒"], "fee": "本月免费"}


def write_config(folder: Path) -> Path:
    file = folder / "config.yaml"
    settings = {
        "station": {"name": "枫林派出所"},
        "database": {"url": f"sqlite+aiosqlite:///{folder / 'officer.db'}"},
        "security": {"data_key": DATA_KEY},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


class Desk:
    """The command line of a station with an empty database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = write_config(folder)

    def run(self, file: Path, *, skip_bad: bool = False) -> None:
        knowledge.import_knowledge(Namespace(config=self.config, file=file, skip_bad=skip_bad))

    def yaml(self, content: object) -> Path:
        file = self.folder / "own.yaml"
        file.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return file

    def look(self, question: Callable[[Any, Station], Any]) -> Any:
        async def read() -> Any:
            store = Store.open(load_config(self.config).database.url)
            try:
                async with store.read() as session:
                    station = (await session.execute(select(Station))).scalar_one()
                    return await question(session, station)
            finally:
                await store.close()

        return asyncio.run(read())

    def live(self) -> dict[str, Any]:
        async def question(session: Any, station: Station) -> dict[str, Any]:
            return await live_content(session, station.id)

        found: dict[str, Any] = self.look(question)
        return found

    def settings(self) -> dict[str, Any]:
        async def question(_: Any, station: Station) -> dict[str, Any]:
            return station.settings

        found: dict[str, Any] = self.look(question)
        return found


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a station where nothing has happened, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    serving.migrate(Namespace(config=write_config(folder)))
    return folder / "officer.db"


@pytest.fixture
def desk(migrated_file: Path, tmp_path: Path) -> Desk:
    shutil.copy(migrated_file, tmp_path)
    return Desk(tmp_path)


@pytest.mark.slow
def test_entries_and_settings_are_live_and_in_the_log(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.run(desk.yaml({"entries": [DOGS, MORE], "settings": {"station.address": "枫林路 9 号"}}))
    assert desk.live() == {"own.dogs": DOGS, "idcard.lost": MORE}
    assert desk.settings() == {"station.address": "枫林路 9 号"}
    assert "2 entries live, 1 settings changed, 0 left out" in capsys.readouterr().out

    async def events(session: Any, _: Station) -> list[tuple[str, int | None]]:
        rows = (await session.execute(select(AuditEvent).order_by(AuditEvent.seq))).scalars()
        return [(event.action, event.actor_id) for event in rows if event.action != "station.created"]

    imported = ("knowledge.imported", None)
    assert desk.look(events) == [imported, imported, ("station.settings", None)]


@pytest.mark.slow
def test_importing_again_keeps_the_version_before(desk: Desk) -> None:
    desk.run(desk.yaml(DOGS))
    desk.run(desk.yaml([{**DOGS, "fee": "免费"}]))

    async def versions(session: Any, _: Station) -> list[tuple[int, VersionState]]:
        rows = (await session.execute(select(EntryVersion).order_by(EntryVersion.id))).scalars()
        return [(row.version, row.state) for row in rows]

    assert desk.look(versions) == [(1, VersionState.RETIRED), (2, VersionState.LIVE)]
    assert desk.live()["own.dogs"]["fee"] == "免费"


def test_one_bad_entry_stops_all_and_is_named_with_line_and_reason(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    file = desk.yaml([DOGS, {**DOGS, "topic": "own.cats", "owner": "", "phrases": DOGS["phrases"]}])
    line = file.read_text("utf-8").splitlines().index("- topic: own.cats") + 1
    with pytest.raises(CommandError, match="nothing was imported"):
        desk.run(file)
    said = capsys.readouterr().err
    assert f"own.yaml: line {line}: own.cats: owner: missing; name the desk" in said
    assert "stands under own.dogs too" in said
    assert desk.live() == {}


@pytest.mark.slow
def test_the_good_ones_go_in_when_bad_ones_may_be_left_out(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"station.phone": "0571-110", "local.nowhere": "x"}
    entries = [DOGS, "nonsense", {**DOGS, "topic": "Own Cats"}]
    desk.run(desk.yaml({"entries": entries, "settings": settings}), skip_bad=True)
    assert list(desk.live()) == ["own.dogs"]
    assert desk.settings() == {"station.phone": "0571-110"}
    captured = capsys.readouterr()
    assert "local.nowhere: no answer has such a setting" in captured.err
    assert "3 left out" in captured.out


@pytest.mark.parametrize(
    ("change", "says"),
    first_fast(
        [
            ({"phrases": ["停水了", "警犬叫", "警犬来"]}, "stands under dept.utilities too"),
            ({"phrases": ["警犬见面会"]}, "at least 3"),
            ({"short": "请打13812345678"}, "known numbers"),
            ({"short": "在{local.nowhere}"}, "not declared"),
            ({"colour": "red"}, "unknown field colour"),
            ({"route": "sea"}, "route 'sea' must be one of"),
            ({"topic": "emergency.fire"}, "not changed by a station"),
            ({"bring": {"a": "b"}}, "bring must be a list"),
        ],
        fast=2,
    ),
)
def test_what_is_wrong_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(CommandError):
        desk.run(desk.yaml([{**DOGS, **change}]))
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_a_spreadsheet_with_settings(desk: Desk) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(
        ["主题", "标题", "处理方式", "简短回答", "依据", "施行日期", "负责核对", "核对日期", "复核日期", "问法"]
    )
    sheet.append(
        ["own.dogs", DOGS["title"], "回答", DOGS["short"], "枫林警营开放日公告", "2026-05-01", DOGS["owner"],
         DOGS["checked"], DOGS["review_by"], "\n".join(DOGS["phrases"])]
    )  # fmt: skip
    book.create_sheet(knowledge.SETTINGS_SHEET).append(["station.address", "枫林路 9 号"])
    book.save(desk.folder / "own.xlsx")
    desk.run(desk.folder / "own.xlsx")
    assert desk.live() == {"own.dogs": {**DOGS, "route": "answer"}}
    assert desk.settings() == {"station.address": "枫林路 9 号"}


def test_a_spreadsheet_with_an_unknown_column_is_refused(desk: Desk) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["主题", "颜色"])
    book.save(desk.folder / "own.xlsx")
    with pytest.raises(CommandError, match="unknown: 颜色"):
        desk.run(desk.folder / "own.xlsx")


@pytest.mark.parametrize("text", ["", "- [unclosed", "just words", "entries: 3"])
def test_a_file_that_is_none_of_this_is_refused_in_a_sentence(desk: Desk, text: str) -> None:
    file = desk.folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=r"own\.yaml"):
        desk.run(file)


def test_a_file_that_is_not_there_is_said(desk: Desk) -> None:
    with pytest.raises(CommandError, match="no such file"):
        desk.run(desk.folder / "missing.yaml")


@pytest.mark.slow
def test_what_gets_worse_is_printed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.run(desk.yaml({"topic": "dispute.noise", "phrases": ["身份证丢了怎么补办呀"]}))
    captured = capsys.readouterr()
    assert "idcard.lost" in captured.err
    assert "0 labelled questions got worse" not in captured.out
