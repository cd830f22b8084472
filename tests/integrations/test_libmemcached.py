"""libmemcached: KETAMA, KETAMA_WEIGHTED, SPY and modula, over hosts on odd and default ports."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS
from tests.integrations._libmemcached import HASHES, Libmemcached
from tests.integrations._parity import Parity

PORTS = (11211, 11212, 9101, 11211, 11211)
HOSTS = ("10.0.0.1", "10.0.0.1", "cache-3.internal", "cache-4", "10.0.0.5")
NAMES = tuple(f"{host}:{port}" for host, port in zip(HOSTS, PORTS, strict=True))
EQUAL = (1, 1, 1, 1, 1)
WEIGHTS = (13, 29, 97, 1, 60)
REMOVED = 2


class Case(NamedTuple):
    """What libmemcached is told, and what the placement is."""

    distribution: str
    weights: tuple[int, ...]
    placement: str
    options: dict[str, Any]
    key_hash: str | None = None
    weighted: bool = False


STRIPPED = {"strip_port": 11211}
CASES = [
    Case("ketama", EQUAL, "libmemcached-ketama", {}),
    *(Case("ketama", EQUAL, "libmemcached-ketama", {"key_hash": name}, name) for name in HASHES),
    Case("spy", EQUAL, "libmemcached-ketama", {"spy": True}),
    Case("spy", EQUAL, "libmemcached-ketama", {"spy": True, "key_hash": "md5"}, "md5"),
    # a weight above 1 turns the weighted form on, and leaves the key hash as it is
    Case("ketama", WEIGHTS, "libmemcached-ketama", {}),
    Case("spy", WEIGHTS, "libmemcached-ketama", {"spy": True}),
    Case("ketama", WEIGHTS, "ketama", {**STRIPPED, "key_hash": "one_at_a_time"}),
    Case("ketama", WEIGHTS, "ketama", STRIPPED, weighted=True),
    Case("ketama", EQUAL, "ketama", STRIPPED, weighted=True),
    Case("modula", WEIGHTS, "modula", {"key_hash": "md5", "weighted": False}, "md5"),
    Case("modula", EQUAL, "modula", {"key_hash": "crc32", "weighted": False}, "crc32"),
]


@pytest.mark.parametrize("removed", [False, True], ids=["all", "one removed"])
@pytest.mark.parametrize("number", range(len(CASES)))
def test_libmemcached_agrees(parity: Parity, number: int, removed: bool) -> None:
    library, case = Libmemcached(), CASES[number]
    left = [index for index in range(len(HOSTS)) if not (removed and index == REMOVED)]
    found = library.ask(
        [(HOSTS[index], PORTS[index], case.weights[index]) for index in left],
        KEYS,
        distribution=case.distribution,
        key_hash=case.key_hash,
        weighted=case.weighted,
    )
    answers = {key: NAMES[left[index]] for key, index in found.items()}
    table = create(case.placement, zip(NAMES, case.weights, strict=True), **case.options)
    if removed:
        table = table.without([NAMES[REMOVED]])
    notes = [
        "ketama weighted" if case.weighted else case.distribution,
        case.key_hash or "its own hash",
    ]
    notes.append("equal weights" if case.weights == EQUAL else "unequal weights")
    label = ", ".join([*notes, *["one removed"] * removed])
    parity.agrees(library.version, case.placement, label, answers, table.lookup)
