"""Compare a program's answers with a table, and say at the end what ran live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

from ._processes import Backends, HttpTalk, MemcachedTalk


class Agreement(NamedTuple):
    """How many keys of one case went where the table says."""

    program: str
    placement: str
    case: str
    agreed: int
    asked: int


_AGREEMENTS = pytest.StashKey[list[Agreement]]()
FEWEST_KEYS = 500  # with five hosts, a wrong placement passes once in 5^500


class Parity:
    """``agrees`` asserts that every answer is ``ours``, and notes the count."""

    def __init__(self, noted: list[Agreement]) -> None:
        self._noted = noted

    def agrees(
        self,
        program: str,
        placement: str,
        case: str,
        answers: Mapping[str, str | None],
        ours: Callable[[str], str | None],
    ) -> None:
        wrong = {key: (host, ours(key)) for key, host in answers.items() if ours(key) != host}
        asked = len(answers)
        self._noted.append(Agreement(program, placement, case, asked - len(wrong), asked))
        assert asked >= FEWEST_KEYS
        used = set(answers.values())
        assert len(used) > 1, f"all keys went to {used}: nothing was compared"
        assert not wrong, f"{len(wrong)} of {asked} keys differ (key: program, ours): {wrong}"


@pytest.fixture(scope="session")
def parity(pytestconfig: pytest.Config) -> Parity:
    return Parity(pytestconfig.stash.setdefault(_AGREEMENTS, []))


@pytest.fixture(scope="module")
def http_backends() -> Iterator[Backends]:
    backends = Backends(5, HttpTalk)
    yield backends
    backends.stop()


@pytest.fixture(scope="module")
def memcached_backends() -> Iterator[Backends]:
    backends = Backends(5, MemcachedTalk)
    yield backends
    backends.stop()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line for each case that a program answered, and one for each program that is missing."""
    agreements = config.stash.get(_AGREEMENTS, [])
    reasons = {
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if "integrations" in report.nodeid and isinstance(report.longrepr, tuple)
    }
    if agreements or reasons:
        terminalreporter.section("live parity")
    for line in _aligned(agreements):
        terminalreporter.line(line)
    for reason in sorted(reasons):
        terminalreporter.line(f"did not run: {reason}")


def _aligned(agreements: list[Agreement]) -> Iterator[str]:
    texts = [(row.program, row.placement, row.case) for row in agreements]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row, cells in zip(agreements, texts, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"{'  '.join(padded)}  {row.agreed} of {row.asked} keys agree"
