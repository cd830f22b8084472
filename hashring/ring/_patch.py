"""Which cells of an index does a change touch, and what stands in them afterwards?"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

__all__ = ["Patch", "Vnode", "remaining"]

Vnode = tuple[int, int]
"""(position, code)"""


class Patch:
    """What a change makes of the cells: ``plain`` (cell -> code) and ``inside`` / ``after``.

    ``opened`` says what stands in a cell now: its vnodes in order, and the code after them.

    It keeps one invariant: what a cell says stands after it is what the next cell begins with. So
    when a cell's first code changes, the news travels left over the cells without vnodes (the arc
    that changed hands), and ends at the first cell that has some.
    """

    def __init__(
        self,
        cells: array[int],
        shift: int,
        opened: Callable[[int], tuple[list[Vnode], int]],
        added: list[Vnode],
        removed: list[Vnode],
        order: Callable[[Vnode], Any],
    ) -> None:
        self._cells = cells
        self._opened = opened
        self.plain: dict[int, int] = {}
        self.inside: dict[int, list[Vnode]] = {}
        self.after: dict[int, int] = {}
        news: dict[int, tuple[list[Vnode], list[Vnode]]] = {}
        for which, vnodes in enumerate((added, removed)):
            for vnode in vnodes:
                news.setdefault(vnode[0] >> shift, ([], []))[which].append(vnode)
        for cell in sorted(news, reverse=True):
            self._change(cell, *news[cell], order)

    def _change(
        self, cell: int, more: list[Vnode], less: list[Vnode], order: Callable[[Vnode], Any]
    ) -> None:
        inside, after = self._open(cell)
        before = inside[0][1] if inside else after
        left = remaining(inside, less) + more
        if len(left) > 1:
            left.sort(key=order)
        self._put(cell, left, after)
        first = left[0][1] if left else after
        if first != before:
            self._tell(cell - 1, first)

    def _tell(self, cell: int, first: int) -> None:
        """Let ``cell`` and those left of it know that ``first`` now stands after them."""
        cells, plain = self._cells, self.plain
        while True:
            if cell < 0:
                cell = len(cells) - 1
            code = cells[cell] if cell not in plain else plain[cell]
            if code < 0 or cell in self.inside:
                break
            if code == first:
                return
            plain[cell] = first
            cell -= 1
        inside, after = self._open(cell)
        if after != first:
            self._put(cell, inside, first)

    def _open(self, cell: int) -> tuple[list[Vnode], int]:
        if cell in self.inside:
            return self.inside[cell], self.after[cell]
        if cell in self.plain:
            return [], self.plain[cell]
        return self._opened(cell)

    def _put(self, cell: int, inside: list[Vnode], after: int) -> None:
        if inside:
            self.plain.pop(cell, None)
            self.inside[cell], self.after[cell] = inside, after
        else:
            self.inside.pop(cell, None)
            self.plain[cell] = after


def remaining(vnodes: list[Vnode], removed: list[Vnode]) -> list[Vnode]:
    """``vnodes`` without ``removed``, one for one: a host may stand twice at one position."""
    if not removed:
        return vnodes[:]
    gone = Counter(removed)
    left = []
    for vnode in vnodes:
        if gone[vnode]:
            gone[vnode] -= 1
        else:
            left.append(vnode)
    return left
