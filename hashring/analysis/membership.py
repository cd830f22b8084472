"""Who serves, by which placement?  What ``spread`` and ``plan`` look clients up in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hashring.hosts import Host, HostsLike, as_hosts
from hashring.placement import Table, recipe
from hashring.ring import RingTable

__all__ = ["Membership"]


@dataclass(frozen=True)
class Membership:
    """Hosts and the table that a placement makes of them.

    >>> pool = Membership.of({"web1": 1, "web2": 3})
    >>> pool.fair()
    {'web1': 0.25, 'web2': 0.75}
    """

    hosts: tuple[Host, ...]
    table: Table

    @classmethod
    def of(cls, hosts: HostsLike, placement: str = "ring", **options: Any) -> Membership:
        """The membership of ``hosts`` under ``placement``. Cost: one table.

        Raises what ``placement.create`` raises.
        """
        settled = as_hosts(hosts)
        return cls(settled, recipe(placement, **options)(settled))

    @property
    def ring(self) -> RingTable | None:
        """The table, where it is a ring: a ring knows exact arcs, other tables do not."""
        return self.table if isinstance(self.table, RingTable) else None

    def fair(self) -> dict[str, float]:
        """Each host's share of the total weight."""
        total = sum(host.weight for host in self.hosts)
        return {host.name: host.weight / total for host in self.hosts}

    def weights(self) -> dict[str, float]:
        """Each host's weight."""
        return {host.name: host.weight for host in self.hosts}

    def arcs(self) -> dict[str, float] | None:
        """Each host's exact share of the circle; None where there is no circle."""
        return None if self.ring is None else self.ring.shares()
