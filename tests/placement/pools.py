"""Pools for the placements' tests: hosts with every attribute, odd names, many keys."""

from __future__ import annotations

from hypothesis import strategies as st

from hashring.hosts import Host

KEYS = [f"user:{n}" for n in range(300)] + ["", "clé", "钥匙", "a{b}c", "{}x", "10.1.2.3", "::1"]

ODD_NAMES = (
    "127.0.0.1:9001",
    "127.0.0.1:11211",
    "10.0.0.1",
    "[2001:db8::1]:443",
    "2001:db8::2",
    "unix:/run/a.sock",
    "UNIX:/run/b.sock",
    "backend",
    "backend:80",
    "backend:",
    "größe:1",
    "服务器",
    "name with spaces",
    "1",
    "11",
    "x" * 90,
)


def pool(*names: str) -> tuple[Host, ...]:
    """Hosts with all that any hash_key of HAProxy asks for, each a thing of its own."""
    return tuple(host(name) for name in names)


def host(name: str, weight: int = 1) -> Host:
    """One such host; id, address and guid follow from its name alone."""
    number = ODD_NAMES.index(name) if name in ODD_NAMES else int(name.rpartition(":")[2])
    return Host(
        name, weight, id=number + 1, address=f"10.0.{number >> 8}.{number & 255}:80", guid=name
    )


def pools(smallest: int = 1, largest: int = 6, heaviest: int = 9) -> st.SearchStrategy[list[Host]]:
    """Lists of hosts with odd names, whole weights and any order."""
    names = st.lists(st.sampled_from(ODD_NAMES), min_size=smallest, max_size=largest, unique=True)
    weighted = names.flatmap(
        lambda names: st.tuples(
            *(st.builds(host, st.just(name), st.integers(1, heaviest)) for name in names)
        )
    )
    return weighted.map(list)
