"""What does the table under test say?  Its answers; an error is one that breaks the law."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, Protocol, TypeAlias

from hypothesis import strategies as st

from hashring.errors import ConfigError, DuplicateHostError, InvalidWeightError
from hashring.hosts import Host, as_hosts
from hashring.keys import key_bytes
from hashring.placement import adapt_table
from hashring.testing._hunt import Broken, Refusals
from hashring.testing.inputs import histories

Text: TypeAlias = str | bytes

KEYS = tuple(f"key-{i}" for i in range(100))
"""Asked in each example beside the drawn ones. A law that one key in 1,000 breaks stays unseen in
100 examples of 100 keys with a chance of e^-10."""

_WALKED = 4  # of KEYS: many placements build a table for each host of a walk
_REFUSALS = (ConfigError, DuplicateHostError, InvalidWeightError)


class Placed(Protocol):
    """What a factory builds: anything with a host for each key."""

    def lookup(self, key: str | bytes, /, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``, or None where it is left to a fallback."""

    def walk(self, key: str | bytes, /) -> Iterable[str]:
        """All hosts for ``key``, owner first."""


Factory: TypeAlias = Callable[[list[Host]], Any]


class Case:
    """One example of a law: it draws what the law asks for and builds tables of it."""

    def __init__(
        self,
        title: str,
        factory: Factory,
        data: st.DataObject,
        hosts: st.SearchStrategy[list[Host]],
        keys: tuple[st.SearchStrategy[list[Text]], tuple[Text, ...]],
        refusals: Refusals,
    ) -> None:
        self.title = title
        self.draw = data.draw
        self._factory = factory
        self._hosts = hosts
        self._keys = keys
        self._refusals = refusals

    def hosts(self, least: int = 1) -> list[Host]:
        """A membership of at least ``least`` hosts."""
        return list(as_hosts(self.draw(self._hosts.filter(lambda found: len(found) >= least))))

    def history(self) -> list[list[Host]]:
        """Memberships of one pool, one change after the other."""
        return self.draw(histories(of=self._hosts.map(lambda found: list(as_hosts(found)))))

    def many_keys(self) -> list[Text]:
        """Many keys, plain ones first: the first that breaks a law is the one that is shown."""
        strategy, plain = self._keys
        return [*plain, *self.draw(strategy)]

    def few_keys(self) -> list[Text]:
        """Some keys, for what costs more than a look-up."""
        strategy, plain = self._keys
        return [*plain[:_WALKED], *self.draw(strategy)[:_WALKED]]

    def some_down(self, hosts: list[Host]) -> tuple[str, ...]:
        """Names of hosts that are down: at least one is, and at least one is not."""
        names = [host.name for host in hosts]
        down = st.lists(st.sampled_from(names), min_size=1, max_size=len(names) - 1, unique=True)
        return tuple(self.draw(down))

    def build(self, hosts: list[Host]) -> Subject:
        """The factory's table over ``hosts``; a pool that it refuses ends the example unseen."""
        try:
            table = self._factory(list(hosts))
        except _REFUSALS as error:
            self._refusals.refuse(error)
        except Exception as error:
            self.fail(f"the factory raised {_show(error)}", cause=error, hosts=hosts)
        return Subject(self, hosts, table)

    def fail(self, so: str, /, *, cause: Exception | None = None, **facts: Any) -> NoReturn:
        """The law is broken: what happened, after the facts that show it."""
        raise Broken(counter_example(self.title, so, **facts)) from cause


def counter_example(title: str, so: str, **facts: Any) -> str:
    """The text of a counter-example, one fact a line."""
    width = max(map(len, facts), default=0)
    lines = [f"  {name:<{width}}  {fact}" for name, fact in facts.items()]
    return "\n".join([title, "", *lines, "", f"  {so}"])


class Subject:
    """A table under test. What it raises breaks the law; what it answers is judged by the law.

    It is used as a balancer uses it: keys reach a table of the user's own as bytes, and what it
    lacks (``walk``, or ``unavailable`` of ``lookup``) is supplied by ``adapt_table``.
    """

    def __init__(self, case: Case, hosts: list[Host], table: Any) -> None:
        self.case = case
        self.hosts = hosts
        self.names = [host.name for host in hosts]
        self.table = table if callable(getattr(table, "walk", None)) else self._adapt(table)
        self._takes_bytes = not type(table).__module__.startswith("hashring.")
        self._down_table = self.table if _takes_unavailable(self.table) else self._adapt(table)

    def _adapt(self, table: Any) -> Any:
        try:
            return adapt_table(table, tuple(self.hosts))
        except ConfigError as error:
            self.fail(str(error), cause=error)

    def _key(self, key: Text) -> Text:
        return key_bytes(key) if self._takes_bytes else key

    def fail(self, so: str, /, *, cause: Exception | None = None, **facts: Any) -> NoReturn:
        """The law is broken on this table."""
        self.case.fail(so, cause=cause, hosts=self.hosts, **facts)

    def lookup(self, key: Text, down: tuple[str, ...] = ()) -> str | None:
        """Its answer, which is None or a host that is there and not down."""
        facts: dict[str, Any] = {"key": repr(key)} | ({"down": list(down)} if down else {})
        call = f"lookup({key!r}, unavailable={list(down)})" if down else f"lookup({key!r})"
        try:
            if down:
                answer = self._down_table.lookup(self._key(key), unavailable=down)
            else:
                answer = self.table.lookup(self._key(key))
        except Exception as error:
            self.fail(f"{call} raised {_show(error)}", cause=error, **facts)
        if answer is not None and answer not in self.names:
            self.fail(f"{call} is {answer!r}, which is not a host of the pool", **facts)
        if answer in down:
            self.fail(f"{call} is {answer!r}, which is unavailable", **facts)
        found: str | None = answer
        return found

    def walk(self, key: Text) -> list[str]:
        """Its walk, which is a permutation of the hosts."""
        try:
            # one host too many is enough to see that a walk does not end
            found = list(itertools.islice(self.table.walk(self._key(key)), len(self.names) + 1))
        except Exception as error:
            self.fail(f"walk({key!r}) raised {_show(error)}", cause=error, key=repr(key))
        if sorted(found, key=repr) != sorted(self.names, key=repr):
            shown = f"{found}" if len(found) <= len(self.names) else f"{found[:-1]} and more"
            self.fail(f"walk({key!r}) is {shown}, which is not every host once", key=repr(key))
        return found

    def answers(self, keys: Iterable[Text]) -> Iterator[tuple[Text, str | None]]:
        """Each key and its host."""
        return ((key, self.lookup(key)) for key in keys)


def _takes_unavailable(table: Any) -> bool:
    try:
        parameters = inspect.signature(table.lookup).parameters.values()
    except (TypeError, ValueError):  # of a built-in function: not known
        return True
    return any(each.name == "unavailable" or each.kind == each.VAR_KEYWORD for each in parameters)


def _show(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
