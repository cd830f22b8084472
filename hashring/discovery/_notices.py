"""What does discovery tell?  One notice for each thing that happened, to whom it may concern."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Kind", "Listeners", "Notice"]

_log = logging.getLogger("hashring")

Kind: TypeAlias = Literal["changed", "held", "released", "refused", "lost", "back"]

_BAD_NEWS = frozenset({"held", "refused", "lost"})


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened between a source and the pool.

    ``changed``: the pool has a new membership. ``held``: an answer is empty or shrunken by more
    than half and waits for its grace time. ``released``: a better answer came instead. ``refused``:
    the pool cannot take the membership, such as above its capacity; the last good one stays.
    ``lost``: the source cannot be read; the last good pool stays. ``back``: it can again.
    """

    kind: Kind
    source: str
    text: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.source}: {self.text}"


class Listeners:
    """Those who want to hear; what one raises is logged and stops nobody else."""

    def __init__(self) -> None:
        self._all: dict[object, Callable[[Notice], object]] = {}

    def subscribe(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``callback`` with each later notice; the answer ends that, once or twice."""
        ticket = object()
        self._all[ticket] = callback

        def unsubscribe() -> None:
            self._all.pop(ticket, None)

        return unsubscribe

    def tell(self, notice: Notice) -> None:
        """Log it, and call each."""
        level = logging.WARNING if notice.kind in _BAD_NEWS else logging.INFO
        _log.log(level, "discovery: %s", notice)
        for callback in tuple(self._all.values()):
            try:
                callback(notice)
            except Exception:  # a listener's fault must not end the watch
                _log.exception("a listener failed on %s", notice)
