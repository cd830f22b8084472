"""Does this placement keep its promises?  ``check_placement`` looks for a pool where it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.testing import inputs
from hashring.testing._hunt import Refusals, draw_examples, hunt
from hashring.testing._laws import CONTRACT, GUARANTEES, SENTENCES, Law
from hashring.testing._shares import check_weighted
from hashring.testing._subject import KEYS, Case, Factory, Text


@dataclass(frozen=True)
class PlacementLaw:
    """One law on one placement: calling it checks it, and raises ``AssertionError``."""

    name: str
    _check: Callable[[], None] = field(repr=False)

    @property
    def sentence(self) -> str:
        """What the law states."""
        return SENTENCES[self.name]

    def __call__(self) -> None:
        """Check the law. Raises ``AssertionError`` with the simplest counter-example found."""
        __tracebackhide__ = True
        self._check()

    def __str__(self) -> str:
        return self.name


def check_placement(
    factory: Factory,
    guarantees: Iterable[str] | None = None,
    *,
    hosts: st.SearchStrategy[list[Host]] | None = None,
    keys: st.SearchStrategy[Any] | None = None,
    max_examples: int | None = None,
    seed: int = 0,
) -> None:
    """Check that what ``factory(hosts)`` builds keeps the contract and its ``guarantees``.

    ``factory`` takes a ``list[Host]`` and returns what a ``LoadBalancer`` takes as a table: an
    object with ``lookup(key)`` and ``walk(key)``, or a function from a key to a name. It is used as
    a balancer uses it: keys arrive as bytes, and what it lacks is supplied. Checked of every one:
    the walk gives each host once, a look-up is None or the first of it, never an unavailable host,
    that of ``without`` if there is one, and the same for the same hosts. ``guarantees`` are any of
    ``minimal_move``, ``monotone_weight``, ``order_free``, ``stable_under_down`` and ``weighted``;
    None takes the ``GUARANTEES`` of the factory, of what it builds or of the factory's module, and
    none where there are none.

    ``hosts`` and ``keys`` are Hypothesis strategies (lists of hosts; str or bytes) for placements
    that take special ones. A pool that the factory refuses with a ``ConfigError`` is skipped. Pools
    have at least one host and never are all unavailable.

    Each law but ``weighted`` is tried on ``max_examples`` pools of some 100 keys each (None: the
    number of the Hypothesis profile in use, 100 by default); equal ``seed``s try equal ones, so
    that a run in CI repeats itself, and another seed looks elsewhere. ``laws`` gives the same
    checks one by one. Cost: some 10 builds an example, some seconds in all for tables of a few
    hundred vnodes. Raises ``AssertionError`` with the simplest counter-example found, and
    ``ConfigError`` for an unknown guarantee or where every pool was refused.

    >>> from hashring import HashRing
    >>> from hashring.placement import create
    >>> check_placement(lambda hosts: HashRing(hosts, vnodes=8).table, {"minimal_move"})
    >>> check_placement(
    ...     lambda hosts: create("modulo", hosts), {"minimal_move"}
    ... )  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: minimal_move is broken: adding or removing a host moves only keys to or from it
    ...
    """
    __tracebackhide__ = True  # a report of pytest ends at the line that called this
    for law in laws(
        factory, guarantees, hosts=hosts, keys=keys, max_examples=max_examples, seed=seed
    ):
        law()


def laws(
    factory: Factory,
    guarantees: Iterable[str] | None = None,
    *,
    hosts: st.SearchStrategy[list[Host]] | None = None,
    keys: st.SearchStrategy[Any] | None = None,
    max_examples: int | None = None,
    seed: int = 0,
) -> list[PlacementLaw]:
    """The laws that ``check_placement`` checks, one by one; calling a law checks it.

    The arguments are those of ``check_placement``. Raises ``ConfigError`` for an unknown guarantee.

    ::

        @pytest.mark.parametrize("law", laws(MyPlacement), ids=str)
        def test_my_placement(law):
            law()

    >>> from hashring import HashRing
    >>> [str(law) for law in laws(HashRing, {"order_free"})]
    ['walk', 'unavailable', 'repeatable', 'order_free']
    >>> laws(HashRing, {"order_free"}, max_examples=5)[-1]()
    """
    pools = inputs.hosts() if hosts is None else hosts
    promised = _promises_of(factory, pools) if guarantees is None else _find_known(guarantees)

    def run(law: Law, refusals: Refusals, data: st.DataObject) -> None:
        law(Case(_title(law.__name__), factory, data, pools, _keys(keys), refusals))

    def check(law: Law) -> None:
        __tracebackhide__ = True
        refusals = Refusals()
        hunt(
            partial(run, law, refusals),
            what=law.__name__,
            max_examples=max_examples,
            seed=seed,
            refusals=refusals,
        )

    chosen = [*CONTRACT, *(GUARANTEES[name] for name in sorted(promised))]
    found = [PlacementLaw(law.__name__, partial(check, law)) for law in chosen if law is not None]
    if "weighted" in promised:
        title = _title("weighted")
        shares = partial(check_weighted, factory, title, hosts=hosts, keys=keys, seed=seed)
        found.append(PlacementLaw("weighted", shares))
    return found


def _title(law: str) -> str:
    sentence = SENTENCES[law]
    return f"{law} is broken: {sentence[0].lower()}{sentence[1:]}"


def _keys(
    given: st.SearchStrategy[Any] | None,
) -> tuple[st.SearchStrategy[list[Text]], tuple[Text, ...]]:
    """Keys to draw, and those that every example asks first."""
    if given is None:
        return st.lists(inputs.keys(), min_size=2, max_size=4), KEYS
    # as many as are drawn in the time that a table takes to build
    return st.lists(given, min_size=20, max_size=30), ()


def _find_known(guarantees: Iterable[str]) -> frozenset[str]:
    if isinstance(guarantees, str):
        raise ConfigError(
            f"guarantees takes several names, got {guarantees!r}: did you mean [{guarantees!r}]?",
            option="guarantees",
        )
    names = frozenset(guarantees)
    unknown = sorted(map(repr, names - set(GUARANTEES)))
    if unknown:
        raise ConfigError(
            f"there is no guarantee {', '.join(unknown)}; the guarantees are "
            f"{', '.join(sorted(GUARANTEES))}",
            option="guarantees",
        )
    return names


def _promises_of(factory: Factory, pools: st.SearchStrategy[list[Host]]) -> frozenset[str]:
    """The ``GUARANTEES`` of a factory, of what it builds, or of the module that it is from."""
    while isinstance(factory, partial):
        factory = factory.func
    found: Any = getattr(factory, "GUARANTEES", None)
    if found is None:
        with suppress(ConfigError):  # a first pool that it refuses decides nothing
            found = getattr(factory(draw_examples(pools, 1, 0)[0]), "GUARANTEES", None)
    if found is None:
        module = sys.modules.get(getattr(factory, "__module__", ""))
        found = getattr(module, "GUARANTEES", ())
    return _find_known(found)
