"""What is in the repository: locks that can be trusted, commands that exist, nothing that belongs to one machine."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
READMES = ("README.md", "README.zh-CN.md")
# This file holds the patterns and the examples that they find.
MYSELF = Path(__file__).relative_to(ROOT).as_posix()
LARGEST_BYTES = 5_000_000  # everybody who clones carries it for ever

STRANGERS = {
    "an address of a package registry": re.compile(
        r"(?:pypi|pythonhosted|npmjs|yarnpkg)\.(?:org|com)|deb\.debian\.|/simple/\s|"
        r"(?:index-url|find-links|registry)\s*[=\s]\s*[\"']?(?:https?|file):|\"resolved\":\s*\"http"
    ),
    "a path of one machine": re.compile(r"(?<![\w.}/-])/(?:work|farm|root|opt/(?:pypi|wheels)|(?:home|Users)/\w+)/"),
    "a secret key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "unfinished work": re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"),
}


@cache
def files() -> tuple[str, ...]:
    """Every file that is in the repository or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def words_of(name: str) -> str | None:
    """The file's text; None for pictures and the like."""
    content = (ROOT / name).read_bytes()
    return None if b"\0" in content[:8000] else content.decode("utf-8", "replace")


def strangers(name: str, words: str) -> list[str]:
    return [
        f"{name}:{number}: {what}: {line.strip()[:100]}"
        for number, line in enumerate(words.splitlines(), 1)
        for what, pattern in STRANGERS.items()
        if pattern.search(line)
    ]


def test_no_file_holds_what_belongs_to_one_machine_or_nowhere() -> None:
    places = [
        place for name in files() if name != MYSELF if (words := words_of(name)) for place in strangers(name, words)
    ]
    assert not places, "\n".join(["", *places])


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.com/simple",
        "--find-links file:///wheels",
        "see https://" + ".".join(("pypi", "org")) + "/project/jieba",
        '"resolved": "https://example.com/a.tgz"',
        "open('/root/.config')",
        "cd /home/lei/officer/",
        "-----BEGIN RSA PRIVATE KEY-----",
        "# TODO: the rest",
    ],
)
def test_strangers_are_found(line: str) -> None:
    assert len(strangers("somewhere", line)) == 1


@pytest.mark.parametrize(
    "line", ["cp /usr/lib/postgresql/15/bin", "get('/console/work/5')", "/usr/share/fonts", "var/home/x"]
)
def test_ordinary_paths_are_left_alone(line: str) -> None:
    assert strangers("somewhere", line) == []


def test_no_file_is_needlessly_large() -> None:
    assert [name for name in files() if (ROOT / name).stat().st_size > LARGEST_BYTES] == []


def test_text_files_are_utf8_with_unix_lines() -> None:
    texts = [(name, (ROOT / name).read_bytes()) for name in files() if words_of(name) is not None]
    assert [name for name, content in texts if b"\r\n" in content] == []
    assert [name for name, content in texts if content.decode("utf-8", "ignore").encode() != content] == []


# -- locks ------------------------------------------------------------------------------------------------------------


def locked(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Name to version and hashes, for each requirement of the lock file."""
    found: dict[str, tuple[str, list[str]]] = {}
    joined = (ROOT / lock).read_text("utf-8").replace("\\\n", " ")
    for line in joined.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line.split("--hash", 1)[0].strip())
        pins = [pin.version for pin in requirement.specifier if pin.operator == "=="]
        assert len(pins) == 1, f"{lock}: {line[:80]} is not pinned"
        found[canonicalize_name(requirement.name)] = (pins[0], re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", line))
    return found


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_has_a_hash_and_no_address(lock: str) -> None:
    assert [name for name, (_, hashes) in locked(lock).items() if not hashes] == []
    assert "://" not in (ROOT / lock).read_text("utf-8")
    assert not re.search(r"^-", (ROOT / lock).read_text("utf-8"), re.MULTILINE)  # no option such as an index


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], ()), (LOCKS[1], ("dev",))])
def test_the_lock_holds_what_the_project_declares(lock: str, extras: tuple[str, ...]) -> None:
    pins = locked(lock)
    wrong = []
    for requirement in declared(*extras):
        version, _ = pins.get(canonicalize_name(requirement.name), ("", []))
        if not version or not requirement.specifier.contains(version):
            wrong.append(f"{requirement}: {version or 'missing'}")
    assert not wrong, "run 'make lock': " + ", ".join(wrong)


def test_tests_run_on_the_versions_that_are_delivered() -> None:
    delivered, tested = locked(LOCKS[0]), locked(LOCKS[1])
    assert {name: tested.get(name) for name in delivered} == delivered


# -- commands ---------------------------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


@pytest.mark.parametrize("name", READMES)
def test_commands_of_the_readme_are_in_the_makefile(name: str) -> None:
    readme = (ROOT / name).read_text("utf-8")
    code = re.findall(r"`{3}.*?`{3}|`[^`\n]+`", readme, re.DOTALL)
    named = {target for part in code for target in re.findall(r"\bmake ([a-z][a-z-]*)", part)}
    assert {"run", "test"} <= named
    assert named <= make_targets()


def test_help_lists_what_a_person_may_type() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0:2][1] for line in said.splitlines() if line.strip().startswith("make ")}
    assert listed == make_targets() - {"static", "system-packages"}
