"""What a forked worker must not inherit: turns of its siblings, and locks that stay taken."""

from __future__ import annotations

import os
import random  # noqa: F401  # it must have registered its own hook before ours
from contextlib import ExitStack
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that is notified after a fork."""

    def after_fork(self) -> None:
        """Called in the child, while it has one thread."""


_watched: WeakSet[Forked] = WeakSet()  # weak: nothing here may outlive its balancer


def watch(forked: Forked) -> None:
    """Call ``forked.after_fork()`` in each child process for as long as the object lives.

    Cost: O(1), once for each object; nothing on the path of a choice.
    """
    _watched.add(forked)


def _in_child() -> None:
    with ExitStack() as all_of_them:  # all are called, also where one raises
        for forked in list(_watched):
            all_of_them.callback(forked.after_fork)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # The children's hooks run in the order of registration, and ``random`` has registered its
    # reseeding when it was imported above: what is drawn here differs in each worker.
    os.register_at_fork(after_in_child=_in_child)
