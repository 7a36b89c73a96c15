"""The command line as somebody at the station types it: what it says, what it leaves behind, how it ends."""

import asyncio
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from openpyxl import Workbook
from sqlalchemy import select, update

from bot import __main__ as command_line
from bot.config import load_config
from bot.demo.settings import demo_config
from bot.security.passwords import verify_password
from bot.store.encryption import KEY_BYTES, new_key, use_keys
from bot.store.engine import Store
from bot.store.models import AuditEvent, Officer, Resident, Role, Station
from tests.support.rows import first_fast
from tests.support.station import DATA_KEY, House

PROJECT = Path(__file__).parent.parent
NAME = "枫林派出所"
PASSWORD = "枫林值班-110-x"


@dataclass
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Types `python -m bot …` in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFICER_DATA_KEY", DATA_KEY)

    def run(*words: object, typed: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["python -m bot", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            code = command_line.main()
        except SystemExit as end:  # argparse
            code = int(str(end.code or 0))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def write_config(folder: Path, url: str | None = None, **changed: object) -> Path:
    file = folder / "config.yaml"
    settings = {
        "station": {"name": NAME},
        "database": {"url": url or f"sqlite+aiosqlite:///{folder / 'officer.db'}"},
        "security": {"data_key": "${OFFICER_DATA_KEY}"},
        **changed,
    }
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.fixture
def station(run: Run, tmp_path: Path, furnished_sqlite_url: str) -> Path:
    """The settings of a migrated station with a few communities; `--config` need not be given in its folder."""
    return write_config(tmp_path, furnished_sqlite_url)


def rows(config: Path, query: object) -> list[object]:
    async def read() -> list[object]:
        settings = load_config(config)
        use_keys(settings.security.data_key.get_secret_value())
        store = Store.open(settings.database.url)
        try:
            async with store.read() as session:
                return list((await session.execute(query)).scalars())  # type: ignore[call-overload]
        finally:
            await store.close()

    return asyncio.run(read())


# -- help and mistakes ------------------------------------------------------------------------------------------------

COMMANDS = (
    "demo", "serve", "migrate", "check-config", "new-key", "add-officer", "import-residents", "import-knowledge",
    "ask", "evaluate", "backup", "restore", "verify-log",
)  # fmt: skip


def test_help_names_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert f"    {command}" in shown.out, command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"python -m bot {command}" in shown.out


@pytest.mark.parametrize("words", [[], ["fly"], ["serve", "--fast"], ["add-officer", "x"], ["ask"]])
def test_what_is_no_command_ends_with_2(run: Run, words: list[str]) -> None:
    shown = run(*words)
    assert shown.code == 2
    assert "usage: python -m bot" in shown.err


OPENS = (["migrate"], ["check-config"], ["add-officer", "wang", "王芳"], ["backup", "b"], ["verify-log"], ["serve"])


@pytest.mark.parametrize("words", OPENS, ids=lambda words: words[0])
def test_without_settings_each_says_where_to_get_them(run: Run, words: list[str]) -> None:
    shown = run(*words, typed=PASSWORD)
    assert shown.code == 2
    assert shown.err == "error: config.yaml: there is no such file; copy config.yaml of the project and adapt it\n"


@pytest.mark.parametrize("words", OPENS, ids=lambda words: words[0])
def test_without_its_key_nothing_is_done(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    write_config(tmp_path)
    monkeypatch.delenv("OFFICER_DATA_KEY")
    shown = run(*words, typed=PASSWORD)
    assert shown.code == 2
    assert "the environment variable OFFICER_DATA_KEY is missing or empty" in shown.err
    assert not (tmp_path / "officer.db").exists()


@pytest.mark.parametrize("key", ["short", "QUJD", "x" * 44])
def test_a_key_that_is_none_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    write_config(tmp_path)
    monkeypatch.setenv("OFFICER_DATA_KEY", key)
    shown = run("check-config")
    assert shown.code == 2
    assert shown.err.startswith("error: the data key ")
    assert "python -m bot new-key" in shown.err


def test_with_another_key_nothing_is_written_and_the_remedy_is_named(
    run: Run, station: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was known would be added a second time, and a backup could not be read by whoever made it."""
    (tmp_path / "people.csv").write_text("姓名,电话\n孙七,13500135000\n", encoding="utf-8")
    assert run("import-residents", "people.csv").out == "1 residents added, 0 updated, 0 rows left out\n"
    assert run("backup", "whole").code == 0
    monkeypatch.setenv("OFFICER_DATA_KEY", new_key())
    for words in (["import-residents", "people.csv"], ["backup", "other"], ["serve"]):
        shown = run(*words)
        assert (shown.code, shown.out) == (2, "")
        assert "the table residents was encrypted with a key that is not loaded" in shown.err
        assert "security.previous_keys" in shown.err
    assert not (tmp_path / "other").exists()
    monkeypatch.setenv("OLD_KEY", DATA_KEY)
    write_config(
        tmp_path,
        load_config(station).database.url,
        security={"data_key": "${OFFICER_DATA_KEY}", "previous_keys": ["${OLD_KEY}"]},
    )
    assert run("import-residents", "people.csv").out == "0 residents added, 1 updated, 0 rows left out\n"


NEEDS_A_STATION = (["add-officer", "wang", "王芳"], ["backup", "b"], ["verify-log"])


@pytest.mark.parametrize("words", NEEDS_A_STATION, ids=lambda words: words[0])
def test_before_migrating_each_says_so(run: Run, tmp_path: Path, words: list[str]) -> None:
    write_config(tmp_path)
    shown = run(*words, typed=PASSWORD)
    assert (shown.code, shown.err) == (
        2,
        "error: the database is not at the newest schema; run: python -m bot migrate\n",
    )


@pytest.mark.parametrize("words", NEEDS_A_STATION, ids=lambda words: words[0])
def test_a_station_of_another_name_is_not_there(run: Run, station: Path, tmp_path: Path, words: list[str]) -> None:
    write_config(tmp_path, station={"name": "柳岸派出所"})
    shown = run(*words, typed=PASSWORD)
    assert shown.code == 2
    assert "there is no station called '柳岸派出所' yet; run: python -m bot migrate" in shown.err


@pytest.mark.parametrize(
    "words", [["migrate"], ["restore", "b"], *NEEDS_A_STATION, ["serve"]], ids=lambda words: words[0]
)
def test_a_database_that_does_not_answer_is_one_sentence(run: Run, tmp_path: Path, words: list[str]) -> None:
    with socket.socket() as nobody:  # bound and not listening: nobody else can take the port
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        write_config(tmp_path, f"postgresql+asyncpg://officer@127.0.0.1:{port}/officer", server={"port": 0})
        shown = run(*words, typed=PASSWORD)
    assert shown.code == 2
    assert shown.err.startswith("error: the database does not answer (")
    assert shown.err.endswith("); check database.url in the settings\n")
    assert len(shown.err.splitlines()) == 1


def test_a_file_that_is_no_database_is_one_sentence(run: Run, tmp_path: Path) -> None:
    write_config(tmp_path)
    (tmp_path / "officer.db").write_bytes(b"no database" * 500)
    shown = run("migrate")
    assert shown.code == 2
    assert shown.err.startswith("error: the database does not answer (file is not a database); check database.url")


# -- setting up -------------------------------------------------------------------------------------------------------


def test_migrating_makes_the_station_once(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    for _ in range(2):
        shown = run("migrate")
        assert (shown.code, shown.err) == (0, "")
        assert shown.out == f"{NAME}: the database is at the newest schema (0001)\n"
    assert len(rows(config, select(Station))) == 1


def test_good_settings_are_said_to_be_good(run: Run, tmp_path: Path) -> None:
    write_config(tmp_path, channels=[{"kind": "webchat", "name": "web"}])
    shown = run("check-config")
    assert (shown.code, shown.out) == (0, f"config.yaml: good. Station {NAME}; channels: web (webchat)\n")


def test_every_mistake_in_the_settings_is_a_line(run: Run, tmp_path: Path) -> None:
    write_config(tmp_path, server={"port": -1}, chanels=[])
    shown = run("check-config")
    assert shown.code == 2
    assert "config.yaml: server.port: " in shown.err
    assert "config.yaml: chanels: there is no such setting" in shown.err


def test_a_new_key_is_one_that_works_and_another_one_each_time(run: Run) -> None:
    first, second = run("new-key").out.strip(), run("new-key").out.strip()
    assert first != second
    use_keys(first)
    use_keys(DATA_KEY)
    assert len(first) == 44
    assert KEY_BYTES == 32


def test_an_officer_can_log_in(run: Run, station: Path) -> None:
    shown = run(
        "add-officer", "wang.fang", "王芳", "--role", "chief", "--badge", "033111", "--phone", "13900009999",
        typed=f"{PASSWORD}\n",
    )  # fmt: skip
    assert (shown.code, shown.err, shown.out) == (
        0,
        "",
        "wang.fang (chief) can log in now, and then chooses a password of his own\n",
    )
    (officer,) = rows(station, select(Officer).where(Officer.username == "wang.fang"))
    assert isinstance(officer, Officer)
    assert (officer.name, officer.role, officer.badge, officer.phone) == ("王芳", Role.CHIEF, "033111", "13900009999")
    assert asyncio.run(verify_password(officer.password_hash, PASSWORD))
    assert officer.password_given
    events = rows(station, select(AuditEvent).where(AuditEvent.subject == f"officer:{officer.id}"))
    assert [event.action for event in events if isinstance(event, AuditEvent)] == ["officer.added"]


def test_an_officer_has_an_account_in_wecom(run: Run, station: Path) -> None:
    assert run("add-officer", "wang.fang", "王芳", "--wecom", "WangFang", typed=f"{PASSWORD}\n").code == 0
    (officer,) = rows(station, select(Officer).where(Officer.username == "wang.fang"))
    assert isinstance(officer, Officer)
    assert officer.wecom_userid == "wangfang"  # WeCom does not tell capitals from small letters
    shown = run("add-officer", "wang", "王芳", "--wecom", "wangfang", typed=f"{PASSWORD}\n")
    assert (shown.code, "or the WeCom account 'wangfang' is taken" in shown.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "password", "sentence"),
    [
        (["wang", "王芳", "--wecom", "王芳"], PASSWORD, "a WeCom account is letters, digits"),
        (["wang", "王芳"], "short", "the password must have at least 10 characters"),
        (["wang", "王芳"], "", "the password must have at least 10 characters"),
        (["wang", "王芳"], "wangwangwang1", "not the user name"),
        (["zhang", "张伟"], PASSWORD, "the user name 'zhang' is taken; choose another one"),
        (["Wang Fang", "王芳"], PASSWORD, "the user name is 2 to 40 small letters"),
        (["wang", " "], PASSWORD, "a name is needed"),
        (["wang", "王芳", "--phone", "soon"], PASSWORD, "a phone is at least 5 digits"),
        (["wang", "王芳", "--badge", "033101"], PASSWORD, "or the badge number '033101' is taken"),
    ],
)
def test_an_officer_who_makes_no_sense_is_refused_in_english(
    run: Run, station: Path, words: list[str], password: str, sentence: str
) -> None:
    before = len(rows(station, select(Officer)))
    shown = run("add-officer", *words, typed=f"{password}\n")
    assert shown.code == 2
    assert sentence in shown.err
    assert not any(0x4E00 <= ord(sign) <= 0x9FFF for sign in shown.err)
    assert len(rows(station, select(Officer))) == before


# -- residents from a list --------------------------------------------------------------------------------------------

HEADER = "姓名,电话,性别,出生年份,职业,社区,语言,住址"
GOOD = "王小明,13812345678,女,1958,退休,枫林社区,,1幢"
BAD = "李四,abc,,,,,,"


def csv(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    file = folder / "list.csv"
    file.write_text("\r\n".join(lines) + "\r\n", encoding=encoding)
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_good_list_is_imported_and_again_it_updates(run: Run, station: Path, tmp_path: Path, encoding: str) -> None:
    file = csv(tmp_path, HEADER, GOOD, "", "赵六,,,,,,English,", encoding=encoding)
    assert run("import-residents", file).out == "2 residents added, 0 updated, 0 rows left out\n"
    file = csv(tmp_path, HEADER, GOOD)
    assert run("import-residents", file).out == "0 residents added, 1 updated, 0 rows left out\n"
    names = {row.name for row in rows(station, select(Resident)) if isinstance(row, Resident)}
    assert names == {"王小明", "赵六"}


def test_a_bad_row_is_named_and_nothing_is_imported_unless_it_may_be_left_out(
    run: Run, station: Path, tmp_path: Path
) -> None:
    file = csv(tmp_path, HEADER, GOOD, BAD)
    shown = run("import-residents", file)
    assert shown.code == 2
    assert f"{file}: line 3: 电话 (phone) is no telephone number" in shown.err
    assert "nothing was imported: 1 bad rows; mend them, or leave them out with --skip-bad" in shown.err
    assert rows(station, select(Resident)) == []
    shown = run("import-residents", file, "--skip-bad")
    assert (shown.code, shown.out) == (0, "1 residents added, 0 updated, 1 rows left out\n")
    assert "line 3" in shown.err


def test_a_spreadsheet_with_numbers_in_it(run: Run, station: Path, tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    for row in (HEADER.split(","), ["王小明", 13812345678, "女", 1958, "退休", "枫林社区", None, None], [None] * 8):
        sheet.append(row)
    file = tmp_path / "list.xlsx"
    book.save(file)
    assert run("import-residents", file).out == "1 residents added, 0 updated, 0 rows left out\n"
    (resident,) = rows(station, select(Resident))
    assert isinstance(resident, Resident)
    assert (resident.phone, resident.birth_year) == ("13812345678", 1958)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, "there is no such file"),
        ("list.csv", b"", "is empty; the first line names the columns: 姓名, 电话"),
        ("list.csv", "姓名,血型\n".encode(), "unknown: 血型"),
        ("list.csv", "电话,性别\n".encode(), "and have 姓名"),
        ("list.csv", "姓名\n王小明\n".encode("gbk"), "is no readable .xlsx or UTF-8 .csv file"),
        ("list.xlsx", b"no spreadsheet", "is no readable .xlsx or UTF-8 .csv file"),
        ("list.xlsx", b"", "is no readable .xlsx or UTF-8 .csv file"),
    ],
)
def test_a_list_that_cannot_be_read(
    run: Run, station: Path, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    shown = run("import-residents", tmp_path / name)
    assert shown.code == 2
    assert sentence in shown.err
    assert rows(station, select(Resident)) == []


# -- data -------------------------------------------------------------------------------------------------------------


def test_backup_and_restore(run: Run, station: Path, tmp_path: Path) -> None:
    run("import-residents", csv(tmp_path, HEADER, GOOD))
    file = tmp_path / "station.backup"
    shown = run("backup", file)
    assert shown.code == 0
    assert "rows. Keep the data key apart from it" in shown.out

    shown = run("restore", file)
    assert (shown.code, shown.err) == (2, "error: the database is not empty; restore into a new one\n")

    config = write_config(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    shown = run("restore", file)
    assert shown.code == 0
    assert shown.out.endswith(" rows restored\n")
    (resident,) = rows(config, select(Resident))
    assert isinstance(resident, Resident)
    assert resident.name == "王小明"
    assert run("verify-log").code == 0


def test_a_backup_that_cannot_be_written_or_read(run: Run, station: Path, tmp_path: Path) -> None:
    shown = run("backup", tmp_path / "no" / "folder" / "b")
    assert shown.code == 2
    assert "b: cannot be written (" in shown.err
    write_config(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    shown = run("restore", tmp_path / "nothing")
    assert shown.code == 2
    assert "there is no such file" in shown.err


def test_the_log_is_checked(run: Run, station: Path) -> None:
    shown = run("verify-log")
    assert (shown.code, shown.err) == (0, "")
    assert "none changed, added or removed" in shown.out

    async def forge() -> None:
        async with House.opened(load_config(station).database.url) as house, house.store.write() as session:
            await session.execute(update(AuditEvent).where(AuditEvent.seq == 2).values(why="另一个理由"))

    asyncio.run(forge())
    shown = run("verify-log")
    assert shown.code == 2
    assert "the audit log does not hold:\n  event 2: was changed after it was written" in shown.err


def cut_off(tmp_path: Path, most: int) -> None:
    """Somebody with a hand in the database takes the newest events away and corrects the note of the last one."""
    with sqlite3.connect(tmp_path / "officer.db") as database:
        database.execute("DELETE FROM audit_events WHERE seq > ?", (most,))
        (last,) = database.execute("SELECT hash FROM audit_events WHERE seq = ?", (most,)).fetchone()
        database.execute("UPDATE audit_heads SET seq = ?, hash = ?", (most, last))
    database.close()


def test_an_anchor_kept_elsewhere_shows_that_the_end_of_the_log_was_cut_off(
    run: Run, station: Path, tmp_path: Path
) -> None:
    anchor = tmp_path / "elsewhere" / "anchors"
    anchor.parent.mkdir()
    first = run("verify-log", "--anchor", anchor)
    assert (first.code, first.err) == (0, "")
    assert "0 earlier anchors hold" in first.out
    assert run("add-officer", "wang", "王芳", typed=f"{PASSWORD}\n").code == 0
    assert "1 earlier anchors hold" in run("verify-log", "--anchor", anchor).out
    (before, now) = [json.loads(line) for line in anchor.read_text(encoding="utf-8").splitlines()]
    assert (now["station"], now["events"] - before["events"]) == (NAME, 1)
    assert len(now["hash"]) == 64
    assert datetime.fromisoformat(now["at"]).tzinfo is not None
    cut_off(tmp_path, before["events"])
    assert run("verify-log").code == 0, "the chain alone does not show it"
    shown = run("verify-log", "--anchor", anchor)
    assert shown.code == 2
    assert f"event {now['events']}: is missing; the anchor knows it" in shown.err
    assert run("add-officer", "liu", "刘洋", typed=f"{PASSWORD}\n").code == 0, "another event in its place"
    assert f"event {now['events']}: is not what the anchor says" in run("verify-log", "--anchor", anchor).err
    assert len(anchor.read_text(encoding="utf-8").splitlines()) == 2, "a log that does not hold is no anchor"


@pytest.mark.parametrize(
    "line", ["hello", "[]", '{"station": "枫林派出所"}', '{"station": "枫林派出所", "events": "x"}']
)
def test_a_file_of_something_else_is_no_anchor(run: Run, station: Path, tmp_path: Path, line: str) -> None:
    file = tmp_path / "anchors"
    file.write_text(line + "\n", encoding="utf-8")
    shown = run("verify-log", "--anchor", file)
    assert shown.code == 2
    assert f"{file}: line 1 is no anchor; take the file from where it is kept" in shown.err
    assert file.read_text(encoding="utf-8") == line + "\n"
    assert "cannot be read" in run("verify-log", "--anchor", tmp_path).err


# -- the knowledge ----------------------------------------------------------------------------------------------------

DECISIONS = {"answer", "clarify", "officer", "refer", "urgent", "chat", "unknown"}


def test_asking_prints_one_object_for_each_text(run: Run) -> None:
    shown = run("ask", "--json", "身份证丢了怎么办", "多少钱", "骗子让我正在转账", "你好", "My passport is lost")
    assert (shown.code, shown.err) == (0, "")
    objects = [json.loads(line) for line in shown.out.splitlines()]
    assert len(objects) == 5
    for found in objects:
        assert {"decision", "topic", "candidates", "reply"} <= set(found)
        assert found["decision"] in DECISIONS
        assert found["topic"] is None or "." in found["topic"]
        assert all({"topic", "score"} <= set(candidate) for candidate in found["candidates"])
        assert isinstance(found["reply"], str)
    assert (objects[0]["decision"], objects[0]["topic"]) == ("answer", "idcard.lost")
    assert objects[2]["decision"] == "urgent"
    assert objects[2]["topic"].startswith("emergency.")
    assert "110" in objects[2]["reply"]


def test_asking_without_json_is_for_people(run: Run) -> None:
    shown = run("ask", "身份证丢了怎么办")
    assert shown.code == 0
    assert "decision: answer   topic: idcard.lost" in shown.out
    assert "decided by: " in shown.out


QUESTIONS = "text\tlabel\n身份证丢了怎么办\tidcard.lost\n骗子让我正在转账\temergency.fraud_paying\n你好\tnone\n"


@pytest.mark.slow
def test_measuring_says_figures_and_writes_predictions(run: Run, tmp_path: Path) -> None:
    file, out = tmp_path / "q.tsv", tmp_path / "p.tsv"
    file.write_text(QUESTIONS, encoding="utf-8")
    shown = run("evaluate", file, "--json", "--predictions", out)
    assert (shown.code, shown.err) == (0, "")
    report = json.loads(shown.out)
    assert report["questions"] == 3
    assert report["figures"]
    lines = [line.split("\t") for line in out.read_text("utf-8").splitlines()]
    assert lines[0] == ["text", "label", "decision", "topic", "second", "third"]
    assert [line[0] for line in lines[1:]] == ["身份证丢了怎么办", "骗子让我正在转账", "你好"]
    assert {line[2] for line in lines[1:]} <= DECISIONS


@pytest.mark.parametrize(
    ("content", "sentence"),
    first_fast(
        [("text\tlabel\n没有标签\n".encode(), "2"), (None, "no such file"), (b"\xff\xfe", "UTF-8"), (b"", "text")],
    ),
    ids=["no label", "no file", "no UTF-8", "empty"],
)
def test_questions_that_cannot_be_measured(run: Run, tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "q.tsv"
    if content is not None:
        file.write_bytes(content)
    shown = run("evaluate", file)
    assert shown.code == 2
    assert sentence in shown.err
    assert shown.err.startswith("error: ")


@pytest.mark.slow
def test_predictions_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text(QUESTIONS, encoding="utf-8")
    shown = run("evaluate", tmp_path / "q.tsv", "--predictions", tmp_path / "no" / "folder" / "p.tsv")
    assert shown.code == 2
    assert "p.tsv" in shown.err


# -- starting ---------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_one_sentence(run: Run, station: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        write_config(tmp_path, server={"port": port})
        shown = run("serve")
    assert shown.code == 2
    assert f"error: port {port} on 127.0.0.1 is taken or not allowed; choose another one" in shown.err


def test_the_demo_needs_no_settings_and_keeps_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "var"
    first, second = demo_config(folder, 8001), demo_config(folder, 8001)
    assert first == second
    assert first.station.name == NAME
    assert [channel.kind for channel in first.channels] == ["webchat"]
    (key,) = folder.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert demo_config(tmp_path / "other", 8001).security.data_key != first.security.data_key


# -- as real programs -------------------------------------------------------------------------------------------------


def program(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PROJECT)), **environment}
    return subprocess.run(
        [sys.executable, "-m", "bot", *map(str, words)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_real_program_migrates_and_a_second_one_without_its_key_ends_with_2(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = program("migrate", folder=tmp_path, OFFICER_DATA_KEY=DATA_KEY)
    assert (done.returncode, done.stderr) == (0, "")
    with sqlite3.connect(tmp_path / "officer.db") as database:
        assert database.execute("SELECT count(*) FROM stations").fetchall() == [(1,)]
    done = program("verify-log", folder=tmp_path, OFFICER_DATA_KEY="")
    assert done.returncode == 2
    assert "OFFICER_DATA_KEY" in done.stderr
    assert "Traceback" not in done.stderr
