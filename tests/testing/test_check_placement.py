"""Is a broken promise caught, readably and with a small counter-example?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from hashring import ConfigError, HashRing, Host, placement
from hashring.testing import PlacementLaw, check_placement, laws
from hashring.testing._laws import GUARANTEES, SENTENCES
from hashring.testing._shares import POOLS, QUANTILE, check_weighted
from tests.testing.wrong import BROKEN, Fickle, Ordered, Right

ALL = frozenset(GUARANTEES)


def caught(factory: Callable[[list[Host]], Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(AssertionError) as found:
        check_placement(factory, *args, **kwargs)
    return str(found.value)


def hosts_of(message: str) -> list[Host]:
    (shown,) = re.findall(r"^  hosts +(\[.*\])$", message, re.MULTILINE)
    found: list[Host] = eval(shown, {"Host": Host})
    return found


def test_what_is_right_passes() -> None:
    check_placement(Right, ALL)


@pytest.mark.slow
@pytest.mark.parametrize("law", sorted(ALL))
def test_a_promise_that_is_broken_is_caught(law: str) -> None:
    message = caught(BROKEN[law], [law])
    title, blank, *_ = message.splitlines()
    sentence = SENTENCES[law]
    assert title == f"{law} is broken: {sentence[0].lower()}{sentence[1:]}"
    assert blank == ""
    # two hosts when one is enough to compare with, three when a key has to stray to a third
    assert 2 <= len(hosts_of(message)) <= 3
    if law != "weighted":
        assert {host.name for host in hosts_of(message)} <= {"web1", "web2", "web3"}
        assert "  key " in message
        assert "  seed=0, max_examples=100 find this again" in message


@pytest.mark.parametrize("law", sorted(ALL))
def test_what_is_not_promised_is_not_checked(law: str) -> None:
    check_placement(BROKEN[law], (), max_examples=20)


def test_the_counter_example_is_a_counter_example() -> None:
    message = caught(BROKEN["minimal_move"], ["minimal_move"])
    hosts = hosts_of(message)
    (gone,) = re.findall(r"change +(Host\(.*\)) leaves", message)
    (key,) = re.findall(r"key +'(.*)'", message)
    left = [host for host in hosts if host != eval(gone, {"Host": Host})]
    make = BROKEN["minimal_move"]
    assert make(hosts).lookup(key) in {host.name for host in left}
    assert make(hosts).lookup(key) != make(left).lookup(key)


@pytest.mark.slow
def test_the_same_seed_finds_the_same() -> None:
    factory, law = BROKEN["order_free"], ["order_free"]
    assert caught(factory, law, seed=5) == caught(factory, law, seed=5)
    assert "seed=5, max_examples=30 find" in caught(factory, law, seed=5, max_examples=30)


class Twice(Right):
    def walk(self, key: str | bytes) -> Iterator[str]:
        return iter([*super().walk(key)] * 2)


class Short(Right):
    def walk(self, key: str | bytes) -> Iterator[str]:
        return iter([*super().walk(key)][:2])


class Strange(Right):
    def walk(self, key: str | bytes) -> Iterator[str]:
        return iter(["web9", *super().walk(key)][: len(self._hosts)])


class Endless(Right):
    def walk(self, key: str | bytes) -> Iterator[str]:
        while True:
            yield from super().walk(key)


class Last(Right):
    def lookup(self, key: str | bytes, unavailable: Iterable[str] = ()) -> str | None:
        return [name for name in self.walk(key) if name not in unavailable][-1]


class Dead(Right):
    def lookup(self, key: str | bytes, unavailable: Iterable[str] = ()) -> str | None:
        return super().lookup(key)


class Stranger(Right):
    def lookup(self, key: str | bytes, unavailable: Iterable[str] = ()) -> str | None:
        return "web9" if unavailable else super().lookup(key)


class Plain(Right):
    """Without ``unavailable``, which a balancer supplies."""

    def lookup(self, key: str | bytes) -> str | None:  # type: ignore[override]  # as its docstring
        return super().lookup(key)


class TextOnly(Right):
    def walk(self, key: str | bytes) -> Iterator[str]:
        return super().walk(key.encode())  # type: ignore[union-attr]  # that is the mistake


class Without(Right):
    def without(self, names: Iterable[str]) -> Right:
        return Ordered([host for host in self._hosts if host.name not in names])


class Uninvited(Right):
    hosts = ("web1", "web9")


@pytest.mark.parametrize(
    ("factory", "law", "says"),
    [
        (Twice, "walk", "which is not every host once"),
        (Short, "walk", "which is not every host once"),
        (Strange, "walk", "which is not every host once"),
        (Endless, "walk", "and more, which is not every host once"),
        (Last, "walk", "the walk begins with"),
        (Uninvited, "walk", "its hosts are ['web1', 'web9']"),
        (TextOnly, "walk", "AttributeError: 'bytes' object has no attribute 'encode'"),
        (Dead, "unavailable", "which is unavailable"),
        (Stranger, "unavailable", "is 'web9', which is not a host of the pool"),
        (Without, "unavailable", "without(['web1']) gives"),
    ],
)
def test_the_contract_holds_for_everything(factory: type[Right], law: str, says: str) -> None:
    message = caught(factory, ())
    assert message.startswith(f"{law} is broken: ")
    assert says in message
    assert len(hosts_of(message)) <= 3


def test_what_a_table_raised_is_the_cause() -> None:
    with pytest.raises(AssertionError) as found:
        check_placement(TextOnly, ())
    assert isinstance(found.value.__cause__, AttributeError)


def test_a_look_up_without_unavailable_is_enough() -> None:
    check_placement(Plain, ALL, max_examples=10)


def test_a_function_from_key_to_name_is_enough() -> None:
    def by_length(hosts: list[Host]) -> Callable[[bytes], str]:
        names = sorted(host.name for host in hosts)
        return lambda key: names[len(key) % len(names)]

    check_placement(by_length, {"order_free", "stable_under_down"}, max_examples=10)
    assert caught(by_length, {"minimal_move"}).startswith("minimal_move is broken")


@pytest.mark.parametrize("law", laws(Right, ALL, max_examples=10), ids=str)
def test_laws_are_checked_one_by_one(law: PlacementLaw) -> None:
    assert law.sentence
    law()


def test_the_number_of_examples_is_that_of_the_profile() -> None:
    built: list[int] = []

    def counting(hosts: list[Host]) -> Right:
        built.append(len(hosts))
        return Right(hosts)

    counts = []
    usual = settings.get_current_profile_name()
    for examples in (5, 50):
        settings.register_profile("counted", settings(max_examples=examples))
        settings.load_profile("counted")
        try:
            built.clear()
            laws(counting, ())[0]()
        finally:
            settings.load_profile(usual)
        counts.append(len(built))
    few, many = counts  # a few more than asked: some pools do not suit the law
    assert 5 <= few < 20
    assert 50 <= many < 100


def test_a_report_of_pytest_ends_in_the_users_code() -> None:
    with pytest.raises(AssertionError) as found:
        check_placement(Strange, ())
    shown = found.traceback.filter(found)
    assert [Path(str(entry.path)).name for entry in shown] == [Path(__file__).name]


def test_an_answer_by_lot_is_caught() -> None:
    assert "is broken" in caught(Fickle, ())


def test_a_table_that_depends_on_what_was_built_before_is_caught() -> None:
    built: list[list[Host]] = []

    def patching(hosts: list[Host]) -> Right:
        built.append(hosts)
        table = Right(hosts)
        table._labels = {host.name: f"{host.name}/{len(built) % 7}" for host in hosts}
        return table

    message = caught(patching, ())
    assert message.startswith("repeatable is broken")


@pytest.mark.slow
def test_a_raising_factory_is_caught_and_a_refusing_one_not() -> None:
    def picky(error: Exception, hosts: list[Host]) -> Right:
        if any(host.weight > 1 for host in hosts):
            raise error
        return Right(hosts)

    check_placement(partial(picky, ConfigError("not these")), ["minimal_move"], max_examples=10)
    message = caught(partial(picky, ZeroDivisionError("oh")), ["minimal_move"], max_examples=10)
    assert "the factory raised ZeroDivisionError: oh" in message


def test_a_factory_that_refuses_every_pool_is_an_error() -> None:
    def never(hosts: list[Host]) -> Right:
        raise ConfigError("not these")

    with pytest.raises(ConfigError, match="refused with: not these; give hosts="):
        check_placement(never, ())


def test_guarantees_are_known_names() -> None:
    with pytest.raises(ConfigError, match="no guarantee 'minimal'; the guarantees are minimal_mo"):
        check_placement(Right, ["minimal"])
    with pytest.raises(ConfigError, match="did you mean"):
        check_placement(Right, "weighted")


@pytest.mark.slow
def test_promises_are_found_where_they_are_made() -> None:
    class Promising(Ordered):
        GUARANTEES = frozenset({"order_free"})

    def make(hosts: list[Host]) -> Promising:
        return Promising(hosts)

    for factory in (Promising, make, partial(Promising)):
        assert caught(factory).startswith("order_free is broken")
    modulo = placement.module("modulo")
    check_placement(modulo.build, max_examples=10)


@pytest.mark.slow
def test_own_hosts_and_keys_are_used_and_nothing_else() -> None:
    seen: set[str | bytes] = set()
    names: set[str] = set()

    class Watching(Right):
        def __init__(self, hosts: list[Host]) -> None:
            super().__init__(hosts)
            names.update(host.name for host in hosts)

        def walk(self, key: str | bytes) -> Iterator[str]:
            seen.add(key)
            return super().walk(key)

    pools = st.just(["a:1", ("b:2", 3), Host("c:3", 2)])
    numbers = st.integers(0, 5000).map(str)
    check_placement(Watching, ALL, hosts=pools, keys=numbers, max_examples=10)  # type: ignore[arg-type]  # any HostsLike will do
    assert names == {"a:1", "b:2", "c:3"}
    assert seen
    assert all(key.isdigit() for key in seen)


def test_weighted_states_when_it_cannot_count() -> None:
    with pytest.raises(ConfigError, match="needs 1000 different keys"):
        check_placement(Right, ["weighted"], keys=st.sampled_from("abc"), max_examples=2)
    with pytest.raises(ConfigError, match="pools of one host"):
        check_weighted(Right, "", hosts=st.just([Host("a")]), keys=None, seed=0)


def test_a_pool_of_one_host_shows_too_little() -> None:
    with pytest.raises(ConfigError, match="unavailable cannot be checked: no example was usable"):
        check_placement(Right, (), hosts=st.just([Host("a")]), max_examples=2)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.5, 2.0])
def test_shares_that_do_not_follow_weights_are_caught(power: float) -> None:
    def bent(hosts: list[Host]) -> Right:
        return Right([host.with_weight(host.weight**power) for host in hosts])

    assert caught(bent, ["weighted"], max_examples=2).startswith("weighted is broken")


@pytest.mark.parametrize("vnodes", [1, 4, 16, 160])
@pytest.mark.parametrize("seed", range(3))
def test_luck_breaks_no_promise_of_weights(vnodes: int, seed: int) -> None:
    check_placement(
        lambda hosts: HashRing(hosts, vnodes=vnodes, seed=seed).table,
        ["weighted"],
        max_examples=1,
        seed=seed,
    )


def test_the_quantile_is_the_one_that_is_claimed() -> None:
    # twice the tail of Student's density beyond QUANTILE, by steps of 1/1000 as far as it matters
    freedom = POOLS - 1
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)
    at = (QUANTILE + step / 1000 for step in range(40_000))
    tail = 2 * sum(scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2) for t in at) / 1000
    assert 1.5e-9 < tail < 2.5e-9
