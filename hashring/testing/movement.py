"""Who moved, and who should not have?  Two memberships compared key by key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hashring.errors import ConfigError
from hashring.hosts import as_names
from hashring.keys import Key

_SHOWN = 5  # enough to recognise a pattern, short enough for one screen


@dataclass(frozen=True)
class Moves:
    """What a change did to some keys: ``total`` were asked, ``moved`` changed their host.

    ``flows`` counts them by (host before, host after); ``strays`` are the moves that the change
    does not explain, as (key, before, after): between hosts that were there before and after.
    ``staying`` counts the keys that had no reason to move.
    """

    total: int
    moved: int
    staying: int
    flows: dict[tuple[str | None, str | None], int]
    strays: tuple[tuple[Key, str | None, str | None], ...]

    def __str__(self) -> str:
        share = self.moved / self.total if self.total else 0.0
        said = f"{self.moved:,} of {self.total:,} keys moved ({share:.1%})"
        if self.strays:
            said += f", {len(self.strays):,} of the {self.staying:,} that should have stayed"
        return said


def assert_bounded_movement(
    before: Any,
    after: Any,
    keys: Iterable[Key],
    *,
    changed: Iterable[str] = (),
    at_most: float | None = None,
) -> Moves:
    """Assert that only keys of hosts that left, came or ``changed`` moved; what moved.

    ``before`` and ``after`` are rings, tables, anything with ``lookup``, or functions of a key.
    Their ``hosts`` say who left and came, else the answers do. Hosts whose ``weights`` differ are
    found where both have them; otherwise name them in ``changed``. ``at_most`` is the fraction
    of the keys that may move, whatever the reason. Cost: two look-ups a key. Raises
    ``AssertionError`` with counts and examples, ``ConfigError`` without keys.

    >>> from hashring import HashRing
    >>> from hashring.placement import create
    >>> keys = [f"session-{i}" for i in range(1000)]
    >>> print(assert_bounded_movement(HashRing(["a", "b"]), HashRing(["a", "b", "c"]), keys))
    326 of 1,000 keys moved (32.6%)
    >>> assert_bounded_movement(create("modulo", ["a", "b"]), create("modulo", ["a"]), keys).moved
    494
    """
    found = moves(before, after, keys, changed=changed)
    if found.strays:
        raise AssertionError(f"{found}\n\n{_moves_text(found)}\n\n{_examples(found)}")
    if at_most is not None and found.moved > at_most * found.total:
        raise AssertionError(f"{found}, at most {at_most:.1%} may\n\n{_moves_text(found)}")
    return found


def moves(before: Any, after: Any, keys: Iterable[Key], *, changed: Iterable[str] = ()) -> Moves:
    """What moved from ``before`` to ``after``, as ``assert_bounded_movement`` counts it.

    >>> from hashring.placement import create
    >>> table = create("modulo", ["a", "b", "c", "d"])
    >>> print(moves(table, table.without(["d"]), [f"session-{i}" for i in range(1000)]))
    750 of 1,000 keys moved (75.0%), 517 of the 767 that should have stayed
    """
    old, new = _lookup(before), _lookup(after)
    pairs = [(key, old(key), new(key)) for key in keys]
    if not pairs:
        raise ConfigError("movement is counted over keys: give at least one", option="keys")
    were = _hosts(before, (one for _, one, _ in pairs))
    are = _hosts(after, (other for _, _, other in pairs))
    explained = (were ^ are) | as_names(changed, "changed") | _reweighted_hosts(before, after)
    moved = [pair for pair in pairs if pair[1] != pair[2]]
    strays = tuple(pair for pair in moved if not explained.intersection(pair[1:]))
    reasoned = sum(1 for pair in pairs if explained.intersection(pair[1:]))
    flows = Counter((one, other) for _, one, other in moved)
    return Moves(len(pairs), len(moved), len(pairs) - reasoned, dict(flows.most_common()), strays)


def _lookup(placed: Any) -> Callable[[Key], str | None]:
    found = getattr(placed, "lookup", placed)
    if not callable(found):
        raise ConfigError(f"before and after have a lookup(key) or are functions, got {placed!r}")
    answer: Callable[[Key], str | None] = found
    return answer


def _hosts(placed: Any, answers: Iterable[str | None]) -> frozenset[str | None]:
    listed = getattr(placed, "hosts", None)
    return frozenset(answers if listed is None else map(str, listed))


def _reweighted_hosts(before: Any, after: Any) -> frozenset[str]:
    old, new = (getattr(placed, "weights", None) for placed in (before, after))
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return frozenset()
    return frozenset(name for name, weight in old.items() if new.get(name) != weight)


def _moves_text(found: Moves) -> str:
    unexplained = {pair[1:] for pair in found.strays}
    rows = [(count, pair) for pair, count in found.flows.items() if pair in unexplained]
    rows = rows or [(count, pair) for pair, count in found.flows.items()]
    lines = [f"  {count:>6,}  {one} -> {other}" for count, (one, other) in rows[:_SHOWN]]
    more = len(rows) - _SHOWN
    return "\n".join(lines + [f"  and {more} more flows"] * (more > 0))


def _examples(found: Moves) -> str:
    lines = [f"  {key!r}: {one} -> {other}" for key, one, other in found.strays[:_SHOWN]]
    return "\n".join(["such as", *lines])
