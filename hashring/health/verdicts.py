"""Who is to be held down, all in all?  Probes and outliers in one decision, no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from hashring.errors import UnknownHostError
from hashring.health import outlier
from hashring.health.machine import Change, Health, Rules, probed
from hashring.health.outlier import OutlierRules, Record
from hashring.hosts import Host
from hashring.pool import MACHINE_HOLDERS, Member, Members
from hashring.validators import FRACTION, choice

__all__ = ["Marks", "Verdicts", "WhenAllDown"]

WhenAllDown = Literal["route", "refuse"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Marks:
    """Whom to hold down: holder -> host -> reason. ``lifted`` says why nobody is, if so."""

    probe: Mapping[str, str]
    outlier: Mapping[str, str]
    lifted: str | None = None


class Verdicts:
    """The health of all hosts of one pool; methods take the time and return what changed.

    ``when_all_down="route"`` lifts all marks while no host that others leave in would be left,
    ``panic`` also while less than that fraction would be. Not for two threads at once.

    >>> verdicts = Verdicts(Rules(fall=1), OutlierRules())
    >>> verdicts.follow({name: Member(Host(name)) for name in ("a", "b")}, now=0.0)
    ()
    >>> [str(change) for change in verdicts.probed("a", "refused", 1.0, 1.0)]
    ['down a: refused (1 probe)']
    >>> verdicts.settle(1.0)[0].probe
    {'a': 'refused (1 probe)'}
    """

    def __init__(
        self,
        rules: Rules,
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
        self.health: dict[str, Health] = {}
        self.records: dict[str, Record] = {}
        self.suspects: set[str] = set()  # whose failures in a row a success would end
        self._ejected: set[str] = set()
        self._lifted: str | None = None
        self.stats = dict.fromkeys(_COUNTED.values(), 0) | {
            "probes": 0,
            "probes_failed": 0,
            "probes_void": 0,
            "ejections_refused": 0,
        }

    def follow(
        self, members: Members, now: float, renewed: Collection[str] = ()
    ) -> tuple[Change, ...]:
        """These are the members now; those in ``renewed`` are others under the name. Cost: O(n).

        A host that is found held by ``probe`` starts down and needs one success.
        """
        self._members = members
        for name in [name for name in self.health if name not in members or name in renewed]:
            del self.health[name], self.records[name]
            self.suspects.discard(name)
            self._ejected.discard(name)
        for name, member in members.items():
            if name not in self.health:
                held = member.down.get("probe")
                self.health[name] = Health(name, up=held is None, why=held or "", since=now)
                self.records[name] = Record(name, since=now)
        return self._shrink(now)

    def _shrink(self, now: float) -> tuple[Change, ...]:
        """Let back whom the limit of a pool grown smaller no longer covers."""
        if self.outliers is None or not self._ejected:
            return ()
        over = len(self._ejected) - self.outliers.most(len(self._members))
        soonest = sorted(self._ejected, key=lambda name: (self.records[name].until, name))
        return self._back(((name, "the pool is smaller") for name in soonest[: max(0, over)]), now)

    def probed(self, name: str, why: str | None, began: float, now: float) -> tuple[Change, ...]:
        """A probe that ``began`` then has passed (``why`` None) or failed. Cost: O(1)."""
        if name not in self.health:
            return ()
        self.stats["probes"] += 1
        self.stats["probes_failed"] += why is not None
        self.health[name], changes = probed(self.health[name], why, now, self.rules)
        if why is None and name in self._ejected and self.outliers is not None:
            reason = outlier.may_return(self.records[name], began, now, self.outliers)
            if reason is not None:
                changes += self._back([(name, reason)], now)
        return self._counted(changes)

    def answered(self, name: str, why: str | None, began: float, now: float) -> tuple[Change, ...]:
        """A request that ``began`` then ended well (``why`` None) or failed.

        Cost: O(1), and O(n) where it may eject.
        """
        record = self.records.get(name)
        rules = self.outliers
        if record is None or rules is None:
            return ()
        due = why is not None and record.until is None and not (record.run + 1) % rules.failures
        room = due and self._has_room(name)
        self.stats["ejections_refused"] += due and not room
        new, changes = outlier.answered(record, why, began, now, rules, room=room)
        self.records[name] = new
        (self.suspects.add if new.run else self.suspects.discard)(name)
        if new.until is not None:
            self._ejected.add(name)
        return self._counted(changes)

    def _has_room(self, name: str) -> bool:
        assert self.outliers is not None
        if len(self._ejected) >= self.outliers.most(len(self._members)):
            return False
        left = [each for each in self._free() if not self._held(each)]
        return name in left and len(left) > 1  # never the last usable one

    def tick(self, now: float) -> tuple[Change, ...]:
        """Let back whose time is over. Cost: O(ejected)."""
        if self.outliers is None:
            return ()
        rules = self.outliers
        asked = [
            (name, outlier.may_return(self.records[name], -math.inf, now, rules))
            for name in sorted(self._ejected)
        ]
        return self._back(((name, why) for name, why in asked if why is not None), now)

    def due(self) -> float | None:
        """When the next ejection ends; None if nobody is ejected."""
        ends = (self.records[name].until for name in self._ejected)
        return min((end for end in ends if end is not None), default=None)

    def settle(self, now: float) -> tuple[Marks, tuple[Change, ...]]:
        """Whom to hold down now, and whether that was lifted or restored. Cost: O(n)."""
        ticked = self.tick(now)
        before, self._lifted = self._lifted, self._why_lifted()
        changes: tuple[Change, ...] = ()
        if self._lifted is not None and before is None:
            changes = (Change("lifted", None, self._lifted, now),)
        elif self._lifted is None and before is not None:
            changes = (Change("restored", None, "enough hosts are up again", now),)
        changes = ticked + self._counted(changes)
        if self._lifted is not None:
            return Marks({}, {}, self._lifted), changes
        down = {name: health.why for name, health in self.health.items() if not health.up}
        out = {name: self.records[name].why for name in sorted(self._ejected)}
        return Marks(down, out), changes

    @property
    def lifted(self) -> str | None:
        """Why nobody is held down, whatever the verdicts; None while they count."""
        return self._lifted

    def of(self, verdicts: Mapping[str, T], host: str | Host) -> T:
        """One host's entry in ``health`` or ``records``. Raises ``UnknownHostError``."""
        name = host.name if isinstance(host, Host) else host
        try:
            return verdicts[name]
        except KeyError:
            raise UnknownHostError(name, known=self._members) from None

    def _why_lifted(self) -> str | None:
        free = self._free()
        left = sum(not self._held(name) for name in free)
        if not free or left == len(free):
            return None
        if not left and self._when_all_down == "route":
            return f"all {len(free)} hosts would be held down, so all are routed to"
        if left and self._panic is not None and left / len(free) < self._panic:
            return f"only {left} of {len(free)} hosts would be left, so all are routed to"
        return None

    def _free(self) -> list[str]:
        """The hosts that would take new clients but for us; others' marks always count."""
        return [name for name, member in self._members.items() if _left_in(member)]

    def _held(self, name: str) -> bool:
        return not self.health[name].up or name in self._ejected

    def _back(self, whom: Iterable[tuple[str, str]], now: float) -> tuple[Change, ...]:
        changes: tuple[Change, ...] = ()
        for name, why in whom:
            self.records[name], made = outlier.returned(self.records[name], why, now)
            self._ejected.discard(name)
            changes += made
        return self._counted(changes)

    def _counted(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        for change in changes:
            self.stats[_COUNTED[change.kind]] += 1
        return changes


_COUNTED = {
    "down": "went_down",
    "up": "came_up",
    "ejected": "ejections",
    "returned": "returned",
    "lifted": "lifted",
    "restored": "restored",
}


def _left_in(member: Member) -> bool:
    return not member.drains and MACHINE_HOLDERS.issuperset(member.down)
