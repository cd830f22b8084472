"""What is to change?  Hosts that come, hosts that leave, hosts with another weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hashring.errors import ConfigError, DuplicateHostError, UnknownHostError
from hashring.hosts import Host, HostsLike, as_hosts, as_weight

STAND_IN_SECRET = b"stands for a secret nobody has to tell"
"""For the plan of a new secret: which clients it moves differs from secret to secret, how many does
not, so that no real secret has to be typed."""


@dataclass(frozen=True)
class Change:
    """A change of membership, checked against the hosts when it is applied.

    ``add`` takes hosts as a ring does; a name given twice is a ``DuplicateHostError`` at once. One
    that ``remove`` has twice leaves once.
    ``new_secret``: the ring gets another ``key_secret``.

    >>> Change(add=["d"], remove=("b",), weights={"c": 2}).apply(["a", "b", "c"])
    (Host('a'), Host('c', 2.0), Host('d'))
    """

    add: HostsLike = ()
    remove: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    new_secret: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "add", as_hosts(self.add))  # settled once: an iterator ends
        object.__setattr__(self, "remove", tuple(dict.fromkeys(self.remove)))

    def apply(self, hosts: HostsLike) -> tuple[Host, ...]:
        """``hosts`` after the change: those that stay in their order, then those that come.

        Raises ``UnknownHostError`` for a host that is not there, ``DuplicateHostError`` for one
        that is there, ``ConfigError`` for a change that leaves no host or that
        changes a host it removes.
        """
        now = as_hosts(hosts)
        names = [host.name for host in now]
        for name in (*self.remove, *self.weights):
            if name not in names:
                raise UnknownHostError(name, known=names)
        added = as_hosts(self.add)
        for host in added:
            if host.name in names:
                raise DuplicateHostError(host.name, f"host {host.name!r} is there already")
        for name in self.weights:
            if name in self.remove:
                raise ConfigError(f"host {name!r} cannot both leave and get a weight")
        left = tuple(self._weigh_host(host) for host in now if host.name not in self.remove)
        if not left + added:
            raise ConfigError("no host would be left: keep or add at least one")
        return left + added

    def split(self) -> tuple[Change, ...]:
        """One change a host: those that come first, so that the pool is never short of hosts.

        >>> [str(step) for step in Change(add=["c", "d"], remove=("a",)).split()]
        ['add c', 'add d', 'remove a']
        """
        return (
            *(Change(add=[host]) for host in as_hosts(self.add)),
            *(Change(weights={name: weight}) for name, weight in self.weights.items()),
            *(Change(remove=(name,)) for name in self.remove),
        )

    def _weigh_host(self, host: Host) -> Host:
        if host.name not in self.weights:
            return host
        return host.with_weight(as_weight(self.weights[host.name], host.name))

    def to_dict(self) -> dict[str, Any]:
        """The change as plain dicts and lists."""
        return {
            "add": {host.name: host.weight for host in as_hosts(self.add)},
            "remove": list(self.remove),
            "weights": dict(self.weights),
            **({"new_secret": True} if self.new_secret else {}),
        }

    def __str__(self) -> str:
        parts = [f"add {_host_name(host)}" for host in as_hosts(self.add)]
        parts += [f"remove {name}" for name in self.remove]
        parts += [f"weight {name}={weight:g}" for name, weight in self.weights.items()]
        parts += ["new secret"] if self.new_secret else []
        return ", ".join(parts) or "nothing"


def _host_name(host: Host) -> str:
    return host.name if host.weight == 1.0 else f"{host.name}={host.weight:g}"
