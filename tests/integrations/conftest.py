"""Compare a program's answers with a table, and say at the end what ran live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integrations._exported import Running
from tests.integrations._parity import AGREEMENTS, Parity, aligned
from tests.integrations._processes import Backends, HttpTalk, MemcachedTalk


@pytest.fixture(scope="session")
def parity(pytestconfig: pytest.Config) -> Parity:
    return Parity(pytestconfig.stash.setdefault(AGREEMENTS, []))


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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    with ExitStack() as stack:
        yield lambda proxy: Running(proxy, tmp_path, stack)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line for each case that a program answered, and one for each program that is missing."""
    agreements = config.stash.get(AGREEMENTS, [])
    reasons = {
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if "integrations" in report.nodeid and isinstance(report.longrepr, tuple)
    }
    if agreements or reasons:
        terminalreporter.section("live parity")
    for line in aligned(agreements):
        terminalreporter.line(line)
    for reason in sorted(reasons):
        terminalreporter.line(f"did not run: {reason}")
