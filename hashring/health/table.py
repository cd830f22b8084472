"""The hosts to hold down, by probes and outliers together. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from hashring import pool
from hashring.errors import UnknownHostError
from hashring.health import outlier
from hashring.health.outlier import OutlierRules, OutlierState
from hashring.health.probe_state import HealthChange, ProbeRules, ProbeState, judge_probe
from hashring.hosts import Host
from hashring.pool import MACHINE_HOLDERS, Edited, HostChange, Member, Members
from hashring.validators import FRACTION, choice

WhenAllDown = Literal["route", "refuse"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Marks:
    """Hosts that are not well: holder -> host -> reason; ``panic_reason`` in panic mode.

    Hosts in ``probe`` are held down. Those in ``outlier`` are drained, so that they keep their
    known clients, and held down where they are in ``unreachable`` too.
    """

    probe: Mapping[str, str]
    outlier: Mapping[str, str]
    panic_reason: str | None = None
    unreachable: frozenset[str] = frozenset()


class HealthTable:
    """The health of all hosts of one pool; methods take the time and return what changed.

    ``when_all_down="route"`` lifts all marks while no host that others leave in would be left,
    ``panic`` also while less than that fraction would be. Not thread-safe.

    >>> table = HealthTable(ProbeRules(fall=1), OutlierRules())
    >>> table.follow({name: Member(Host(name)) for name in ("a", "b")}, now=0.0)
    ()
    >>> [str(change) for change in table.record_probe("a", "refused", 1.0, 1.0)]
    ['down a: refused (1 probe)']
    >>> table.settle(1.0)[0].probe
    {'a': 'refused (1 probe)'}
    """

    def __init__(
        self,
        rules: ProbeRules,
        outliers: OutlierRules | None,
        when_all_down: WhenAllDown = "route",
        panic: float | None = None,
    ) -> None:
        choice("route", "refuse")(when_all_down, "when_all_down")
        if panic is not None:
            FRACTION(panic, "panic")
        self.rules, self.outliers = rules, outliers
        self._when_all_down, self._panic = when_all_down, panic
        self._members: Members = {}
        self.health: dict[str, ProbeState] = {}
        self.outlier_states: dict[str, OutlierState] = {}
        self.suspects: set[str] = set()  # whose failures in a row a success would end
        self._ejected: set[str] = set()
        self._panic_reason: str | None = None
        self.stats = dict.fromkeys(_COUNTED.values(), 0) | {
            "probes": 0,
            "probes_failed": 0,
            "probes_void": 0,
            "ejections_refused": 0,
        }

    def follow(
        self, members: Members, now: float, renewed: Collection[str] = ()
    ) -> tuple[HealthChange, ...]:
        """These are the members now; those in ``renewed`` are others under the name. Cost: O(n).

        A host that is found held by ``probe`` starts down and needs one success.
        """
        self._members = members
        for name in [name for name in self.health if name not in members or name in renewed]:
            del self.health[name], self.outlier_states[name]
            self.suspects.discard(name)
            self._ejected.discard(name)
        for name, member in members.items():
            if name not in self.health:
                held = member.down.get("probe")
                self.health[name] = ProbeState(name, up=held is None, why=held or "", since=now)
                self.outlier_states[name] = OutlierState(name, since=now)
        return self._shrink(now)

    def _shrink(self, now: float) -> tuple[HealthChange, ...]:
        """Let back whom the limit of a pool grown smaller no longer covers."""
        if self.outliers is None or not self._ejected:
            return ()
        over = len(self._ejected) - self.outliers.most(len(self._members))
        soonest = sorted(self._ejected, key=lambda name: (self.outlier_states[name].until, name))
        return self._back(((name, "the pool is smaller") for name in soonest[: max(0, over)]), now)

    def record_probe(
        self, name: str, why: str | None, began: float, now: float
    ) -> tuple[HealthChange, ...]:
        """A probe that ``began`` then has passed (``why`` None) or failed. Cost: O(1)."""
        if name not in self.health:
            return ()
        self.stats["probes"] += 1
        self.stats["probes_failed"] += why is not None
        self.health[name], changes = judge_probe(self.health[name], why, now, self.rules)
        if why is None and name in self._ejected and self.outliers is not None:
            reason = outlier.may_return(self.outlier_states[name], began, now, self.outliers)
            if reason is not None:
                changes += self._back([(name, reason)], now)
        return self._count(changes)

    def record_response(
        self, name: str, why: str | None, began: float, now: float, *, unreachable: bool = False
    ) -> tuple[HealthChange, ...]:
        """A request that ``began`` then ended well (``why`` None) or failed.

        ``unreachable``: it failed because there was no connection. Cost: O(1), and O(n) where it
        may eject.
        """
        state = self.outlier_states.get(name)
        rules = self.outliers
        if state is None or rules is None:
            return ()
        due = why is not None and state.until is None and not (state.run + 1) % rules.failures
        room = due and self._has_room(name)
        self.stats["ejections_refused"] += due and not room
        new, changes = outlier.judge_response(
            state, why, began, now, rules, room=room, unreachable=unreachable
        )
        self.outlier_states[name] = new
        if new.unreachable and not state.unreachable and not changes:
            changes = (HealthChange("lost", name, f"no connection: {why}", now),)
        (self.suspects.add if new.run else self.suspects.discard)(name)
        if new.until is not None:
            self._ejected.add(name)
        return self._count(changes)

    def _has_room(self, name: str) -> bool:
        assert self.outliers is not None
        if len(self._ejected) >= self.outliers.most(len(self._members)):
            return False
        left = [each for each in self._free() if not self._hold(each)]
        return name in left and len(left) > 1  # never the last usable one

    def tick(self, now: float) -> tuple[HealthChange, ...]:
        """Let back whose time is over. Cost: O(ejected)."""
        if self.outliers is None:
            return ()
        rules = self.outliers
        asked = [
            (name, outlier.may_return(self.outlier_states[name], -math.inf, now, rules))
            for name in sorted(self._ejected)
        ]
        return self._back(((name, why) for name, why in asked if why is not None), now)

    def due(self) -> float | None:
        """When the next ejection ends; None if no host is ejected."""
        ends = (self.outlier_states[name].until for name in self._ejected)
        return min((end for end in ends if end is not None), default=None)

    def settle(self, now: float) -> tuple[Marks, tuple[HealthChange, ...]]:
        """Whom to hold down now, and whether that was panic_reason or restored. Cost: O(n)."""
        ticked = self.tick(now)
        before, self._panic_reason = self._panic_reason, self._reason_to_panic()
        changes: tuple[HealthChange, ...] = ()
        if self._panic_reason is not None and before is None:
            changes = (HealthChange("panic", None, self._panic_reason, now),)
        elif self._panic_reason is None and before is not None:
            changes = (HealthChange("restored", None, "enough hosts are up again", now),)
        changes = ticked + self._count(changes)
        if self._panic_reason is not None:
            return Marks({}, {}, self._panic_reason), changes
        down = {name: health.why for name, health in self.health.items() if not health.up}
        out = {name: self.outlier_states[name].why for name in sorted(self._ejected)}
        lost = frozenset(name for name in out if self.outlier_states[name].unreachable)
        return Marks(down, out, unreachable=lost), changes

    @property
    def panic_reason(self) -> str | None:
        """Why panic mode holds no host down; None while probes and outliers count."""
        return self._panic_reason

    def of(self, table: Mapping[str, T], host: str | Host) -> T:
        """One host's entry in ``health`` or ``outlier_states``. Raises ``UnknownHostError``."""
        name = host.name if isinstance(host, Host) else host
        try:
            return table[name]
        except KeyError:
            raise UnknownHostError(name, known=self._members) from None

    def _reason_to_panic(self) -> str | None:
        free = self._free()
        left = sum(not self._hold(name) for name in free)
        if not free or left == len(free):
            return None
        if not left and self._when_all_down == "route":
            every = "the only host" if len(free) == 1 else f"all {len(free)} hosts"
            return f"{every} would be held down, so all are routed to"
        if left and self._panic is not None and left / len(free) < self._panic:
            return f"only {left} of {len(free)} hosts would be left, so all are routed to"
        return None

    def _free(self) -> list[str]:
        """The hosts that would take new clients but for us; others' marks always count."""
        return [name for name, member in self._members.items() if _left_in(member)]

    def _hold(self, name: str) -> bool:
        return not self.health[name].up or name in self._ejected

    def _back(self, whom: Iterable[tuple[str, str]], now: float) -> tuple[HealthChange, ...]:
        changes: tuple[HealthChange, ...] = ()
        for name, why in whom:
            self.outlier_states[name], made = outlier.return_host(
                self.outlier_states[name], why, now
            )
            self._ejected.discard(name)
            changes += made
        return self._count(changes)

    def _count(self, changes: tuple[HealthChange, ...]) -> tuple[HealthChange, ...]:
        for change in changes:
            self.stats[_COUNTED[change.kind]] += 1
        return changes


_COUNTED = {
    "down": "went_down",
    "up": "came_up",
    "ejected": "ejections",
    "lost": "lost",
    "returned": "returned",
    "panic": "panic",
    "restored": "restored",
}


def _left_in(member: Member) -> bool:
    marks = member.down.keys() | member.drains.keys()
    return MACHINE_HOLDERS.issuperset(marks)


def apply_marks(members: Members, marks: Marks, addresses: Mapping[str, str]) -> Edited:
    """``probe`` and ``outlier`` hold down, and ``outlier`` drains, exactly the hosts in ``marks``.

    ``addresses`` are those that were judged: a host that has another one by now is another
    machine, and not marked. A mark that is there keeps its first reason. Cost: O(n).

    >>> from hashring.hosts import Host
    >>> members = {"a": pool.Member(Host("a")), "b": pool.Member(Host("b"), {"outlier": "x"})}
    >>> after, changes = apply_marks(members, Marks({"a": "refused"}, {}), {"a": "a", "b": "b"})
    >>> dict(after["a"].down), dict(after["b"].down), len(changes)
    ({'probe': 'refused'}, {}, 2)
    """
    changes: list[HostChange] = []
    lost = {name: why for name, why in marks.outlier.items() if name in marks.unreachable}
    for name, member in members.items():
        ejected = name in marks.outlier and addresses.get(name) == member.host.address
        if ejected and "outlier" not in member.drains:
            members, made = pool.add_drain(members, name, None, "outlier")
            changes += made
        elif not ejected and "outlier" in member.drains:
            members, made = pool.remove_drain(members, name, "outlier")
            changes += made
    for holder, wanted in (("probe", marks.probe), ("outlier", lost)):
        for name, member in members.items():
            reason = wanted.get(name)
            if reason is not None and addresses.get(name) != member.host.address:
                reason = None
            if reason is not None and holder not in member.down:
                members, made = pool.add_mark(members, name, reason, holder)
                changes += made
            elif reason is None and holder in member.down:
                members, made = pool.remove_mark(members, name, holder)
                changes += made
    return members, changes
