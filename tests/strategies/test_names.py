"""Are strategies found by their file's name?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hashring.strategies as room
from hashring.errors import ConfigError
from hashring.hosts import Host
from tests.strategies.views import CountedView, pool

FIRST = """
from hashring.hosts import Host
from hashring.strategies import Strategy, View

class {name}(Strategy):
    '''The first.'''
    USES_WEIGHT = False

    def __init__(self, *, skip: int = 0) -> None:
        super().__init__()
        self._skip = skip

    def choose(self, view: View) -> Host:
        return view.hosts[self._skip]
"""


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts a file ``my_own.py`` beside the built-in strategies."""
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])

    def write(text: str) -> None:
        (tmp_path / "my_own.py").write_text(text)

    yield write
    sys.modules.pop("hashring.strategies.my_own", None)
    if hasattr(room, "my_own"):
        del room.my_own


def test_the_built_in_ones_are_exported_and_found() -> None:
    found = {room.find(name) for name in room.names()}
    exported = {getattr(room, name) for name in room.__all__ if name[0].isupper()}
    assert found == exported - {room.Strategy, room.View, room.Rng}
    assert len(found) == 10


def test_a_new_strategy_is_one_new_file(add: Callable[[str], None]) -> None:
    add(FIRST.format(name="MyOwn") + "\nclass _Helper(MyOwn):\n    pass\n")
    assert "my-own" in room.names()
    assert dict(room.options("my-own")) == {"skip": 0}
    view = CountedView(pool(["a", "b"]))
    assert room.create("my-own", skip=1).choose(view) == Host("b")


@pytest.mark.parametrize(
    ("text", "count"), [("x = 1", 0), (FIRST.format(name="A") + FIRST.format(name="B"), 2)]
)
def test_a_file_without_one_strategy_is_refused(
    add: Callable[[str], None], text: str, count: int
) -> None:
    add(text)
    with pytest.raises(ConfigError, match=f"must define one public .* it defines {count}"):
        room.create("my-own")


@pytest.mark.parametrize("name", ["fastest", "", "_base", "round_robin", "../x", None, 7])
def test_an_unknown_name_is_answered_with_the_known_ones(name: object) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no strategy .*: (did you mean|the strategies are fewest-s)"
    ) as caught:
        room.create(name)  # type: ignore[arg-type]  # what a settings file may hold
    assert caught.value.option == "fallback"


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"'peak-ewma' has no option 'decay'.* rng=None"
    ) as caught:
        room.create("peak-ewma", decay=5)
    assert caught.value.option == "decay"
