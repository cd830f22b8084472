"""What all reports have: plain dicts, tables, one sentence, and a rich rendering of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hashring.analysis.tables import ReportTable

if TYPE_CHECKING:
    from rich.console import Group


class Report(ABC):
    """What all reports share: a frozen dataclass that can be a dict, tables, or a rich rendering.

    Rich is imported when a console asks for the rendering, never before.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # each is a dataclass

    @abstractmethod
    def tables(self) -> tuple[ReportTable, ...]:
        """The report as tables of text."""

    @abstractmethod
    def sentence(self) -> str:
        """The result of the report, in one sentence."""

    def __rich__(self) -> Group:
        from hashring.analysis._rich import render

        return render(self.tables(), self.sentence())
