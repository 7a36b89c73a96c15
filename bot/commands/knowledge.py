"""A station's own entries and settings from a YAML or .xlsx file: all or none, bad ones named with line and reason."""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from bot.actions import entry_versions, measuring, stations
from bot.actions.audit import Actor
from bot.actions.errors import ActionError
from bot.actions.likeness import plain
from bot.commands import CommandError
from bot.commands.opened import opened_store
from bot.commands.workbook import read_workbook
from bot.config import load_config
from bot.store.learning_queries import live_content, live_state
from knowledge import Knowledge

COLUMNS = {
    "主题": "topic",
    "标题": "title",
    "处理方式": "route",
    "简短回答": "short",
    "谁能办": "who",
    "要带什么": "bring",
    "去哪办": "where",
    "网上办": "online",
    "费用": "fee",
    "多久": "time",
    "代办": "agent",
    "孩子": "minor",
    "注意": "watch",
    "部门": "department",
    "热线": "number",
    "依据": "rule",
    "第几条": "article",
    "施行日期": "in_force",
    "负责核对": "owner",
    "核对日期": "checked",
    "复核日期": "review_by",
    "问法": "phrases",
    "英文问法": "phrases_en",
}
_ROUTES = {"回答": "answer", "民警": "officer", "部门": "dept"}
_LISTS = ("bring", "phrases", "phrases_en")  # one in a line of the cell
_SOURCE = ("rule", "article", "in_force")
SETTINGS_SHEET = "本所设置"  # the name of a setting, its text
_SETTINGS = "settings"

Setting = tuple[int, str]  # the line it stands in, its text


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of the file and the line it begins in."""

    line: int
    content: Mapping[str, Any]


@dataclass(slots=True)
class Contents:
    """What a file holds."""

    rows: list[Row] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)


@dataclass(slots=True)
class Checked:
    good: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by topic
    bad: list[tuple[int, str]] = field(default_factory=list)


def import_knowledge(arguments: Namespace) -> None:
    """Live at once; what gets worse is printed. All entries or none, unless --skip-bad."""
    contents = read_file(arguments.file)
    try:
        asyncio.run(_import(arguments, contents))
    except ActionError as error:
        raise CommandError(f"{arguments.file}: {error}; nothing was imported") from error


async def _import(arguments: Namespace, contents: Contents) -> None:
    config = load_config(arguments.config)
    async with opened_store(config) as (store, station):
        async with store.read() as session:
            own = await live_content(session, station.id)
            versions = (await live_state(session, station.id)).versions
        before = Knowledge.load(own=list(own.values()))
        checked = check_rows(contents.rows, before)
        checked.bad += check_settings(contents.settings, before)
        for line, reason in checked.bad:
            print(f"{arguments.file}: line {line}: {reason}", file=sys.stderr)
        if checked.bad and not arguments.skip_bad:
            raise CommandError(
                f"nothing was imported: {len(checked.bad)} faults; mend them, or leave those out with --skip-bad"
            )
        bad_lines = {line for line, _ in checked.bad}
        labelled = measuring.labelled_questions(config.knowledge.questions)
        measured = measuring.measure(before, own, checked.good, labelled, versions) if checked.good else {}
        actor = Actor(station.id)
        async with store.write() as session:
            await entry_versions.import_entries(session, station.id, checked.good, measured, actor=actor)
            settings = {name: text for name, (line, text) in contents.settings.items() if line not in bad_lines}
            changed = await stations.set_settings(session, station.id, settings, before.declared, actor=actor)
    for row in measured.get("worse", ()):
        print(f"worse: {row['text']} ({row['label']}): {row['before']} -> {row['after']}", file=sys.stderr)
    left_out = len(bad_lines)
    worse = measured.get("worse_count", 0)
    print(
        f"{len(checked.good)} entries live, {changed} settings changed, {left_out} left out; "
        f"{worse} labelled questions got worse"
    )


def check_rows(rows: list[Row], knowledge: Knowledge) -> Checked:
    """Which entries may be used beside the shipped ones and each other."""
    checked = Checked()
    known = {plain(phrase): topic for topic, entry in knowledge.entries.items() for phrase in entry.all_phrases()}
    for row in rows:
        topic = str(row.content.get("topic") or "")
        faults = _faults(row.content, topic, knowledge)
        if topic in checked.good:
            faults.append(f"topic {topic} stands in the file twice; bring both together")
        for phrase in _phrases(row.content):
            other = known.setdefault(plain(phrase), topic)
            if other != topic:
                faults.append(f"phrases: {phrase!r} stands under {other} too; keep it under one topic")
        if faults:
            checked.bad += [(row.line, f"{topic or 'entry'}: {fault}") for fault in faults]
        else:
            checked.good[topic] = row.content
    return checked


def check_settings(settings: Mapping[str, Setting], knowledge: Knowledge) -> list[tuple[int, str]]:
    """Takes what cannot be used out of `settings` and says why."""
    bad = []
    for name, (line, text) in settings.items():
        if name not in knowledge.declared:
            bad.append((line, f"{name}: no answer has such a setting; the page 本所设置 of the console lists them"))
        elif len(text) > stations.SETTING_CHARACTERS or "{" in text:
            bad.append((line, f"{name}: a setting has at most {stations.SETTING_CHARACTERS} characters and no braces"))
    return bad


def _faults(content: Mapping[str, Any], topic: str, knowledge: Knowledge) -> list[str]:
    if not topic:
        return ["topic is missing; write family.name in lower-case letters, e.g. own.night_market"]
    return [f"{name}: {says}" for name, says in entry_versions.content_faults(content, knowledge)]


def _phrases(content: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in content.items():
        if name.startswith("phrases") and isinstance(value, list):
            found += [str(item) for item in value]
    return found


# --- reading --------------------------------------------------------------------------------------------------------


def read_file(file: Path) -> Contents:
    """The entries and settings of a file as they stand in it; CommandError if it cannot be read at all."""
    try:
        return _read_xlsx(file) if file.suffix.casefold() == ".xlsx" else _read_yaml(file)
    except FileNotFoundError as error:
        raise CommandError(f"{file}: there is no such file") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{file}: is not valid YAML: {error}") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: is no readable .xlsx or UTF-8 YAML file ({error})") from error


def _read_yaml(file: Path) -> Contents:
    """One entry, a list of entries, or {entries: [...], settings: {station.hours: …}}."""
    text = file.read_text(encoding="utf-8-sig")
    loaded = yaml.safe_load(text)
    tree: Any = yaml.compose(text, Loader=yaml.SafeLoader)  # the same with its places
    contents = Contents()
    if isinstance(loaded, dict) and set(loaded) <= {"entries", _SETTINGS}:
        nodes = {key.value: value for key, value in tree.value}
        contents.settings = _settings(file, loaded.get(_SETTINGS) or {}, nodes.get(_SETTINGS))
        loaded, tree = loaded.get("entries") or [], nodes.get("entries")
    items, starts = ([loaded], [tree]) if isinstance(loaded, dict) else (loaded, tree.value if tree is not None else [])
    if not isinstance(items, list) or (not items and not contents.settings):
        raise CommandError(f"{file}: must be an entry, a list of entries, or entries: and settings:")
    for item, start in zip(items, starts, strict=False):
        line = start.start_mark.line + 1
        contents.rows.append(Row(line, _plain(item) if isinstance(item, dict) else {"topic": ""}))
    return contents


def _settings(file: Path, value: object, node: Any) -> dict[str, Setting]:
    if not isinstance(value, dict):
        raise CommandError(f"{file}: settings must be a mapping of names to texts, e.g. station.hours: …")
    lines = [key.start_mark.line + 1 for key, _ in node.value] if node is not None else []
    return {
        str(name): (line, "" if text is None else str(text))
        for (name, text), line in zip(value.items(), lines, strict=False)
    }


def _plain(value: Any) -> Any:
    """As JSON can keep it: YAML reads dates as dates and numbers as numbers."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()[:10]
    return value if value is None or isinstance(value, str) else str(value)


def _read_xlsx(file: Path) -> Contents:
    """The first sheet: a line of column names, then an entry a line; a sheet 本所设置 holds names and texts."""
    sheets = read_workbook(file)
    contents = Contents()
    for number, row in enumerate(sheets.pop(SETTINGS_SHEET, ()), 1):
        name, text, *_ = (*_cells(row), "", "")
        if name:
            contents.settings[name.strip("{}")] = number, text
    lines = [_cells(row) for row in next(iter(sheets.values()), ())]
    if lines:
        contents.rows = list(_xlsx_rows(file, lines))
    if not contents.rows and not contents.settings:
        raise CommandError(f"{file}: holds no entries; the first line names the columns: {', '.join(COLUMNS)}")
    return contents


def _cells(row: tuple[object, ...]) -> list[str]:
    return ["" if cell is None else str(_plain(cell)).strip() for cell in row]


def _xlsx_rows(file: Path, lines: list[list[str]]) -> Iterator[Row]:
    names = [COLUMNS.get(name, name if name in COLUMNS.values() else "") for name in lines[0]]
    unknown = [name for name, known in zip(lines[0], names, strict=True) if name and not known]
    if unknown or "topic" not in names:
        raise CommandError(
            f"{file}: the first line must name columns out of {', '.join(COLUMNS)} and have 主题"
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    for number, cells in enumerate(lines[1:], 2):
        if any(cells):
            yield Row(number, _entry({name: text for name, text in zip(names, cells, strict=False) if name and text}))


def _entry(cells: Mapping[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {name: text for name, text in cells.items() if name not in (*_LISTS, *_SOURCE, "route")}
    for name in _LISTS:
        if name in cells:
            content[name] = [line.strip() for line in cells[name].splitlines() if line.strip()]
    if "route" in cells:
        content["route"] = _ROUTES.get(cells["route"], cells["route"])
    if "rule" in cells:
        content["sources"] = [{name: cells[name] for name in _SOURCE if name in cells}]
    return content
