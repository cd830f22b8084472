"""The search for an example that breaks a law: Hypothesis finds and shrinks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Flaky, Unsatisfiable

from hashring.errors import ConfigError

Drawn = TypeVar("Drawn")


class Broken(AssertionError):  # noqa: N818 - a law is broken; that is its word here
    """A law that does not hold, and the facts that show it."""


class Refusals:
    """Pools that the factory refused: skipped as long as it takes others."""

    def __init__(self) -> None:
        self.last: Exception | None = None

    def refuse(self, error: Exception) -> NoReturn:
        """Give up this example: it shows nothing."""
        self.last = error
        hypothesis.reject()


def _settings(max_examples: int, *phases: Phase) -> hypothesis.settings:
    # No deadline, health check or database: slow machines, nested tests and earlier runs must not
    # decide whether a law holds. One bug at a time, as one error has one counter-example.
    return hypothesis.settings(
        max_examples=max_examples,
        phases=phases,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def hunt(
    test: Callable[[st.DataObject], None],
    *,
    what: str,
    max_examples: int | None,
    seed: int,
    refusals: Refusals,
) -> None:
    """Run ``test`` on ``max_examples`` examples; an ``AssertionError`` shows the simplest failure.

    None takes the number of the Hypothesis profile in use. ``what`` names the law. Equal seeds look
    at equal examples. Raises ``ConfigError`` when every example was refused.
    """
    if max_examples is None:
        max_examples = hypothesis.settings().max_examples

    @hypothesis.seed(seed)
    @_settings(max_examples, Phase.generate, Phase.shrink)
    @hypothesis.given(st.data())
    def search(data: st.DataObject) -> None:
        test(data)

    __tracebackhide__ = True  # a report of pytest ends at the line that called the check
    repeat = f"seed={seed}, max_examples={max_examples} find this again"
    try:
        search()
    except Broken as broken:
        raise AssertionError(f"{broken}\n\n  {repeat}") from broken.__cause__
    except Flaky as flaky:
        raise AssertionError(
            f"{what} is broken, and not always: the same hosts and key got different answers\n\n"
            f"  {_last_words(flaky)}\n\n  {repeat}"
        ) from None
    except Unsatisfiable:
        raise ConfigError(
            f"{what} cannot be checked: no example was usable"
            + (f", the last pool was refused with: {refusals.last}" if refusals.last else "")
            + "; give hosts=... and keys=... that fit",
            option="hosts",
        ) from refusals.last


def _last_words(flaky: Flaky) -> str:
    """The facts of the failure that did not repeat itself, where Hypothesis kept them."""
    kept: tuple[Any, ...] = getattr(flaky, "exceptions", ())
    seen = [str(each) for each in kept if isinstance(each, Broken)]
    return seen[0].replace("\n", "\n  ") if seen else str(flaky)


def draw_examples(strategy: st.SearchStrategy[Drawn], count: int, seed: int) -> list[Drawn]:
    """About ``count`` draws of a strategy, for what is counted rather than hunted.

    Equal seeds give equal draws.
    """
    found: list[Drawn] = []

    @hypothesis.seed(seed)
    @_settings(count, Phase.generate)
    @hypothesis.given(strategy)
    def collect(each: Drawn) -> None:
        found.append(each)

    collect()
    return found
