"""Every placement that is found keeps the contract and its GUARANTEES."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from hashring import Host, placement
from hashring.testing import check_placement, host_names, hosts, keys
from hashring.testing._laws import GUARANTEES

# small tables, where default ones would make hundreds of builds slow
OPTIONS: dict[str, dict[str, Any]] = {
    "envoy-maglev": {"table_size": 1009},
    "envoy-ring": {"minimum_ring_size": 64},
    "grpc-ring": {"min_ring_size": 64},
    "ring": {"vnodes": 16},
    "uhashring": {"vnodes": 16},
    "varnish-shard": {"replicas": 16},
}
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "nginx-ip-hash": st.ip_addresses().map(str),  # it hashes addresses and nothing else
}
# for each law: some 20 placements times 7 laws are then half a minute
EXAMPLES = min(20, settings().max_examples)

by_name = pytest.mark.parametrize("name", placement.names())


@by_name
def test_a_placement_keeps_the_contract_and_its_promises(name: str) -> None:
    def build(pool: list[Host]) -> placement.Table:
        return placement.create(name, pool, **OPTIONS.get(name, {}))

    check_placement(
        build,
        placement.module(name).GUARANTEES,
        hosts=hosts(names=host_names(surrogates=True)),
        keys=KEYS.get(name),
        max_examples=EXAMPLES,
    )


@by_name
def test_lone_surrogates_in_keys_break_nothing(name: str) -> None:
    odd = KEYS.get(name, keys(surrogates=True))
    check_placement(lambda pool: placement.create(name, pool), (), keys=odd, max_examples=4)


@by_name
def test_a_module_states_what_it_is(name: str) -> None:
    module = placement.module(name)
    assert set(GUARANTEES) >= module.GUARANTEES
    assert set(module.EXPORTS) <= {"caddy", "envoy", "haproxy", "nginx", "traefik"}
    for text in (module.SOURCE, module.COST):
        assert text == " ".join(text.split()) != ""
