"""How does a membership become the pool's members?  By one edit, so that all is one snapshot."""

from __future__ import annotations

from dataclasses import replace

from hashring.discovery._membership import Membership
from hashring.pool import Change, Edited, Member, Members, reconciled

__all__ = ["HOLDER", "installed"]

HOLDER = "discovery"
"""Who drains the hosts that a source says are draining; others' marks are not touched."""


def installed(members: Members, membership: Membership) -> Edited:
    """``membership`` says who is in, and ``discovery`` drains whom it says and nobody else.

    Hosts that stay keep all other marks and drains; a new address under an old name is a replace.
    Cost: O(n).

    >>> from hashring.hosts import Host
    >>> members = {"a": Member(Host("a"), drains={"discovery": None}), "b": Member(Host("b"))}
    >>> after, changes = installed(members, Membership((Host("a"), Host("c")), frozenset({"c"})))
    >>> [(change.kind, change.host.name) for change in changes]
    [('unregister', 'b'), ('register', 'c'), ('resume', 'a'), ('drain', 'c')]
    """
    came, changes = reconciled(members, membership.hosts)
    after = dict(came)
    for name, member in came.items():
        wanted, drained = name in membership.draining, HOLDER in member.drains
        if wanted != drained:
            after[name] = _with_drain(member, wanted)
            kind = "drain" if wanted else "resume"
            changes.append(Change(kind, member.host, HOLDER, _CAUSE if wanted else None))
    return after, changes


_CAUSE = "the source says so"


def _with_drain(member: Member, wanted: bool) -> Member:
    others = {by: end for by, end in member.drains.items() if by != HOLDER}
    return replace(member, drains={**others, HOLDER: None} if wanted else others)
