"""How do the tests run?  Hypothesis explores on a desk and repeats itself in CI.

What a test counted (which class of requests was refused, who moved) is told at the end of the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

TOLD = pytest.StashKey[dict[str, list[str]]]()

# on a desk each run looks at new examples; a slow machine is not a failing test
settings.register_profile("default", deadline=None)
# in CI a red run can be repeated by anybody: fixed examples, and a blob that reproduces the failure
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "default")


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Note a line, to be shown under a title at the end of the run."""
    told = pytestconfig.stash.setdefault(TOLD, {})
    return lambda title, line: told.setdefault(title, []).append(line)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What tests have told, title by title."""
    for title, lines in config.stash.get(TOLD, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)
