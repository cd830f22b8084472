"""What does one thing weigh?  ``python -m benchmarks._weigh HOW WHAT HOSTS VNODES`` prints bytes.

HOW is ``tracemalloc`` (what Python allocated) or ``rss`` (what the system gave), each in a fresh
process, for tracing costs memory itself.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import uhashring

from benchmarks._measure import host_names
from hashring import HashRing, LoadBalancer

Maker = Callable[[int, int], object]

MAKERS: dict[str, Maker] = {
    "HashRing": lambda hosts, vnodes: HashRing(host_names(hosts), vnodes=vnodes),
    "LoadBalancer": lambda hosts, vnodes: LoadBalancer(
        host_names(hosts), placement=HashRing(vnodes=vnodes)
    ),
    "uhashring": lambda hosts, vnodes: uhashring.HashRing(nodes=host_names(hosts), vnodes=vnodes),
}


def traced(make: Maker, hosts: int, vnodes: int) -> int:
    """Bytes that Python holds for it."""
    tracemalloc.start()
    made = make(hosts, vnodes)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    del made
    return held


def resident(make: Maker, hosts: int, vnodes: int) -> int | None:
    """Bytes by which the process grew; None where the system does not say."""
    before = _rss()
    made = make(hosts, vnodes)
    gc.collect()
    after = _rss()
    del made
    return None if before is None or after is None else after - before


def _rss() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # not Linux
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    how, what, hosts, vnodes = sys.argv[1:]
    MAKERS[what](2, 1)  # whatever is imported or made once is no part of it
    weigh = {"tracemalloc": traced, "rss": resident}[how]
    print(json.dumps(weigh(MAKERS[what], int(hosts), int(vnodes))))
