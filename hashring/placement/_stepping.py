"""What if a down host keeps its points, and a look-up steps over them?  gRPC and nginx do so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from hashring.hosts import Host
from hashring.keys import Key
from hashring.placement._base import fingerprint_of
from hashring.placement._circle import CircleTable, Make, distinct
from hashring.ring.index import Index
from hashring.ring.layout import CODE_MASK

Places: TypeAlias = "Sequence[tuple[str, ...]]"
"""The hosts behind each code of a circle: one, or several that are one place to the program."""


class SteppedTable(CircleTable):
    """A circle that stays as it is while hosts are down.

    A look-up goes on point by point to the first host that is not in ``down``; after ``steps`` of
    them the answer is None. That walk is done once for every point when the table is built, so a
    look-up costs the same with any number of hosts down.
    """

    __slots__ = ("_circle", "_down", "_mark", "_places", "_steps")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Make,
        *,
        circle: Index[str],
        places: Places,
        position: Callable[[Key], int],
        steps: int,
        down: frozenset[str] = frozenset(),
    ) -> None:
        index: Index[str] | Index[str | None]
        index = step_circle(circle, places, steps, down) if down else circle
        mark = fingerprint_of(fingerprint, tuple(sorted(down))) if down else fingerprint
        super().__init__(hosts, mark, make, index=index, position=position)
        self.hosts = tuple(host.name for host in hosts if host.name not in down)
        self._mark = fingerprint  # of the whole circle
        self._circle = circle
        self._places = places
        self._steps = steps
        self._down = down

    def _over(self, gone: Iterable[str]) -> SteppedTable:
        # always from the whole circle, so that the order in which hosts went down is no matter
        return type(self)(
            self._hosts,
            self._mark,
            self._make,
            circle=self._circle,
            places=self._places,
            position=self.position,
            steps=self._steps,
            down=self._down.union(gone),
        )

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts that are not down, in the order of their points from ``key`` on.

        Hosts without points come last. Cost: a few us for the first hosts, O(points) for all.
        """
        if len(self._places) == len(self._hosts):
            yield from distinct(self._circle, self.position(key), self.hosts)
            return
        members = {place[0]: place for place in self._places}
        for first in distinct(self._circle, self.position(key), tuple(members)):
            yield from (name for name in members[first] if name not in self._down)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._make, self._hosts, self._down)


def _restore(make: Make, hosts: tuple[Host, ...], down: frozenset[str]) -> object:
    return make(hosts).without(down)


def step_circle(
    circle: Index[str], places: Places, steps: int, down: frozenset[str]
) -> Index[str | None]:
    """``circle`` where each point belongs to the host at which a look-up from there ends.

    A point whose next usable one is more than ``steps`` away belongs to no host. Cost: O(points).

    >>> from hashring.ring.layout import pack
    >>> circle = Index.build(pack([(1, 0), (2, 1), (3, 0), (4, 2)]), ["a", "b", "c"], bits=8)
    >>> places = [("a",), ("b",), ("c",)]
    >>> after = step_circle(circle, places, 1, frozenset("ab"))
    >>> [after.labels[after.find(position)] for position in (1, 2, 3, 4)]
    [None, None, 'c', 'c']
    """
    serving = [next((n for n in place if n not in down), None) for place in places]
    no_host = len(serving)
    vnodes = circle.vnodes()
    found: list[int] = []
    code, away = no_host, 0
    for turn in (0, 1):  # the first turn only learns what stands after the last point
        for vnode in reversed(vnodes):
            owner = vnode & CODE_MASK
            if serving[owner] is not None:
                code, away = owner, 0
            else:
                away += 1
            if turn:
                found.append(vnode - owner | (code if away <= steps else no_host))
    return Index.build(found[::-1], [*serving, None], bits=circle.bits)
