"""How do verdicts become marks in the pool?  By one edit, so that all come in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from hashring import pool
from hashring.health.verdicts import Marks
from hashring.pool import Change, Edited, Members

__all__ = ["held"]


def held(members: Members, marks: Marks, addresses: Mapping[str, str]) -> Edited:
    """``probe`` and ``outlier`` hold down whom ``marks`` says and nobody else.

    ``addresses`` are those that were judged: a host that has another one by now is another
    machine, and not marked. A mark that is there keeps its first reason. Cost: O(n).

    >>> from hashring.hosts import Host
    >>> members = {"a": pool.Member(Host("a")), "b": pool.Member(Host("b"), {"outlier": "x"})}
    >>> after, changes = held(members, Marks({"a": "refused"}, {}), {"a": "a", "b": "b"})
    >>> dict(after["a"].down), dict(after["b"].down), len(changes)
    ({'probe': 'refused'}, {}, 2)
    """
    changes: list[Change] = []
    for holder, wanted in (("probe", marks.probe), ("outlier", marks.outlier)):
        for name, member in members.items():
            reason = wanted.get(name)
            if reason is not None and addresses.get(name) != member.host.address:
                reason = None
            if reason is not None and holder not in member.down:
                members, made = pool.marked(members, name, reason, holder)
                changes += made
            elif reason is None and holder in member.down:
                members, made = pool.unmarked(members, name, holder)
                changes += made
    return members, changes
