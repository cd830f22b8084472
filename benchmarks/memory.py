"""How much memory does a ring take?  All in, each time in a fresh process."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._process import printed_json
from benchmarks._report import Row, Table, Target, at_most, row

__all__ = ["run"]

_MOST = at_most(160, 90)


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    hosts = 100 if quick else 1_000
    rows = [
        _weighed("HashRing", "tracemalloc", hosts, 160, _MOST),
        _weighed("HashRing", "rss", hosts, 160, _MOST),
        _weighed("HashRing", "rss", hosts, 512),
        _weighed("LoadBalancer", "tracemalloc", hosts, 160),
        _weighed("LoadBalancer", "rss", hosts, 160),
        _weighed("uhashring", "tracemalloc", hosts, 160),
        _weighed("uhashring", "rss", hosts, 160),
    ]
    note = "tracemalloc: what Python allocated and holds. rss: how much the process grew."
    yield Table("Memory a vnode", rows, note)


def _weighed(what: str, how: str, hosts: int, vnodes: int, target: Target | None = None) -> Row:
    size = printed_json("-m", "benchmarks._weigh", how, what, str(hosts), str(vnodes))
    title = f"{what}, {hosts:,} hosts x {vnodes}, {how}"
    if size is None:
        return Row(title, "this system does not say")
    return row(title, size / (hosts * vnodes), "bytes", target, detail=f"{size / 1e6:.1f} MB")
