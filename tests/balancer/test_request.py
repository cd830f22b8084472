"""Is one request answered in its order?  prefer, owner, next, overflow, fallback, NoHostsError."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import pytest

from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, InvalidKeyError, NoHostsError
from hashring.hosts import Host
from hashring.testing import FakeClock
from tests.balancer.rig import CLIENTS, balancer, client_of, walk

HOSTS = ("a", "b", "c", "d")


def served(lb: LoadBalancer, *args: Any, **options: Any) -> tuple[str, str]:
    """Host and reason of a lease, and that ``pick`` says the same host."""
    with lb.lease(*args, **options) as lease:
        return lease.host.name, lease.reason


# -- the order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS[:40])
def test_prefer_comes_before_the_owner_and_then_the_next(client: str) -> None:
    lb, (owner, second, third, last) = balancer(HOSTS), walk(HOSTS, client)
    assert served(lb, client, prefer=last) == (last, "pinned")
    assert served(lb, client) == (owner, "owner")
    lb.mark_down(owner, "reboot")
    assert served(lb, client) == (second, "next")
    lb.drain(second)
    assert served(lb, client) == (third, "next")
    assert served(lb, client, exclude=[third]) == (last, "next")
    assert served(lb, client, prefer=second) == (second, "pinned")
    for name in (owner, second, third):
        assert lb.pick(client, exclude=[third]).name == last, name


@pytest.mark.parametrize("client", CLIENTS[:20])
def test_an_excluded_owner_makes_the_reason_next(client: str) -> None:
    lb, (owner, second, *_) = balancer(HOSTS), walk(HOSTS, client)
    assert served(lb, client, exclude=[owner]) == (second, "next")
    assert served(lb, client, exclude=[second]) == (owner, "owner")
    lb.mark_down(second, "reboot")  # somebody is away, but not the owner
    assert served(lb, client) == (owner, "owner")


def test_a_full_owner_overflows_along_the_walk() -> None:
    lb = balancer(HOSTS, load_factor=1.5)
    client = CLIENTS[0]
    order = walk(HOSTS, client)
    with lb.lease(client) as first, lb.lease(client) as second:
        assert (first.host.name, first.reason) == (order[0], "owner")
        # ceil(1.5 * 2 / 4) = 1: the owner is full
        assert (second.host.name, second.reason) == (order[1], "overflow")
        assert lb.pick(client).name == order[0]


def test_without_a_client_id_the_fallback_chooses() -> None:
    lb = balancer(HOSTS, fallback=lambda view: view.hosts[-1])
    for nobody in (None, "", b""):
        assert lb.pick(nobody).name == "d"
        assert served(lb, nobody) == ("d", "fallback")
        assert served(lb, nobody, exclude=["d"]) == ("c", "fallback")
        assert served(lb, nobody, prefer="b") == ("b", "pinned")
        lb.mark_down("d", "x")
        assert served(lb, nobody) == ("c", "fallback")
        lb.mark_up("d")
    assert lb.pick().name == "d"


@pytest.mark.parametrize("client", [0, b"0", "0", -1, UUID(int=0), " ", "\ud83d", "é"])
def test_zero_is_a_client_and_so_is_everything_else_with_a_text(client: Any) -> None:
    def never(view: object) -> Host:
        raise AssertionError("the fallback was asked")

    lb = balancer(HOSTS, fallback=never)
    assert lb.pick(client).name == walk(HOSTS, client)[0]
    assert served(lb, client) == (walk(HOSTS, client)[0], "owner")


def test_str_bytes_and_int_of_one_text_are_one_client() -> None:
    lb = balancer(HOSTS)
    for number in range(100):
        assert lb.pick(number) == lb.pick(str(number)) == lb.pick(str(number).encode())


@pytest.mark.parametrize("client", [True, 1.5, ["x"], object(), bytearray(b"x"), 1 << 64])
def test_what_has_no_stable_text_is_not_a_client_id(client: Any) -> None:
    lb = balancer(HOSTS)
    for ask in (lb.pick, lb.explain):
        with pytest.raises(InvalidKeyError):
            ask(client)
        with pytest.raises(InvalidKeyError):
            ask(client, exclude=["a"])
    with pytest.raises(InvalidKeyError), lb.lease(client):
        pass
    assert sum(lb.load(host).in_flight for host in lb.hosts) == 0


# -- prefer ---------------------------------------------------------------------------------------


def test_prefer_holds_while_the_host_is_up_or_draining() -> None:
    clock = FakeClock()
    lb = balancer(HOSTS, clock=clock)
    client = client_of("a")
    lb.drain("b", deadline=30)
    assert served(lb, client, prefer="b") == ("b", "pinned")
    clock.advance(29.5)
    assert served(lb, client, prefer="b") == ("b", "pinned")
    clock.advance(0.5)
    assert served(lb, client, prefer="b") == ("a", "owner")
    lb.resume("b")
    assert served(lb, client, prefer="b") == ("b", "pinned")
    lb.mark_down("b", "reboot")
    assert served(lb, client, prefer="b") == ("a", "owner")


def test_a_draining_host_that_is_also_down_keeps_no_client() -> None:
    lb = balancer(HOSTS)
    lb.drain("b")
    lb.mark_down("b", "timeout", by="probe")
    assert lb.pick(client_of("a"), prefer="b").name == "a"


def test_prefer_that_is_excluded_or_unknown_is_not_a_preference() -> None:
    lb = balancer(HOSTS)
    client = client_of("a")
    assert served(lb, client, prefer="b", exclude=["b"]) == ("a", "owner")
    assert served(lb, client, prefer="zz") == ("a", "owner")
    assert served(lb, client, prefer="") == ("a", "owner")
    lb.unregister("b")
    assert lb.pick(client, prefer="b") == lb.pick(client)


def test_prefer_takes_a_host_by_its_name() -> None:
    lb = balancer([Host("a", address="10.0.0.1:80"), "b"])
    assert lb.pick("x", prefer=Host("a", address="elsewhere")).address == "10.0.0.1:80"


def test_prefer_serves_where_no_new_client_can_go() -> None:
    lb = balancer(["a", "b"])
    lb.drain("a")
    lb.mark_down("b", "reboot")
    assert lb.pick("x", prefer="a").name == "a"
    assert served(lb, None, prefer="a") == ("a", "pinned")
    with pytest.raises(NoHostsError):
        lb.pick("x")


# -- exclude --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [list, tuple, set, frozenset, iter, dict.fromkeys, lambda it: (n for n in it)]
)
def test_exclude_is_any_iterable(made: Callable[[list[str]], Iterable[str]]) -> None:
    lb = balancer(HOSTS)
    order = walk(HOSTS, "x")
    assert lb.pick("x", exclude=made(order[:2])).name == order[2]
    assert served(lb, "x", exclude=made(order[:3])) == (order[3], "next")
    assert lb.pick("x", exclude=made([])).name == order[0]
    with pytest.raises(NoHostsError):
        lb.pick("x", exclude=made(order))


def test_a_lease_remembers_what_a_generator_of_names_gave() -> None:
    lb = balancer(HOSTS)
    order = walk(HOSTS, "x")
    lease = lb.lease("x", exclude=(name for name in order[:1]))
    with lease:
        assert lease.host.name == order[1]


def test_exclude_takes_hosts_and_ignores_the_unknown() -> None:
    lb = balancer(HOSTS)
    order = walk(HOSTS, "x")
    assert lb.pick("x", exclude=[Host(order[0]), "zz"]).name == order[1]
    assert lb.pick("x", exclude=lb.hosts[:0]).name == order[0]


@pytest.mark.parametrize("bare", ["a", "abc", b"a", Host("a")])
def test_a_bare_name_to_exclude_is_an_error(bare: Any) -> None:
    lb = balancer(HOSTS)
    for ask in (lb.pick, lb.explain):
        with pytest.raises(ConfigError, match="did you mean"):
            ask("x", exclude=bare)
    with pytest.raises(ConfigError, match="did you mean"), lb.lease("x", exclude=bare):
        pass


def test_retries_go_down_the_walk() -> None:
    lb = balancer(HOSTS)
    for client in CLIENTS[:50]:
        tried: list[Host] = []
        for _ in HOSTS:
            tried.append(lb.pick(client, exclude=tried))
        assert [host.name for host in tried] == walk(HOSTS, client)


# -- nobody ---------------------------------------------------------------------------------------


def test_an_empty_pool_serves_no_client() -> None:
    lb = balancer([])
    asks: list[dict[str, Any]] = [{}, {"prefer": "a"}, {"exclude": ["a"]}]
    for client in (None, "", "x"):
        for options in asks:
            with pytest.raises(NoHostsError, match="the pool is empty") as error:
                lb.pick(client, **options)
            assert (error.value.reasons, error.value.total) == ((), 0)
            with pytest.raises(NoHostsError), lb.lease(client, **options):
                pass
    with pytest.raises(LookupError):
        lb.pick()


def test_one_host_serves_every_client() -> None:
    lb = balancer(["only"], load_factor=1.01)
    assert {lb.pick(client).name for client in (None, "", *CLIENTS)} == {"only"}
    with lb.lease("x"), lb.lease("x") as second, lb.lease("y") as third:
        assert second.host.name == third.host.name == "only"
    with pytest.raises(NoHostsError):
        lb.pick("x", exclude=["only"])


@pytest.mark.parametrize("client", [None, "", "x"])
def test_the_error_has_for_each_host_what_keeps_it_from_serving(client: str | None) -> None:
    clock = FakeClock()
    lb = balancer(["a", "b", "c", "d"], clock=clock)
    lb.mark_down("a", "timeout", by="probe")
    lb.drain("b", by="deploy")
    lb.drain("c", deadline=5)
    clock.advance(6)
    with pytest.raises(NoHostsError) as error:
        lb.pick(client, exclude=["d"])
    reasons = {host: (holder, why) for host, holder, why in error.value.reasons}
    assert reasons["a"] == ("probe", "timeout")
    assert reasons["b"] == ("deploy", "draining")
    assert reasons["c"] == ("operator", "drain deadline passed")
    assert "excluded" in reasons["d"][1]
    assert error.value.total == 4
    for text in ("4 hosts", "probe", "timeout", "deploy"):
        assert text in str(error.value)


def test_the_error_shows_at_most_five_hosts_and_counts_all() -> None:
    lb = balancer([f"web{i}" for i in range(9)])
    for host in lb.hosts:
        lb.mark_down(host, "flood", by="discovery")
    for client in ("x", None):
        with pytest.raises(NoHostsError, match=r"9 hosts.*and 4 more") as error:
            lb.pick(client)
        assert len(error.value.reasons) == 5
        assert error.value.total == 9
        assert {reason[1:] for reason in error.value.reasons} == {("discovery", "flood")}


def test_pick_leaves_no_trace_in_the_load() -> None:
    lb = balancer(HOSTS)
    before = [lb.load(host) for host in lb.hosts]
    for client in (None, *CLIENTS):
        lb.pick(client)
        lb.pick(client, prefer="a")
    assert [lb.load(host) for host in lb.hosts] == before
