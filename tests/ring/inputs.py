"""What are rings tried with?  Names and keys of every script, wide weights, any seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from hashring.keys import Key
from hashring.ring import HashRing, layout

__all__ = [
    "KEYS",
    "MANY_TIES",
    "NAMES",
    "SEEDS",
    "TIES",
    "VNODES",
    "WEIGHTS",
    "keys",
    "memberships",
    "quantised",
    "rings",
    "state",
]

KEYS: tuple[Key, ...] = tuple(f"session-{i}" for i in range(60))
"""Fixed keys for laws that hold for each key; that they hold for all is said by exact arcs."""

# characters() draws lone surrogates too; the words are those that a missing separator would mix up
NAMES = st.one_of(
    st.sampled_from(["1", "11", "1#1", "#", "a", "b", "c", "web1", "web11"]),
    st.text(st.characters(), min_size=1, max_size=8),
)
WEIGHTS = st.one_of(
    st.sampled_from([1.0, 1, 0.001, 0.5, 2, 10]),
    st.floats(min_value=0.001, max_value=10, allow_nan=False),
)
SEEDS = st.one_of(st.sampled_from([0, 7, (1 << 32) - 1]), st.integers(0, (1 << 32) - 1))
VNODES = st.integers(1, 16)


TIES = 0xFF000000  # 256 positions: with some 80 vnodes, one in four falls on another one
MANY_TIES = 0xE0000000  # 8 positions: most hosts own nothing at all


def keys() -> st.SearchStrategy[Key]:
    return st.one_of(
        st.text(st.characters(), max_size=20),
        st.binary(max_size=20),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.uuids(),
    )


def memberships(least: int = 1, most: int = 7) -> st.SearchStrategy[dict[str, float]]:
    return st.dictionaries(NAMES, WEIGHTS, min_size=least, max_size=most)


def quantised(mask: int) -> Callable[[str, int, int, int], list[int]]:
    """``layout.vnode_positions`` with low bits dropped, to put in its place."""
    real = layout.vnode_positions

    def vnode_positions(name: str, first: int, stop: int, seed: int) -> list[int]:
        return [position & mask for position in real(name, first, stop, seed)]

    return vnode_positions


@st.composite
def rings(draw: st.DrawFn, least: int = 1, most: int = 7) -> HashRing:
    return HashRing(draw(memberships(least, most)), vnodes=draw(VNODES), seed=draw(SEEDS))


def state(ring: HashRing) -> tuple[Any, ...]:
    """All that a user can see of a ring."""
    lookups = ring.lookup_many(KEYS) if len(ring) else []
    return ring.to_dict(), ring.fingerprint, ring.vnode_list(), ring.hosts, lookups
