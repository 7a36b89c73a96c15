"""Runs a private, real PostgreSQL server for the tests and hands out clean databases on it."""

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

_SUPERUSER = "officer"
_FOLDER_PREFIX = "officer-postgres-"
_START_TRIES = 5  # the port was free when we looked; somebody else may have been faster
_START_SECONDS = 60
_ON_THROWAWAY_DATA = {"fsync": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """PostgreSQL could not be started or told something; the text says why."""


class PostgresCluster:
    """One server on 127.0.0.1 with its data in `folder`; any process that knows the folder can use and stop it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._port_file = folder / "port"

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self._port_file.exists()

    @property
    def port(self) -> int:
        return int(self._port_file.read_text())

    def start(self, *, fsync: bool = False, settings: dict[str, str] | None = None) -> None:
        """Make the data folder if it is new, and start; `fsync` for what measures or proves durability."""
        if not self.data.exists():
            self._make_data_folder()
        chosen = {"max_connections": "200", "log_min_messages": "warning"}
        chosen |= {} if fsync else _ON_THROWAWAY_DATA
        chosen |= settings or {}
        for _ in range(_START_TRIES):
            port = free_port()
            if self._try_to_start(port, chosen):
                self._port_file.write_text(str(port))
                return
        raise PostgresError(f"PostgreSQL did not start:\n{self._log()}")

    def stop(self) -> None:
        """End the server as a power cut would, without a checkpoint; `start` recovers what was committed."""
        self._port_file.unlink(missing_ok=True)
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--pgdata", str(self.data), "--mode", "immediate", "--wait")

    # -- databases ----------------------------------------------------------------------------------------------------

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self, template: str = "template0") -> str:
        """Make a clean database, a copy of `template`, and return its URL."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def template_database(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make the database `name` once for all workers, let `prepare(url)` fill it, and return `name` as a template.

        `prepare` must have closed its connections when it returns: PostgreSQL copies no database in use.
        """
        with exclusive(self.folder / f"{name}.lock"):
            if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
                half_made = f"{name}_half_made"
                self.sql(f"DROP DATABASE IF EXISTS {half_made}")
                self.sql(f"CREATE DATABASE {half_made} TEMPLATE template0")
                prepare(self.url(half_made))
                self.sql(f"ALTER DATABASE {half_made} RENAME TO {name}")
        return name

    def drop_database(self, url: str) -> None:
        """Drop a database made by `fresh_database`, whoever is still connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def sql(self, statement: str) -> str:
        """Run one statement as the superuser and return what psql prints."""
        connection = f"host=127.0.0.1 port={self.port} user={_SUPERUSER} dbname=postgres"
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [binary("psql"), *options, "--command", statement, connection], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PostgresError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _make_data_folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if account := _account():
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run(
            "initdb", "--pgdata", str(self.data), "--username", _SUPERUSER, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip

    def _try_to_start(self, port: int, settings: dict[str, str]) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(self.folder),
            **settings,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        code = self._run(
            "pg_ctl", "start", "--pgdata", str(self.data), "--log", str(self.folder / "log"), "--options", options,
            "--wait", "--timeout", str(_START_SECONDS), "--silent", may_fail=True,
        )  # fmt: skip
        return code == 0

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(it wrote no log)"

    def _run(self, name: str, *arguments: str, may_fail: bool = False) -> int:
        """Run one of PostgreSQL's programs; as an ordinary user where we are root, since PostgreSQL refuses root."""
        account = _account()
        output = self.folder / f"{name}.out"
        with output.open("w+") as written:  # a file, no pipe: the server inherits it and would hold a pipe open
            code = subprocess.run(
                [binary(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            ).returncode
        if code and not may_fail:
            raise PostgresError(f"{name} failed: {output.read_text(errors='replace').strip()}")
        return code


def binary(name: str) -> str:
    """The path of one of PostgreSQL's programs: on the PATH, or where Debian keeps them, newest first."""
    if found := shutil.which(name):
        return found
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if not kept:
        raise PostgresError(f"PostgreSQL's {name} is not on this machine: run .ci/system-packages")
    return str(kept[-1])


@contextmanager
def private_cluster(*, fsync: bool = False, settings: dict[str, str] | None = None) -> Iterator[PostgresCluster]:
    """A server for one test or benchmark alone, which may stop it and start it again."""
    folder = _new_folder()
    cluster = PostgresCluster(folder)
    try:
        cluster.start(fsync=fsync, settings=settings)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


# -- one server for a whole run: the first worker that needs it starts it, the process that leads the run ends it ------


def announce_shared_cluster() -> Path:
    """Choose the folder of this run's shared server (nothing is started yet); the leading process calls this once."""
    _end_forgotten_clusters()
    return _new_folder()


def shared_cluster(folder: Path) -> PostgresCluster:
    """The run's server, started by whoever comes first."""
    cluster = PostgresCluster(folder)
    with exclusive(folder / "start.lock"):
        if not cluster.is_running:
            cluster.start()
    return cluster


def end_shared_cluster(folder: Path) -> None:
    PostgresCluster(folder).stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """One process at a time."""
    with lock_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _new_folder() -> Path:
    """A short path (a socket's may have 107 bytes) that the unprivileged user can reach; its name tells whose it is."""
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))


def _end_forgotten_clusters() -> None:
    """Stop the servers of our own earlier runs that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        owner = re.match(rf"{_FOLDER_PREFIX}(\d+)-", folder.name)
        if owner and not Path(f"/proc/{owner[1]}").exists() and os.access(folder, os.W_OK):
            end_shared_cluster(folder)


def _account() -> pwd.struct_passwd | None:
    """The ordinary user PostgreSQL runs as when we are root; None when we are an ordinary user ourselves."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")
