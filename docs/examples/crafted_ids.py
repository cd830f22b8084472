"""What can a stranger do who picks his own client IDs, and what does a secret make of it?

He knows the names of ten hosts, hence the ring, and tries IDs until ten thousand of them belong to
one host. Then he sends those. Run it: ``python docs/examples/crafted_ids.py``.
"""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import count, islice

from hashring import HashRing

HOSTS = [f"web{number}" for number in range(1, 11)]
CRAFTED = 10_000


def crafted(target: str) -> list[str]:
    """IDs of one host, found with the public ring alone: one guess in ten is right."""
    ring = HashRing(HOSTS)
    guesses = (f"session-{number}" for number in count())
    return list(islice((guess for guess in guesses if ring.lookup(guess) == target), CRAFTED))


def busiest(ring: HashRing, ids: list[str]) -> tuple[str, float]:
    """The host with the most of these IDs, and how many times its fair share that is."""
    ((host, most),) = Counter(ring.lookup_many(ids)).most_common(1)
    return host, most * len(ring) / len(ids)


def main() -> None:
    """Show the attack on a ring without a secret and on one with it."""
    ids = crafted("web7")
    for said, ring in (
        ("without a secret", HashRing(HOSTS)),
        ("with a secret", HashRing(HOSTS, key_secret=secrets.token_bytes(32))),
    ):
        host, times = busiest(ring, ids)
        print(f"{said:<16}  busiest is {host}: {times:.2f} times its fair share")


if __name__ == "__main__":
    main()
