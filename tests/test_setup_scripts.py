"""The scripts that set up a machine, on machines that we pretend to have."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / ".ci"
ORDINARY = ("bash", "cat", "dirname", "env", "mktemp", "rm", "true")
EVERYTHING = "postgresql chromium libatomic1 fonts-noto-cjk"


@dataclass
class Machine:
    """A PATH with a few ordinary programs and what the test puts there; `log` has each call of a pretended program."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def log(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def has(self, name: str, script: str = "exit 0") -> None:
        program = self.bin / name
        program.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.folder}/calls"\n{script}\n')
        program.chmod(0o755)

    def has_file(self, path: str) -> None:
        target = self.folder / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()

    def run(self, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [SCRIPTS / script, *arguments],
            env={"PATH": str(self.bin), "SYSTEM_ROOT": str(self.folder / "root")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A bare machine where we are root and nothing can be installed."""
    machine = Machine(tmp_path)
    machine.bin.mkdir()
    for name in ORDINARY:
        (machine.bin / name).symlink_to(shutil.which(name) or name)
    machine.has("id", "echo 0")
    return machine


def installed(machine: Machine) -> list[str]:
    return [call.split("recommends ", 1)[-1] for call in machine.log if "apt-get install" in call]


def test_a_machine_that_has_everything_is_left_alone(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has("initdb")
    machine.has("chromium")
    machine.has("fc-list", "echo 'Noto Sans CJK SC'")
    machine.has_file("usr/lib/x86_64-linux-gnu/libatomic.so.1")
    done = machine.run("system-packages")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [call for call in machine.log if "apt-get" in call] == []


def test_a_fresh_machine_gets_what_it_lacks(machine: Machine) -> None:
    machine.has("apt-get")
    done = machine.run("system-packages")
    assert done.returncode == 0, done.stderr
    assert "apt-get update -q" in machine.log
    assert installed(machine) == [EVERYTHING]


def test_programs_are_found_where_debian_keeps_them(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has_file("usr/lib/postgresql/15/bin/initdb")
    machine.has_file("usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
    machine.has_file("usr/lib/aarch64-linux-gnu/libatomic.so.1")
    assert machine.run("system-packages").returncode == 0
    assert installed(machine) == ["chromium"]


def test_a_font_list_without_chinese_counts_as_missing(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has("initdb")
    machine.has("google-chrome")
    machine.has_file("usr/lib64/libatomic.so.1")
    machine.has("fc-list", "exit 0")
    assert machine.run("system-packages").returncode == 0
    assert installed(machine) == ["fonts-noto-cjk"]


def test_without_apt_a_person_is_told_what_to_install(machine: Machine) -> None:
    done = machine.run("system-packages")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"apt-get install {EVERYTHING}" in done.stderr


def test_without_the_right_a_person_is_told_what_to_install(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has("id", "echo 1000")
    machine.has("sudo", "exit 1")
    done = machine.run("system-packages")
    assert done.returncode == 2
    assert f"sudo apt-get install {EVERYTHING}" in done.stderr
    assert installed(machine) == []


def test_sudo_without_a_password_is_used(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has("id", "echo 1000")
    machine.has("sudo", '[ "$1" = -n ] && shift && exec "$@"')
    assert machine.run("system-packages").returncode == 0
    assert installed(machine)[-1] == EVERYTHING
    assert "sudo -n true" in machine.log


def test_a_failed_install_shows_why(machine: Machine) -> None:
    machine.has("apt-get", "echo 'E: no space left'; exit 100")
    done = machine.run("system-packages")
    assert done.returncode == 2
    assert "E: no space left" in done.stderr
    assert done.stderr.rstrip().endswith("by hand and run the same command again.")


# -- the environment --------------------------------------------------------------------------------------------------


def test_a_machine_without_python_is_told_so(machine: Machine) -> None:
    done = machine.run("environment", "python3", ".venv", "requirements.lock")
    assert done.returncode == 2
    assert done.stderr.startswith("'python3' is not on this machine: install Python 3.11 or newer")


def test_an_old_python_is_refused(machine: Machine) -> None:
    machine.has("python3", '[ "$1" = --version ] && echo Python 3.9.18 || exit 1')
    done = machine.run("environment", "python3", ".venv", "requirements.lock")
    assert done.returncode == 2
    assert done.stderr.startswith("Python 3.9.18 is too old: Python 3.11 or newer is needed")


def test_a_python_without_venv_gets_it_from_debian(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has(
        "python3", f'case "$*" in *ensurepip*) exit 1;; "-m venv"*) exit 7;; *) exec {sys.executable} "$@";; esac'
    )
    done = machine.run("environment", "python3", ".venv", "requirements.lock")
    assert done.returncode == 7  # our stand-in goes no further
    assert installed(machine) == ["python3-venv"]


@pytest.mark.slow
def test_a_package_with_another_hash_is_refused(machine: Machine) -> None:
    """With the real Python and its pip, and no network: the file that is offered is not the file that was locked."""
    wheels = machine.folder / "wheels"
    wheels.mkdir()
    (wheels / "parcel-1.0-py3-none-any.whl").write_bytes(b"not what was locked")
    lock = machine.folder / "requirements.lock"
    lock.write_text(f"--no-index\n--find-links {wheels}\nparcel==1.0 --hash=sha256:{'0' * 64}\n")
    done = machine.run("environment", sys.executable, ".venv", str(lock))
    assert done.returncode == 2
    assert "HASHES" in done.stderr
    assert "could not be installed" in done.stderr
