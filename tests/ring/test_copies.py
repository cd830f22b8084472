"""The copies of ``Index.find`` on the hot paths all find what a sorted list finds."""

from __future__ import annotations

from bisect import bisect_left
from unittest.mock import patch

import pytest

from hashring import LoadBalancer
from hashring.affinity import PinTable
from hashring.hosts import as_hosts
from hashring.keys import position
from hashring.placement._circle import CircleTable
from hashring.ring import HashRing, layout
from tests.ring.inputs import MANY_TIES, TIES, quantised

KEYS = [f"client-{i}" for i in range(3_000)]
WHOLE = (1 << 32) - 1


@pytest.mark.parametrize("mask", [WHOLE, 0xFFFFF000, TIES, MANY_TIES], ids=hex)
@pytest.mark.parametrize(("hosts", "vnodes"), [(1, 1), (3, 40), (20, 512), (200, 100)])
def test_every_copy_of_the_search_finds_the_same_host(hosts: int, vnodes: int, mask: int) -> None:
    names = [f"web{i}" for i in range(hosts)]
    with patch.object(layout, "vnode_positions", quantised(mask)):
        ring = HashRing(names, vnodes=vnodes)
        index = ring.table.index
        plain = LoadBalancer(names, placement=HashRing(vnodes=vnodes))
        pinned = LoadBalancer(names, placement=HashRing(vnodes=vnodes), pins=PinTable())
        circle = CircleTable(as_hosts(names), "", lambda _: circle, index=index, position=position)
        places = [place for place, _ in ring.vnode_list()]
        owners = [name for _, name in ring.vnode_list()]
        cut = sum(cell < 0 for cell in index.cells)
        assert cut, "some look-ups have to step"
        for key in KEYS:
            wanted = owners[bisect_left(places, position(key)) % len(places)]
            assert index.labels[index.find(position(key))] == wanted
            assert ring.lookup(key) == ring.table.lookup(key) == circle.lookup(key) == wanted
            assert plain.pick(key).name == pinned.pick(key).name == wanted
            with plain.lease(key) as lease:
                assert lease.host.name == wanted
