"""Which laws may a placement promise, and which must every one keep?  One function per law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from hypothesis import strategies as st

from hashring.hosts import Host
from hashring.testing._subject import Case, Subject

Law: TypeAlias = Callable[[Case], None]


def walk(case: Case) -> None:
    """The walk of a key gives every host exactly once, and its look-up is None or the first."""
    hosts = case.hosts()
    table = case.build(hosts)
    for key in case.few_keys():
        first, answer = table.walk(key)[0], table.lookup(key)
        if answer not in (None, first):
            table.fail(
                f"lookup({key!r}) is {answer!r}, the walk begins with {first!r}", key=repr(key)
            )
    listed = getattr(table.table, "hosts", None)
    if listed is not None and sorted(map(str, listed)) != sorted(table.names):
        table.fail(f"its hosts are {list(listed)}")


def unavailable(case: Case) -> None:
    """A look-up never answers with an unavailable host, and is that of the table without them."""
    hosts = case.hosts(2)
    down = case.some_down(hosts)
    table = case.build(hosts)
    found = [(key, table.lookup(key, down)) for key in case.many_keys()]
    if hasattr(table.table, "without"):
        left = [host for host in hosts if host.name not in down]
        smaller = Subject(case, left, table.table.without(down))
        for key, answer in found:
            other = smaller.lookup(key)
            if other != answer:
                table.fail(
                    f"lookup with them unavailable is {answer!r}, without({list(down)}) gives "
                    f"{other!r}",
                    down=list(down),
                    key=repr(key),
                )
        for key in case.few_keys():
            smaller.walk(key)


def repeatable(case: Case) -> None:
    """The same hosts give the same answers, asked again or built again after others."""
    history = case.history()
    first = case.build(history[0])
    keys, few = case.many_keys(), case.few_keys()
    answers, walks = list(first.answers(keys)), [first.walk(key) for key in few]
    for hosts in history[1:]:
        case.build(hosts)
    for again, when in ((first, "asked again"), (case.build(history[0]), "built again")):
        for key, answer in answers:
            now = again.lookup(key)
            if now != answer:
                first.fail(
                    f"{key!r} was on {answer!r} and is on {now!r} when {when}",
                    key=repr(key),
                    between=history[1:],
                )
        for key, before in zip(few, walks, strict=True):
            if again.walk(key) != before:
                first.fail(
                    f"the walk of {key!r} was {before} and is {again.walk(key)} when {when}",
                    key=repr(key),
                    between=history[1:],
                )


def minimal_move(case: Case) -> None:
    """Adding or removing a host moves only keys to or from it."""
    hosts = case.hosts(2)
    one = case.draw(st.sampled_from(hosts))
    large = case.build(hosts)
    small = case.build([host for host in hosts if host != one])
    for key in case.many_keys():
        was, now = large.lookup(key), small.lookup(key)
        if was not in (one.name, now):
            large.fail(
                f"{key!r} is on {was!r} with {one.name!r} and on {now!r} without it",
                change=f"{one!r} leaves or comes",
                key=repr(key),
            )


def order_free(case: Case) -> None:
    """The order of hosts never matters."""
    hosts = case.hosts(2)
    orders = st.permutations(hosts).filter(lambda other: _name_of(other) != _name_of(hosts))
    shuffled = case.draw(orders)
    one, other = case.build(hosts), case.build(list(shuffled))
    for key in case.many_keys():
        was, now = one.lookup(key), other.lookup(key)
        if was != now:
            one.fail(
                f"{key!r} is on {was!r} in the one order and on {now!r} in the other",
                reordered=_name_of(shuffled),
                key=repr(key),
            )
    for key in case.few_keys():
        if one.walk(key) != other.walk(key):
            one.fail(
                f"the walk of {key!r} is {one.walk(key)} in the one order and {other.walk(key)} in "
                "the other",
                reordered=_name_of(shuffled),
                key=repr(key),
            )


def monotone_weight(case: Case) -> None:
    """Raising one weight moves keys only to that host."""
    hosts = case.hosts(2)
    place = case.draw(st.integers(0, len(hosts) - 1))
    light = hosts[place]
    heavy = light.with_weight(light.weight + case.draw(_more(hosts)))
    before = case.build(hosts)
    after = case.build([*hosts[:place], heavy, *hosts[place + 1 :]])
    for key in case.many_keys():
        was, now = before.lookup(key), after.lookup(key)
        if now not in (was, heavy.name):
            before.fail(
                f"{key!r} was on {was!r} and is on {now!r}, which is not {heavy.name!r}",
                change=f"the weight of {heavy.name!r} grows from {light.weight:g} to "
                f"{heavy.weight:g}",
                key=repr(key),
            )


def stable_under_down(case: Case) -> None:
    """A look-up with hosts unavailable is the first of the walk that is not among them."""
    hosts = case.hosts(2)
    down = case.some_down(hosts)
    table = case.build(hosts)
    for key in case.few_keys():
        walk = table.walk(key)
        wanted = next(name for name in walk if name not in down)
        answer = table.lookup(key, down)
        if answer != wanted:
            table.fail(
                f"{key!r} goes to {answer!r}, its walk {walk} goes on with {wanted!r}",
                down=list(down),
                key=repr(key),
            )


def _more(hosts: list[Host]) -> st.SearchStrategy[float]:
    """What a weight grows by: whole where all are, as many programs take no other."""
    whole = st.integers(1, 4).map(float)
    if all(host.weight.is_integer() for host in hosts):
        return whole
    return st.one_of(whole, st.floats(0.05, 4))


def _name_of(hosts: list[Host]) -> list[str]:
    return [host.name for host in hosts]


CONTRACT: tuple[Law, ...] = (walk, unavailable, repeatable)
"""What everything with ``lookup`` and ``walk`` must keep."""

GUARANTEES: Mapping[str, Law | None] = MappingProxyType(
    {
        "minimal_move": minimal_move,
        "monotone_weight": monotone_weight,
        "order_free": order_free,
        "stable_under_down": stable_under_down,
        "weighted": None,  # counted, not hunted: see _shares.py
    }
)
"""What a placement may promise in its ``GUARANTEES``."""

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        law.__name__: (law.__doc__ or "").rstrip(".")
        for law in (*CONTRACT, *GUARANTEES.values())
        if law is not None
    }
    | {"weighted": "Shares follow the weights"}
)
