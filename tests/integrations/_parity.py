"""How many keys went where the table says?  Compared, noted, and shown at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

__all__ = ["AGREEMENTS", "Agreement", "Parity", "aligned"]


class Agreement(NamedTuple):
    """How many keys of one case went where the table says."""

    program: str
    placement: str
    case: str
    agreed: int
    asked: int


AGREEMENTS = pytest.StashKey[list[Agreement]]()
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


def aligned(agreements: list[Agreement]) -> Iterator[str]:
    """One line for each, in columns."""
    texts = [(row.program, row.placement, row.case) for row in agreements]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row, cells in zip(agreements, texts, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"{'  '.join(padded)}  {row.agreed} of {row.asked} keys agree"
