"""Who serves, by which placement?  What the reports look clients up in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hashring.analysis.change import Change
from hashring.errors import ConfigError
from hashring.hosts import Host, HostsLike, as_hosts
from hashring.placement import Recipe, Table, recipe
from hashring.ring import RingTable


@dataclass(frozen=True)
class PlacedHosts:
    """Hosts and the table that a placement makes of them.

    ``placement`` and ``options`` say how the table was made; None where it was given as it is.

    >>> pool = PlacedHosts.of({"web1": 1, "web2": 3})
    >>> pool.fair()
    {'web1': 0.25, 'web2': 0.75}
    """

    hosts: tuple[Host, ...]
    table: Table
    placement: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, hosts: HostsLike, placement: str = "ring", **options: Any) -> PlacedHosts:
        """The membership of ``hosts`` under ``placement``. Cost: one table.

        Raises what ``placement.create`` raises.
        """
        settled = as_hosts(hosts)
        return cls(settled, recipe(placement, **options)(settled), placement, options)

    def recipe(self) -> Recipe:
        """The function by which its placement makes tables; ``ConfigError`` for a bare table."""
        if self.placement is None:
            raise ConfigError(
                "this membership was made from a table alone: make it with PlacedHosts.of, which "
                "knows how to place other hosts too"
            )
        return recipe(self.placement, **self.options)

    def after(self, change: Change) -> PlacedHosts:
        """The membership after ``change``, under the same placement. Cost: one table.

        Raises what ``Change.apply`` and the placement raise.

        >>> PlacedHosts.of(["a", "b"]).after(Change(add=["c"])).table.hosts
        ('a', 'b', 'c')
        """
        hosts = change.apply(self.hosts)
        return PlacedHosts(hosts, self.recipe()(hosts), self.placement, self.options)

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

    def same_hosts(self, later: PlacedHosts) -> frozenset[str]:
        """The hosts that are in both with one weight: no client need leave one for another."""
        now, then = self.weights(), later.weights()
        return frozenset(name for name, weight in now.items() if then.get(name) == weight)
