"""The model of a balancer: plain dicts, a fresh ring for each question, drains by the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from math import ceil

from hashring.hosts import Host
from hashring.ring import HashRing

__all__ = ["VNODES", "Model", "Record"]

VNODES = 8
MACHINE = {"probe", "outlier"}


@lru_cache(maxsize=4096)
def _walk(hosts: frozenset[tuple[str, float]], client: str) -> tuple[str, ...]:
    return tuple(HashRing(sorted(hosts), vnodes=VNODES).walk(client))


class Record:
    """One registered machine: what it is, who says what of it, and how many requests it has."""

    def __init__(self, weight: float, address: str) -> None:
        self.weight, self.address = weight, address
        self.down: dict[str, str] = {}
        self.drains: dict[str, float | None] = {}
        self.counts = Counter[str]()  # in_flight, ok, failed of this very machine

    def replaced(self, address: str) -> Record:
        new = Record(self.weight, address)
        new.down = {by: why for by, why in self.down.items() if by not in MACHINE}
        new.drains = {by: end for by, end in self.drains.items() if by not in MACHINE}
        return new

    def state(self, now: float) -> str:
        if self.down or any(end is not None and end <= now for end in self.drains.values()):
            return "down"
        return "draining" if self.drains else "up"


class Model:
    """The pool as a mapping name -> record, in the order of registration."""

    def __init__(self, factor: float | None, floor: int, capacity: int | None) -> None:
        self.factor, self.floor, self.capacity = factor, floor, capacity
        self.records: dict[str, Record] = {}

    def usable(self, exclude: Iterable[str] = ()) -> dict[str, float]:
        gone = set(exclude)
        return {
            name: record.weight
            for name, record in self.records.items()
            if not record.down and not record.drains and name not in gone
        }

    def walk(self, weights: dict[str, float], client: str) -> tuple[str, ...]:
        return _walk(frozenset(weights.items()), client)

    def answer(
        self,
        now: float,
        client: str | None,
        prefer: str | None,
        exclude: set[str],
        *,
        lease: bool,
    ) -> tuple[set[str], str | None]:
        """The hosts that may serve, and the reason; an empty set when nobody can."""
        record = self.records.get(prefer or "")
        if prefer and record and prefer not in exclude and record.state(now) != "down":
            return {prefer}, "pinned"
        left = self.usable(exclude)
        if not left:
            return set(), None
        if not client:
            return set(left), "fallback"
        order = self.walk(left, client)
        host = next(name for name in order if not lease or self._has_room(name, left))
        if host != order[0]:
            return {host}, "overflow"
        everybody = {name: record.weight for name, record in self.records.items()}
        return {host}, "owner" if host == self.walk(everybody, client)[0] else "next"

    def _has_room(self, name: str, left: dict[str, float]) -> bool:
        if self.factor is None:
            return True
        load = {n: self.records[n].counts["in_flight"] for n in left}
        share = Fraction(self.factor) * (sum(load.values()) + 1) * Fraction(left[name])
        bound = ceil(share / sum(map(Fraction, left.values())))
        return load[name] < max(self.floor, bound)

    def reconcile(self, hosts: list[Host]) -> set[tuple[str, str]]:
        """``set_hosts``; the (kind, name) of its events."""
        told, after = set(), {}
        for host in hosts:
            record = self.records.get(host.name)
            if record is None:
                record = Record(host.weight, host.address)
                told.add(("register", host.name))
            if record.address != host.address:
                record = record.replaced(host.address)
                told.add(("replace", host.name))
            if record.weight != host.weight:
                record.weight = host.weight
                told.add(("set_weight", host.name))
            after[host.name] = record
        told |= {("unregister", name) for name in self.records if name not in after}
        if told:  # the same hosts in another order are no change
            self.records = after
        return told
