"""What is shipped agrees with itself: names, versions, extras, files; all offline."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hashring

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
DISTRIBUTION = PYPROJECT["project"]["name"]

LOCK_FILES = {"Pipfile.lock", "pdm.lock", "poetry.lock", "uv.lock"}
# what extras bring: none of it may cost those who only want the ring
HEAVY = ("aiohttp", "click", "matplotlib", "numpy", "polars", "rich")

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|Users|home/\w+|work)/\w|file:///")
INDEX_ADDRESS = re.compile(
    r"pypi\.org/simple|pythonhosted\.org|//[^\s/]*pypi[^\s/]*/simple|(?:--|_)(?:extra-)?index-url"
    r"|--find-links|registry\.npmjs",
    re.IGNORECASE,
)
MAY_SPEAK_OF_THEM = {"tests/test_packaging.py"}  # this file, to look for them


def installed_name(requirement: str) -> str:
    """The distribution a requirement names, in the one spelling that all spellings share."""
    name = re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def extras_of(requirement: str) -> set[str]:
    found = re.search(r"\[(.*?)\]", requirement)
    return {extra.strip() for extra in found[1].split(",")} if found else set()


def git_files() -> list[Path]:
    """The tracked files; where this is no git checkout, the test is skipped and says so."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout, so nothing says which files are tracked: {error}")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def built(target: str, into: Path) -> Path:
    """The wheel or sdist, built here and offline."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (file,) = into.iterdir()
    return file


def test_the_front_door_is_sorted_and_complete() -> None:
    names = list(hashring.__all__)
    assert names == sorted(set(names))
    shown = {
        name
        for name, value in vars(hashring).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    # what `from __future__ import annotations` and the imports for type checkers leave behind
    shown -= {"annotations", "TYPE_CHECKING"}
    assert shown <= set(names), "public, but not in __all__"
    for name in names:
        assert getattr(hashring, name) is not None


def test_the_version_has_one_source_and_the_changelog_knows_it() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PYPROJECT["project"]
    source = ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]
    assert source.samefile(hashring.__file__ or "")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert released[0] == hashring.__version__


def test_the_core_needs_two_distributions() -> None:
    core = {installed_name(requirement) for requirement in PYPROJECT["project"]["dependencies"]}
    assert core == {"mmh3", "sortedcontainers"}


def test_all_is_every_extra_for_users() -> None:
    assert {installed_name(requirement) for requirement in EXTRAS["all"]} == {DISTRIBUTION}
    covered = set().union(*map(extras_of, EXTRAS["all"]))
    large = {"ray", "spark"}  # some hundred megabytes, for one integration each
    tools = {"all", "dev"} | extras_of(" ".join(EXTRAS["dev"]))
    assert covered == set(EXTRAS) - tools - large


def test_constraints_are_pins_and_cover_what_is_asked_for() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+( ; [\w. <>='\"]+)?", pin), pin
    asked = sum(EXTRAS.values(), PYPROJECT["project"]["dependencies"])
    missing = {installed_name(one) for one in asked} - {installed_name(pin) for pin in pins}
    assert missing == {DISTRIBUTION}


def test_the_script_is_there() -> None:
    pytest.importorskip("click", reason="the command line is an extra: sticky-hashring[cli]")
    module, _, function = PYPROJECT["project"]["scripts"]["hashring"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_importing_hashring_loads_no_extra() -> None:
    code = f"import sys, hashring; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is a development tool")
    with zipfile.ZipFile(built("wheel", tmp_path)) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hashring", "sticky_hashring"}
    assert {"hashring/__init__.py", "hashring/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_holds_the_tests_and_no_stray_file(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is a development tool")
    with tarfile.open(built("sdist", tmp_path)) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers()}
    assert {"PKG-INFO", "LICENSE", "constraints.txt", "tests/test_packaging.py"} <= names
    tracked = {path.relative_to(ROOT).as_posix() for path in git_files()}
    if "pyproject.toml" not in tracked:
        pytest.skip("the project is not committed here, so every file would be a stray one")
    assert names - tracked == {"PKG-INFO"}


def test_no_tracked_file_names_this_machine_or_an_index() -> None:
    found = []
    for path in git_files():
        name = path.relative_to(ROOT).as_posix()
        assert path.name not in LOCK_FILES, f"{name}: lock files carry index addresses"
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            hit = MACHINE_PATH.search(line) or INDEX_ADDRESS.search(line)
            if hit and name not in MAY_SPEAK_OF_THEM:
                found.append(f"{name}:{number}: {hit[0]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "see " + "/home/" + "ann/hashring",
        "pip install --extra-" + "index-url x",
        "https://pypi.org/" + "simple/mmh3",
        "mmh3 @ file://" + "/wheels/mmh3.whl",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert MACHINE_PATH.search(line) or INDEX_ADDRESS.search(line)


@pytest.mark.parametrize(
    "line", ["GET /home/", "https://pypi.org/project/mmh3", "a/b/work/c", "/work"]
)
def test_the_search_leaves_the_rest_alone(line: str) -> None:
    assert not MACHINE_PATH.search(line)
    assert not INDEX_ADDRESS.search(line)
