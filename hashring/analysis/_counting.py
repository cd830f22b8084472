"""Which clients take which way through several tables?  Counted once, asked many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hashring.placement import Table

Path: TypeAlias = tuple[str | None, ...]
"""A client's host in each table, in order; None is the fallback."""

Totals: TypeAlias = dict[Path, tuple[int, int]]
"""Path -> (clients, requests)."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How much moves: numbers, and fractions of all."""

    clients: int
    requests: int
    client_share: float
    request_share: float


def totals(counts: Mapping[bytes, int], tables: Sequence[Table]) -> Totals:
    """How many clients and requests take each path. Cost: one look-up a client and table.

    >>> from hashring.placement import create
    >>> totals({b"ann": 3, b"bob": 1}, [create("ring", ["a"]), create("ring", ["b"])])
    {('a', 'b'): (2, 4)}
    """
    clients: dict[Path, int] = {}
    requests: dict[Path, int] = {}
    # map and zip make the paths without a line of Python for each client
    paths = zip(*(map(table.lookup, counts) for table in tables), strict=True)
    for path, count in zip(paths, counts.values(), strict=True):
        clients[path] = clients.get(path, 0) + 1
        requests[path] = requests.get(path, 0) + count
    return {path: (clients[path], requests[path]) for path in clients}


def step(ways: Totals, first: int, second: int) -> Totals:
    """``ways`` seen only at the tables number ``first`` and ``second``."""
    pairs: Totals = {}
    for path, (clients, requests) in ways.items():
        pair = (path[first], path[second])
        so_far = pairs.get(pair, (0, 0))
        pairs[pair] = (so_far[0] + clients, so_far[1] + requests)
    return pairs


def count_moved(ways: Totals, where: Callable[[Path], bool] | None = None) -> Moved:
    """The clients whose host changes anywhere on their way, of those ways that ``where`` takes."""
    movers = [
        numbers
        for path, numbers in ways.items()
        if any(host != path[0] for host in path) and (where is None or where(path))
    ]
    clients, requests = _sum(movers)
    all_clients, all_requests = _sum(ways.values())
    return Moved(clients, requests, clients / (all_clients or 1), requests / (all_requests or 1))


def sums(ways: Totals, table: int) -> dict[str | None, tuple[int, int]]:
    """(clients, requests) of each host of the table number ``table``."""
    found: dict[str | None, tuple[int, int]] = {}
    for path, (clients, requests) in ways.items():
        so_far = found.get(path[table], (0, 0))
        found[path[table]] = (so_far[0] + clients, so_far[1] + requests)
    return found


def _sum(numbers: Iterable[tuple[int, int]]) -> tuple[int, int]:
    clients = requests = 0
    for more_clients, more_requests in numbers:
        clients += more_clients
        requests += more_requests
    return clients, requests
