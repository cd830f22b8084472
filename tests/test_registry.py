"""Plug-ins: built-in modules, and entry points of installed distributions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hashring import placement
from hashring.errors import ConfigError, requires_extra
from hashring.registry import Registry, check_known, keyword_options

PLUGIN = '''
from hashring.placement.modulo import build as _build
def build(hosts, *, turns=3):
    """As modulo."""
    return _build(hosts)
'''


def distribution(folder: Path, entry: str, source: str = PLUGIN) -> None:
    """An installed distribution with one entry point, as an installer leaves it."""
    (folder / "their_placement.py").write_text(source)
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hashring.placement]\n{entry}\n")


def run(folder: Path, code: str) -> str:
    """What a new process prints that has the distribution on its path."""
    source = f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", source], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_distribution_adds_a_placement(tmp_path: Path) -> None:
    distribution(tmp_path, "theirs = their_placement")
    code = (
        "from hashring import LoadBalancer, placement\n"
        "print('theirs' in placement.names(), dict(placement.options('theirs')),\n"
        "      LoadBalancer(['a', 'b'], placement='theirs').pick('x').name)"
    )
    assert run(tmp_path, code) == "True {'turns': 3} b"


def test_a_built_in_wins_over_an_entry_point_of_its_name(tmp_path: Path) -> None:
    distribution(tmp_path, "ring = their_placement")
    code = "from hashring import placement; print(placement.module('ring').__name__)"
    assert run(tmp_path, code) == "hashring.placement.ring"


def test_an_entry_point_that_cannot_be_imported_is_one_error(tmp_path: Path) -> None:
    distribution(tmp_path, "theirs = their_placement", "import missing_module")
    code = (
        "from hashring import placement\n"
        "try: placement.module('theirs')\n"
        "except ValueError as error: print(error)"
    )
    assert run(tmp_path, code) == (
        "the placement 'theirs' of their_placement cannot be imported: "
        "ModuleNotFoundError: No module named 'missing_module'"
    )


@pytest.mark.parametrize("name", ["_base", "__init__", "..ring", "", None, 7, "ring\x00"])
def test_only_public_modules_have_names(name: object) -> None:
    registry = Registry("hashring.placement", "placement")
    with pytest.raises(ConfigError, match="there is no placement") as caught:
        registry.get(name)  # type: ignore[arg-type]  # what a settings file may have
    assert caught.value.option == "placement"


def test_names_are_those_of_the_files() -> None:
    folder = Path(placement.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}
    assert set(placement.names()) == files


def test_options_are_the_keyword_only_ones() -> None:
    class Made:
        def __init__(self, first: int, *, second: int = 2) -> None: ...

    assert keyword_options(Made) == {"second": 2}
    assert keyword_options(int) == {}
    check_known("made", ["second", "secret"], {"second": 2}, hidden={"secret"})
    with pytest.raises(ConfigError, match="made has no option 'x'; its options are second=2"):
        check_known("made", ["x"], {"second": 2})


def test_a_missing_extra_is_named() -> None:
    with (
        pytest.raises(ConfigError, match=r'need missing_module: pip .*\[redis\]"$') as caught,
        requires_extra("redis", "pins in Redis", option="pins"),
    ):
        __import__("missing_module")
    assert caught.value.option == "pins"
    with pytest.raises(ZeroDivisionError), requires_extra("redis", "pins"):
        _ = 1 / 0
