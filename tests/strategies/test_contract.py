"""Does every strategy that is found keep what ``check_strategy`` does not ask?  One by one."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hashring.strategies import create, find, names
from tests.strategies.views import CountedView, pool, serve, take

pytestmark = pytest.mark.parametrize("name", names())

SIZES = (3, 1, 7, 2, 2, 5, 1, 4)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads that hardly ever switch would hide a race
    yield
    sys.setswitchinterval(before)


def views_of(sizes: tuple[int, ...]) -> list[CountedView]:
    loads = {f"h{i}": i % 3 for i in range(10)}
    latencies = {f"h{i}": i % 4 / 100 for i in range(10)}
    return [
        CountedView(pool([(f"h{i}", 1 + i * size / 4) for i in range(size)]), loads, latencies)
        for size in sizes
    ]


def test_a_class_documents_what_it_does(name: str) -> None:
    found = find(name)
    assert "USES_WEIGHT" in vars(found)
    assert found.__name__.lower() == name.replace("-", "")
    doc = " ".join((inspect.getdoc(found) or "").split())  # without its line breaks
    assert "Cost: O(" in doc
    assert "Source: " in doc
    assert ">>> " in doc


def test_one_host_is_always_the_answer(name: str) -> None:
    view = CountedView(pool(["only"]), {"only": 5})
    assert set(take(create(name), view, 20)) == {"only"}


@pytest.mark.parametrize(
    "weights", [(1e308, 1e308, 1e308), (5e-324, 5e-324, 1.0), (1e-9, 1.0, 1e9)]
)
def test_no_legal_weight_breaks_it(name: str, weights: tuple[float, float, float]) -> None:
    view = CountedView(pool(list(zip("abc", weights, strict=True))), {"a": 1, "b": 1, "c": 1})
    assert set(take(create(name), view, 100)) <= set("abc")


def test_threads_on_changing_views_get_hosts_of_their_own_view(
    name: str, eager_threads: None
) -> None:
    strategy = create(name)
    views = views_of(SIZES)

    def work(offset: int) -> int:
        good = 0
        for i in range(2000):
            view = views[(i + offset) % len(views)]
            chosen = strategy.choose(view)
            good += any(chosen is host for host in view.hosts)
        return good

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [2000] * 4


def test_shares_follow_the_weights_if_it_declares_so(name: str) -> None:
    # A random choice of 1/2 strays by sqrt(1/4 / 6000) = 0.65 % of 6,000 requests; 4 % is six
    # times that. A strategy that is wrong about its weights is off by 1/2 - 1/3 = 17 %. With 60
    # at once, strategies that look at load settle near 30, 20 and 10 in flight; the start from 0
    # and steps of one lease are below 60/6000 = 1 %.
    requests = 6000
    strategy = create(name, rng=random.Random(20))
    hosts = pool([("a", 1), ("b", 3), ("c", 2)])
    served = serve(strategy, hosts, requests, at_once=60)
    weights = {host.name: host.weight if find(name).USES_WEIGHT else 1.0 for host in hosts}
    for host, weight in weights.items():
        assert served[host] / requests == pytest.approx(weight / sum(weights.values()), abs=0.04)


def test_the_same_rng_gives_the_same_choices(name: str) -> None:
    view = views_of((7,))[0]
    own = create(name, rng=random.Random(11))
    own.bind(random.Random(12))  # what its maker gave it stays
    lent = create(name)
    lent.bind(random.Random(11))
    assert take(own, view, 50) == take(lent, view, 50)
