"""Settings of every test run: Hypothesis profiles, and the lines that tests report at its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

REPORTED = pytest.StashKey[dict[str, list[str]]]()

# on a desk each run looks at new examples; a slow machine is not a failing test
settings.register_profile("default", deadline=None)
# in CI a red run can be repeated: fixed examples, and a blob that reproduces the failure
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
# `make check`: a first look in little time
settings.register_profile("quick", deadline=None, max_examples=10, stateful_step_count=15)
in_ci = os.environ.get("CI", "").lower() in ("1", "true")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if in_ci else "default"))


@pytest.fixture
def report_line(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Add a line under a title in the summary of the run."""
    reported = pytestconfig.stash.setdefault(REPORTED, {})
    return lambda title, line: reported.setdefault(title, []).append(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A parallel worker hands its lines to the process that prints the summary."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["reported"] = session.config.stash.get(REPORTED, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the lines of a parallel worker that has ended."""
    reported = node.config.stash.setdefault(REPORTED, {})
    for title, lines in getattr(node, "workeroutput", {}).get("reported", {}).items():
        reported.setdefault(title, []).extend(lines)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the reported lines, title by title."""
    for title, lines in config.stash.get(REPORTED, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)
