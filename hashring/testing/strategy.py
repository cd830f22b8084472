"""Does this strategy keep the contract?  ``check_strategy`` looks for a view where it does not."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeAlias

from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.testing import inputs
from hashring.testing._hunt import Broken, Refusals, hunt
from hashring.testing._subject import counter_example
from hashring.testing.rng import seeded_rng
from hashring.testing.view import FakeView

StrategyFactory: TypeAlias = Callable[[], Any]

REQUESTS = 6000
AT_ONCE = 60
TOLERANCE = 0.04
"""A random choice of 1/2 strays by sqrt(1/4 / 6000) = 0.65 % of 6,000 requests; 4 % is six times
that, one in 5 * 10^8 seeds. Weights that are ignored are off by 1/2 - 1/3 = 17 %. With 60 at once,
strategies that look at load settle near 30, 20 and 10 in flight; the start from 0 and steps of one
lease are below 60 / 6000 = 1 %."""

_WEIGHTS = {"web1": 1.0, "web2": 3.0, "web3": 2.0}  # none above 2/n: more, two choices cannot give
_THREADS, _TURNS = 4, 500
_EXTREMES = (5e-324, 1e-9, 1.0, 1e9, 1e308)  # weights are finite and above 0: these are legal

_SAYS = {
    "of_this_view": "a choice is a host of the view that was given",
    "repeatable": "the same rng gives the same choices",
    "bound_once": "one object serves one balancer, a second bind is a ConfigError",
    "threads": "any number of threads may choose concurrently, each on its own view",
    "weighted": "with USES_WEIGHT, shares follow the weights",
}


def check_strategy(
    factory: StrategyFactory,
    *,
    hosts: st.SearchStrategy[list[Host]] | None = None,
    max_examples: int | None = None,
    seed: int = 0,
) -> None:
    """Check that what ``factory()`` makes keeps the contract of a strategy.

    That is an object with ``choose(view) -> Host`` or a function of that form. A choice is a host
    of the view given, whatever its hosts, loads, latencies and weights, and from any thread. What
    has ``bind`` takes one balancer's rng, and chooses the same with an equal one. A strategy
    with ``USES_WEIGHT`` gives shares that follow weights.

    ``hosts`` is a Hypothesis strategy for lists of hosts; ``max_examples`` and ``seed`` are as in
    ``check_placement``. Cost: about a second. Raises ``AssertionError`` with the simplest
    counter-example found.

    >>> from hashring.strategies import RoundRobin
    >>> check_strategy(RoundRobin, max_examples=10)
    >>> check_strategy(lambda: lambda view: view.hosts[1], max_examples=10)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: of_this_view is broken: a choice is a host of the view that was given
    ...
      choose(view) raised IndexError: tuple index out of range
    ...
    """
    __tracebackhide__ = True  # a report of pytest ends at the line that called this
    pools = _pools() if hosts is None else hosts
    for law, name in ((_of_this_view, "of_this_view"), (_repeatable, "repeatable")):
        hunt(
            lambda data, law=law: law(factory, data, pools),  # type: ignore[misc]  # its default
            what=name,
            max_examples=max_examples,
            seed=seed,
            refusals=Refusals(),
        )
    try:
        _bound_once(factory)
        _threads(factory)
        _weigh(factory, seed)
    except Broken as found:
        raise AssertionError(str(found)) from found.__cause__


def _pools() -> st.SearchStrategy[list[Host]]:
    extreme = inputs.host_names().flatmap(
        lambda name: st.builds(Host, st.just(name), st.sampled_from(_EXTREMES))
    )
    return st.one_of(
        inputs.hosts(),
        st.lists(extreme, min_size=1, max_size=5, unique_by=lambda host: host.name),
    )


def _views(data: st.DataObject, pools: st.SearchStrategy[list[Host]]) -> list[FakeView]:
    """Views of one balancer's life: each has hosts and loads of its own."""
    views = []
    for members in data.draw(st.lists(pools, min_size=1, max_size=3)):
        names = [host.name for host in members]
        loads = data.draw(st.dictionaries(st.sampled_from(names), st.integers(0, 50)))
        latencies = data.draw(st.dictionaries(st.sampled_from(names), st.floats(0, 30)))
        views.append(FakeView(members, loads, latencies))
    return views


def _fail(law: str, so: str, /, *, cause: Exception | None = None, **facts: Any) -> NoReturn:
    raise Broken(counter_example(f"{law} is broken: {_SAYS[law]}", so, **facts)) from cause


def _choose(law: str, strategy: Any, view: FakeView, **facts: Any) -> Host:
    """One choice, which is a host of the view."""
    try:
        chosen = getattr(strategy, "choose", strategy)(view)
    except Exception as error:
        what = f"choose(view) raised {type(error).__name__}: {error}"
        _fail(law, what, cause=error, view=view, **facts)
    if not isinstance(chosen, Host):
        _fail(law, f"choose(view) is {chosen!r}, which is not a Host", view=view, **facts)
    if not any(chosen.same(host) for host in view.hosts):
        _fail(law, f"choose(view) is {chosen!r}, which is not in this view", view=view, **facts)
    return chosen


def _of_this_view(
    factory: StrategyFactory, data: st.DataObject, pools: st.SearchStrategy[list[Host]]
) -> None:
    strategy = factory()
    before: list[FakeView] = []
    for view in _views(data, pools):
        for _ in range(3):
            _choose("of_this_view", strategy, view, **({"after": before} if before else {}))
        before.append(view)


def _repeatable(
    factory: StrategyFactory, data: st.DataObject, pools: st.SearchStrategy[list[Host]]
) -> None:
    one, other = factory(), factory()
    if not (hasattr(one, "bind") and hasattr(other, "bind")):
        return
    one.bind(seeded_rng(11))
    other.bind(seeded_rng(11))
    for view in _views(data, pools):
        for _ in range(10):
            first, second = (_choose("repeatable", each, view) for each in (one, other))
            if first != second:
                so = f"two that were bound to equal rngs chose {first.name!r} and {second.name!r}"
                _fail("repeatable", so, view=view)


def _bound_once(factory: StrategyFactory) -> None:
    strategy = factory()
    if hasattr(strategy, "bind"):
        strategy.bind(None)
        try:
            strategy.bind(None)
        except ConfigError:
            return
        _fail("bound_once", "the second bind(None) raised nothing")


def _threads(factory: StrategyFactory) -> None:
    strategy = factory()
    views = [FakeView([f"web{i}" for i in range(1, size + 1)]) for size in (3, 1, 7, 2, 5)]

    def work(offset: int) -> None:
        for turn in range(_TURNS):
            _choose("threads", strategy, views[(turn + offset) % len(views)], threads=_THREADS)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, range(_THREADS)))


def _weigh(factory: StrategyFactory, seed: int) -> None:
    strategy = factory()
    if not getattr(strategy, "USES_WEIGHT", False):
        return
    if hasattr(strategy, "bind"):
        strategy.bind(seeded_rng(seed))
    served = _serve(strategy)
    fair = {name: weight / sum(_WEIGHTS.values()) for name, weight in _WEIGHTS.items()}
    if any(abs(served[name] / REQUESTS - share) > TOLERANCE for name, share in fair.items()):
        shares = ", ".join(f"{name} {served[name] / REQUESTS:.1%}" for name in fair)
        wanted = ", ".join(f"{name} {share:.1%}" for name, share in fair.items())
        _fail(
            "weighted",
            f"of {REQUESTS:,} requests, {AT_ONCE} at once, got {shares}; fair is {wanted}, give or "
            f"take {TOLERANCE:.0%}",
            hosts=[Host(name, weight) for name, weight in _WEIGHTS.items()],
        )


def _serve(strategy: Any) -> Counter[str]:
    """Who served: each request stays in flight until ``AT_ONCE`` others came after it."""
    load: Counter[str] = Counter()
    served: Counter[str] = Counter()
    running: deque[str] = deque()
    for _ in range(REQUESTS):
        view = FakeView(_WEIGHTS, load, dict.fromkeys(_WEIGHTS, 0.01))
        chosen = _choose("weighted", strategy, view).name
        served[chosen] += 1
        load[chosen] += 1
        running.append(chosen)
        if len(running) > AT_ONCE:
            load[running.popleft()] -= 1
    return served
