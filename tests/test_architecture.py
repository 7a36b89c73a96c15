"""The walls of the house: who imports whom, where SQL, HTTP and the clock may be used."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bot", "handlers", "knowledge", "scheduler")

# Who may import whom. A row holds for a module and all below it; the longest row wins. Its own row is always allowed.
# The ground (GROUND, below) imports nothing of ours above it, so that all but `knowledge` may stand on it.
WALLS = """
    bot.__main__    -> bot.commands, bot.store
    bot.commands    -> bot.channels
    bot.commands    -> bot.app, bot.demo, bot.security, bot.actions, bot.store, bot.runtime, handlers.texts, knowledge
    bot.demo        -> bot.actions, bot.security, bot.store, knowledge
    bot.app         -> handlers, scheduler, bot.console, bot.api, bot.security, bot.channels, bot.dispatcher
    bot.app         -> bot.actions, bot.store, bot.runtime, bot.router, knowledge
    bot.app         -> bot.adapters, bot.callbacks, bot.checkup, bot.contacts, bot.health, bot.visitors
    bot.adapters    -> bot.actions, bot.store, bot.channels.base
    bot.callbacks   -> bot.actions, bot.store, bot.channels.base
    bot.checkup     -> bot.actions, bot.store, bot.channels.base
    bot.visitors    -> bot.actions, bot.store, bot.security, bot.runtime, bot.channels, knowledge
    bot.contacts    -> bot.actions, bot.store, bot.runtime, bot.channels, handlers.texts
    bot.health      -> bot.store, bot.runtime
    bot.console     -> bot.security, bot.actions, bot.store, bot.runtime
    bot.api         -> bot.security, bot.actions, bot.store, bot.runtime
    bot.security    -> bot.actions, bot.store, bot.runtime
    bot.dispatcher  -> bot.router, bot.actions, bot.store, bot.runtime, bot.batcher, bot.channels.base
    scheduler       -> bot.actions, bot.store, bot.runtime, bot.batcher, bot.channels.base
    handlers        -> bot.router, bot.actions, bot.store.models, knowledge
    bot.channels    ->
    bot.runtime     -> bot.router, bot.store, knowledge
    bot.router      -> bot.store, knowledge
    bot.actions     -> bot.store, bot.router, knowledge
    bot.message     -> bot.reach
    bot.batcher     ->
    bot.store       ->
    knowledge       ->
"""
GROUND = (
    "bot.checks",
    "bot.clock",
    "bot.config",
    "bot.message",
    "bot.parts",
    "bot.reach",
    "bot.wecom",
)

# What the table says already, written out because somebody will be tempted.
NEVER = {
    "bot.console": ("bot.channels", "bot.api"),
    "bot.api": ("bot.channels", "bot.console"),
    "bot.actions": ("aiohttp.web", "bot.channels"),
    "knowledge": ("aiohttp.web", "sqlalchemy", "bot"),
    "scheduler": ("aiohttp.web", "bot.console"),
}

# What costs every start a fifth of a second and few runs need is imported where it is used.
DEAR = ("openpyxl", "alembic", "sqlalchemy.dialects.postgresql")

SQL_LIVES_IN = ("bot.store", "bot.actions", "bot.security")  # security: a log-in is its row and its rules in one
# What others may take from SQLAlchemy: the session they pass on, and the errors they meet at the edge.
NO_SQL = {"sqlalchemy.ext.asyncio.AsyncSession", "sqlalchemy.exc"}
RUNS_SQL = {"execute", "scalar", "scalars", "stream", "stream_scalars", "exec_driver_sql"}
LOOKS_LIKE_SQL = ("SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ", "PRAGMA ")

READS_THE_CLOCK = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.localtime",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """A file of ours: its dotted name and what it says."""

    name: str
    tree: ast.Module
    is_package: bool = False

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 0)}"


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression; "" for what is not that simple."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every name the module imports, in full: `from bot import clock` gives `bot.clock`."""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node, f"{source}.{alias.name}") for alias in node.names)


# -- the rules: each returns the places that break it -----------------------------------------------------------------


def walls(table: str = WALLS) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = {name: set() for name in GROUND}
    for line in table.strip().splitlines():
        name, _, allowed = line.partition("->")
        rows.setdefault(name.strip(), set()).update(word.strip() for word in allowed.split(",") if word.strip())
    return rows


def row_of(name: str, rows: dict[str, set[str]]) -> str | None:
    return max((row for row in rows if below(name, row)), key=len, default=None)


def broken_walls(module: Module, rows: dict[str, set[str]]) -> list[str]:
    ours = [(node, name) for node, name in imports(module) if name.split(".")[0] in PACKAGES]
    if module.name == "bot":
        return [f"{module.at(node)}: the package bot itself imports nothing" for node, _ in ours]
    row = row_of(module.name, rows)
    if row is None:
        return [f"{module.name}: has no row in WALLS; decide what it may import"]
    allowed = {row, *rows[row]}
    if row != "knowledge" and row not in GROUND:
        allowed |= set(GROUND)
    return [
        f"{module.at(node)}: {row} does not import {name}"
        for node, name in ours
        if not any(below(name, target) for target in allowed)
    ]


def tempted(module: Module) -> list[str]:
    return [
        f"{module.at(node)}: {package} never imports {target}"
        for package, targets in NEVER.items()
        if below(module.name, package)
        for node, name in imports(module)
        for target in targets
        if below(name, target)
    ]


def inner_imports(module: Module) -> list[str]:
    bought = {node for node, name in imports(module) if any(below(name, package) for package in DEAR)}
    return sorted(
        {
            f"{module.at(inner)}: import inside {outer.name}()"
            for outer in ast.walk(module.tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(outer)
            if isinstance(inner, ast.Import | ast.ImportFrom) and inner not in bought
        }
    )


def stray_sql(module: Module) -> list[str]:
    if any(below(module.name, home) for home in SQL_LIVES_IN):
        return []
    places = [
        f"{module.at(node)}: imports {name}"
        for node, name in imports(module)
        if below(name, "sqlalchemy") and not any(below(name, harmless) for harmless in NO_SQL)
    ]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS_SQL:
            places.append(f"{module.at(node)}: calls .{node.func.attr}()")
        words = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if words.lstrip().startswith(LOOKS_LIKE_SQL):
            places.append(f"{module.at(node)}: {words.strip()[:40]!r}")
    return places


def other_clocks(module: Module) -> list[str]:
    if module.name == "bot.clock":
        return []
    return [
        f"{module.at(node)}: {dotted(node.func)}() where bot.clock.now() is meant"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in READS_THE_CLOCK
    ]


def no_purpose(module: Module) -> list[str]:
    said = (ast.get_docstring(module.tree) or "").split("\n", 1)[0]
    return [] if said.endswith((".", "?", "。")) else [f"{module.name}: its first line does not say what it is for"]


RULES = {
    "imports point one way": lambda module: broken_walls(module, walls()),
    "what somebody will be tempted to import": tempted,
    "no import inside a function": inner_imports,
    "no SQL outside store and actions": stray_sql,
    "time only by bot.clock.now()": other_clocks,
    "the first line says what the file is for": no_purpose,
}


# -- the tests --------------------------------------------------------------------------------------------------------


@cache
def our_modules() -> tuple[Module, ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Module(name, ast.parse(path.read_text("utf-8")), is_package))
    return tuple(found)


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_the_rule(rule: str) -> None:
    places = [place for module in our_modules() for place in RULES[rule](module)]
    assert not places, "\n".join(["", *places])


def test_all_packages_were_looked_at() -> None:
    assert {module.name.split(".")[0] for module in our_modules()} == set(PACKAGES)


def test_every_row_of_the_table_is_about_something() -> None:
    names = {module.name for module in our_modules()}
    rows = walls()
    mentioned = set(rows).union(*rows.values())
    assert {name for name in mentioned if not any(below(module, name) for module in names)} == set()


def test_the_table_itself_points_one_way() -> None:
    rows = walls()
    graph = {
        row: {target for name in allowed if (target := row_of(name, rows)) != row} for row, allowed in rows.items()
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle
    assert order.index("bot.store") < order.index("bot.actions") < order.index("bot.console") < order.index("bot.app")


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        ("imports point one way", "knowledge.index", "from bot.store import models"),
        ("imports point one way", "knowledge.index", "from bot import clock"),
        ("imports point one way", "bot.store.search", "from bot.actions import tickets"),
        ("imports point one way", "bot.store.search", "from ..actions import tickets"),
        ("imports point one way", "handlers.police", "import scheduler.outbox"),
        ("imports point one way", "scheduler.warnings", "from bot.channels.webchat import WebChat"),
        ("imports point one way", "bot.newcomer", "x = 1"),
        ("imports point one way", "bot", "from bot.app import create_app"),
        ("what somebody will be tempted to import", "bot.console.tickets", "from bot import channels"),
        ("what somebody will be tempted to import", "bot.api.tickets", "from bot.channels.base import Channel"),
        ("what somebody will be tempted to import", "bot.actions.tickets", "from aiohttp import web"),
        ("what somebody will be tempted to import", "scheduler.tick", "import aiohttp.web"),
        ("no import inside a function", "bot.app", "async def start():\n    if True:\n        import json"),
        ("no SQL outside store and actions", "bot.console.tickets", "from sqlalchemy import select"),
        ("no SQL outside store and actions", "handlers.police", "async def f(s):\n    await s.scalars(query)"),
        ("no SQL outside store and actions", "scheduler.tick", "QUERY = 'SELECT id FROM ticket'"),
        ("time only by bot.clock.now()", "handlers.police", "import datetime\nx = datetime.datetime.now()"),
        ("time only by bot.clock.now()", "scheduler.tick", "import time\nx = time.time()"),
        ("the first line says what the file is for", "bot.app", "import json"),
    ],
)
def test_the_rule_finds(rule: str, name: str, source: str) -> None:
    assert len(RULES[rule](Module(name, ast.parse(source)))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("bot.app", "from handlers import ROUTERS\nfrom bot import console"),
        ("bot.store.search", "from sqlalchemy import select\nfrom bot.store import models\nfrom bot import clock"),
        ("scheduler.tick", "from sqlalchemy.ext.asyncio import AsyncSession\nfrom bot.channels.base import SendError"),
        ("handlers.police", "import time\nstarted = time.monotonic()\nwords = '请 SELECT 一项'"),
    ],
)
def test_the_rules_leave_alone(name: str, source: str) -> None:
    module = Module(name, ast.parse(f'"""What it is for."""\n{source}'))
    assert [place for rule in RULES.values() for place in rule(module)] == []
