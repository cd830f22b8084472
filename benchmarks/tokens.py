"""What does it cost to issue and to believe a token, and to place a key by a secret?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._measure import HOT, each, host_names, interleaved, keys
from benchmarks._report import Table, at_most, row
from hashring import HashRing
from hashring.affinity import Tokens

__all__ = ["run"]

_US = 1e6
_SECRET = b"sixteen or more random bytes, here for a benchmark"


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    some, names = keys(HOT), host_names(10)
    cold, warm = Tokens(_SECRET, cache=1), Tokens(_SECRET)
    clients = [warm.new_client() for _ in range(HOT)]
    texts = [warm.issue(client, "web1") for client in clients]
    for text in texts:
        warm.read(text)
    public, keyed = HashRing(names), HashRing(names, key_secret=_SECRET)
    done = interleaved(
        {
            "issue": each(lambda client: cold.issue(client, "web1"), clients),
            "check": each(cold.read, texts),
            "cached": each(warm.read, texts),
            "public": each(public.lookup, some),
            "keyed": each(keyed.lookup, some),
        },
        3 if quick else 21,
    )
    more = (done.median("keyed") - done.median("public")) * _US
    rows = [
        row("issue a token", done.median("issue") * _US, "us", at_most(15)),
        row("check a token", done.median("check") * _US, "us", at_most(15)),
        row("check one that was checked before", done.median("cached") * _US, "us", at_most(1.5)),
        row("a keyed look-up beside a public one", more, "us more", at_most(1)),
    ]
    yield Table(
        "Tokens and secrets", rows, f"{HOT:,} tokens and keys in turns. Medians of one run."
    )
