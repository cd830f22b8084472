"""What does a forked worker inherit?  No turn of its siblings, no lock that nobody frees."""

from __future__ import annotations

import os
import random  # noqa: F401  # it must have registered its own hook before ours
from contextlib import ExitStack
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forked", "watch"]


class Forked(Protocol):
    """What wants to know that it lives in a new process."""

    def after_fork(self) -> None:
        """Called in the child, while it has one thread."""


_watched: WeakSet[Forked] = WeakSet()  # weak: nothing here may outlive its balancer


def watch(forked: Forked) -> None:
    """Call ``forked.after_fork()`` in each child process for as long as the object lives.

    Cost: O(1), once for each object; nothing on the path of a choice.
    """
    _watched.add(forked)


def _in_child() -> None:
    with ExitStack() as all_of_them:  # whatever one raises: a warning may be made an error
        for forked in list(_watched):
            all_of_them.callback(forked.after_fork)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # The children's hooks run in the order of registration, and ``random`` has registered its
    # reseeding when it was imported above: what is drawn here differs in each worker.
    os.register_at_fork(after_in_child=_in_child)
