"""What do the balancer's tests share?  A clock they move, small rings, a placement of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from hashring.balancer import Event, Lease, LoadBalancer
from hashring.hosts import Host, HostsLike
from hashring.keys import Key, key_bytes
from hashring.ring import HashRing

__all__ = [
    "CLIENTS",
    "HighestTable",
    "balancer",
    "client_of",
    "clients_by_owner",
    "face",
    "heard",
    "left_alone",
    "open_lease",
    "owners",
    "ring",
    "walk",
]

# addresses: ip_hash of nginx hashes nothing else, and to the others they are as good as any text
CLIENTS = tuple(f"10.{i}.{i * 7}.1" for i in range(1, 37)) + tuple(
    f"172.16.{i}.9" for i in range(164)
)
VNODES = 16  # enough for every host to own something, and quick to build a thousand times


def balancer(hosts: HostsLike = ("a", "b", "c", "d"), **options: Any) -> LoadBalancer:
    """A balancer on a small ring; a layer above is said to keep sessions, so drains warn nobody."""
    lb = LoadBalancer(hosts, **{"placement": HashRing(vnodes=VNODES), **options})
    lb.keeps_sessions(True)
    return lb


_open_leases: WeakKeyDictionary[LoadBalancer, list[Lease]] = WeakKeyDictionary()


def open_lease(lb: LoadBalancer, *given: Any, **options: Any) -> Lease:
    """A lease that stays open for as long as its balancer exists."""
    lease = lb.lease(*given, **options).acquire()
    _open_leases.setdefault(lb, []).append(lease)
    return lease


def ring(hosts: HostsLike) -> HashRing:
    """The ring that ``balancer`` should have over these hosts."""
    return HashRing(hosts, vnodes=VNODES)


def walk(hosts: HostsLike, client: Key) -> list[str]:
    """The walk of ``client`` over a fresh ring of these hosts."""
    return list(ring(hosts).walk(client))


def client_of(host: str, hosts: HostsLike = ("a", "b", "c", "d")) -> str:
    """A client ID that belongs to ``host``."""
    return clients_by_owner(hosts)[host][0]


def clients_by_owner(hosts: HostsLike) -> dict[str, list[str]]:
    """host -> those of ``CLIENTS`` that belong to it."""
    fresh = ring(hosts)
    owned: dict[str, list[str]] = {name: [] for name in fresh.hosts}
    for client in CLIENTS:
        owned[fresh.lookup(client)].append(client)
    return owned


def owners(lb: LoadBalancer) -> list[str]:
    """Who each of ``CLIENTS`` goes to."""
    return [lb.pick(client).name for client in CLIENTS]


def heard(lb: LoadBalancer) -> list[Event]:
    """The list that each later event of ``lb`` is appended to."""
    events: list[Event] = []
    lb.subscribe(events.append)
    return events


def face(lb: LoadBalancer) -> tuple[Any, ...]:
    """All that a user can see of a balancer's members."""
    snapshot = lb.snapshot
    return (
        snapshot.epoch,
        lb.fingerprint,
        [repr(host) for host in lb.hosts],
        [(dict(member.down), dict(member.drains)) for member in snapshot.members.values()],
        [lb.state(host) for host in lb.hosts],
        [lb.load(host) for host in lb.hosts],
    )


def left_alone(
    lb: LoadBalancer, error: type[Exception], match: str | None = None
) -> AbstractContextManager[pytest.ExceptionInfo[Exception]]:
    """``pytest.raises`` that also holds the balancer to having changed nothing."""
    return _LeftAlone(lb, pytest.raises(error, match=match))


class _LeftAlone(AbstractContextManager["pytest.ExceptionInfo[Exception]"]):
    def __init__(self, lb: LoadBalancer, raises: AbstractContextManager[Any]) -> None:
        self._lb, self._raises = lb, raises

    def __enter__(self) -> pytest.ExceptionInfo[Exception]:
        self._before, self._events = face(self._lb), heard(self._lb)
        info: pytest.ExceptionInfo[Exception] = self._raises.__enter__()
        return info

    def __exit__(self, *error: Any) -> bool | None:
        raised = self._raises.__exit__(*error)
        if raised:
            assert face(self._lb) == self._before
            assert self._events == []
        return raised


class HighestTable:
    """Highest random weight over BLAKE2: somebody else's table, written from the contract alone.

    It would not hash a key that begins with "skip", so that the fallback takes those.
    """

    def __init__(self, hosts: Iterable[Host]) -> None:
        self.hosts = tuple(sorted(host.name for host in hosts))
        self.fingerprint = "highest:" + ",".join(self.hosts)

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        if key_bytes(key).startswith(b"skip"):
            return None
        gone = set(unavailable)
        return next((name for name in self.walk(key) if name not in gone), None)

    def walk(self, key: Key) -> Iterator[str]:
        data = key_bytes(key)
        yield from sorted(
            self.hosts, key=lambda name: blake2b(name.encode(), key=data[:64]).digest()
        )

    def without(self, names: Iterable[str]) -> HighestTable:
        gone = set(names)
        return HighestTable(Host(name) for name in self.hosts if name not in gone)
