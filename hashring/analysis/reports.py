"""What do all reports share?  Plain dicts, tables, one sentence, and a rich rendering of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hashring.analysis.sheets import Sheet

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["Report"]


class Report(ABC):
    """What all reports share: a frozen dataclass that can be a dict, tables, or a rich rendering.

    Rich is imported when a console asks for the rendering, never before.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # each is a dataclass

    @abstractmethod
    def sheets(self) -> tuple[Sheet, ...]:
        """The report as tables of text."""

    @abstractmethod
    def sentence(self) -> str:
        """What the report says, in one sentence."""

    def __rich__(self) -> Group:
        from hashring.analysis._rich import rendered

        return rendered(self.sheets(), self.sentence())
