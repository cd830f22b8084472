"""Locks are only taken by ``with``, and calls from inside a lock wait for its release."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest

from hashring.locks import Guard

PACKAGE = Path(__file__).resolve().parents[1] / "hashring"


def explicit_acquires(source: str) -> list[int]:
    """The lines that take a lock other than by ``with``: ``x_lock.acquire``, ``release`` too."""
    lines = []
    gc.disable()  # a finalizer in the middle makes ast.parse raise a SystemError on Python 3.11
    try:
        tree = ast.parse(source)
    finally:
        gc.enable()
    hooks = {
        keyword.value  # in which no exception of a signal handler gets between the two
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.register_at_fork"
        for keyword in node.keywords
    }
    for node in ast.walk(tree):
        if (
            node in hooks
            or not isinstance(node, ast.Attribute)
            or node.attr not in ("acquire", "release")
        ):
            continue
        owner = node.value
        name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if "lock" in name.lower() or "mutex" in name.lower() or "semaphore" in name.lower():
            lines.append(node.lineno)
    return sorted(lines)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_a_lock_is_only_taken_by_with(file: Path) -> None:
    assert explicit_acquires(file.read_text()) == []


def test_an_explicit_acquire_is_found() -> None:
    assert explicit_acquires("self._lock.acquire()\ntake = lock.release") == [1, 2]


def test_deferred_calls_run_once_in_order() -> None:
    guard, seen = Guard(), list[int]()
    for number in range(3):
        guard.defer(seen.append, number)
    guard.run_deferred()
    guard.run_deferred()
    assert seen == [0, 1, 2]


def test_a_call_deferred_again_waits_for_the_next_run() -> None:
    guard, seen = Guard(), list[str]()

    def call() -> None:
        seen.append("called")
        if len(seen) < 3:
            guard.defer(call)

    guard.defer(call)
    guard.run_deferred()
    assert seen == ["called"]


def test_a_deferred_call_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    guard, seen = Guard(), list[int]()
    guard.defer(lambda: 1 / 0)
    guard.defer(seen.append, 1)
    guard.run_deferred()
    assert seen == [1]
    assert "a deferred call failed" in caplog.text
