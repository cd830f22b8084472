"""Who holds a host down, and who drains it?  Each its own; clients come home when nobody does."""

from __future__ import annotations

import warnings
from itertools import permutations

import pytest

from hashring.balancer import LoadBalancer
from hashring.errors import NoHostsError
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.testing import FakeClock
from tests.balancer.rig import CLIENTS, balancer, client_of, heard, ring

HOLDERS = ("operator", "probe", "discovery")


@pytest.mark.parametrize("order", list(permutations(HOLDERS)))
def test_a_host_is_down_while_anyone_holds_it_down(order: tuple[str, ...]) -> None:
    lb = balancer()
    client = client_of("a")
    for holder in HOLDERS:
        lb.mark_down("a", f"said {holder}", by=holder)
    for holder in order:
        assert lb.state("a") == "down"
        assert lb.pick(client).name != "a"
        lb.mark_up("a", by="outlier")  # holds nothing, so it clears nothing
        lb.mark_up("a", by=holder)
        assert holder not in lb.snapshot.members["a"].down
    assert lb.state("a") == "up"
    assert lb.pick(client).name == "a"


def test_a_star_clears_every_mark_and_no_drain() -> None:
    lb = balancer()
    for holder in HOLDERS:
        lb.mark_down("a", "x", by=holder)
        lb.drain("a", by=holder)
    lb.mark_down("b", "x")
    before = lb.snapshot.epoch
    lb.mark_up("a", by="*")
    assert lb.snapshot.epoch == before + 1
    assert (lb.state("a"), lb.state("b")) == ("draining", "down")
    lb.resume("a", by="*")
    assert lb.snapshot.epoch == before + 2
    assert lb.state("a") == "up"


def test_each_ends_its_own_drain_only() -> None:
    lb = balancer()
    lb.drain("a")
    lb.drain("a", by="discovery")
    lb.resume("a")
    lb.resume("a", by="probe")
    assert lb.state("a") == "draining"
    lb.mark_up("a", by="discovery")
    assert lb.state("a") == "draining"
    lb.resume("a", by="discovery")
    assert lb.state("a") == "up"


def test_the_operators_mark_up_leaves_the_marks_of_the_probe() -> None:
    lb = balancer()
    lb.mark_down("a", "timeout", by="probe")
    lb.mark_up("a")
    assert lb.state("a") == "down"
    lb.mark_up(Host("a"), by="probe")
    assert lb.state("a") == "up"


def test_another_reason_is_a_change() -> None:
    lb = balancer()
    lb.mark_down("a", "reboot")
    events = heard(lb)
    lb.mark_down("a", "disk")
    assert [(event.kind, event.holder, event.cause) for event in events] == [
        ("mark_down", "operator", "disk")
    ]
    with pytest.raises(NoHostsError, match="operator: disk"):
        lb.pick("x", exclude=["b", "c", "d"])


def test_down_moves_that_hosts_clients_only_and_they_come_home() -> None:
    lb = balancer()
    before = {client: lb.pick(client).name for client in CLIENTS}
    lb.mark_down("b", "reboot")
    for client, home in before.items():
        assert lb.pick(client).name == (
            home if home != "b" else ring(["a", "c", "d"]).lookup(client)
        )
    lb.mark_up("b")
    assert {client: lb.pick(client).name for client in CLIENTS} == before


def test_marks_in_any_order_give_one_fingerprint() -> None:
    seen = set()
    for order in permutations("abc"):
        lb = balancer()
        for name in order:
            lb.mark_down(name, "x")
        lb.mark_up("b")
        seen.add((lb.fingerprint, *(lb.pick(client).name for client in CLIENTS)))
    assert len(seen) == 1


# -- drain ----------------------------------------------------------------------------------------


def test_a_drained_host_keeps_known_clients_and_takes_no_new() -> None:
    lb = balancer()
    client = client_of("a")
    lb.drain("a")
    assert lb.state("a") == "draining"
    assert lb.pick(client).name == ring(["b", "c", "d"]).lookup(client)
    assert lb.pick(client, prefer="a").name == "a"
    assert {lb.pick().name for _ in range(40)} == {"b", "c", "d"}
    lb.resume("a")
    assert lb.pick(client).name == "a"


def test_a_host_is_down_after_its_drain_deadline() -> None:
    clock = FakeClock(77.0)
    lb = balancer(clock=clock)
    report = lb.drain("a", deadline=10)
    assert report.deadline == 10.0
    epoch, draining = lb.snapshot.epoch, lb.fingerprint
    clock.advance(9)
    assert (lb.state("a"), lb.fingerprint) == ("draining", draining)
    clock.advance(1)
    assert lb.state("a") == "down"
    assert lb.fingerprint != draining
    assert lb.snapshot.epoch == epoch  # time passes without a snapshot
    assert lb.snapshot.states(clock())["a"] == "down"
    assert lb.pick("x", prefer="a").name != "a"


def test_a_later_drain_of_one_holder_replaces_its_deadline() -> None:
    clock = FakeClock()
    lb = balancer(clock=clock)
    lb.drain("a", deadline=5)
    lb.drain("a", deadline=50)
    clock.advance(6)
    assert lb.state("a") == "draining"
    lb.drain("a")
    clock.advance(1000)
    assert lb.state("a") == "draining"
    lb.drain("a", deadline=0)
    assert lb.state("a") == "down"


def test_the_first_deadline_of_several_holders_counts() -> None:
    clock = FakeClock()
    lb = balancer(clock=clock)
    lb.drain("a")
    lb.drain("a", deadline=5, by="discovery")
    clock.advance(5)
    assert lb.state("a") == "down"
    lb.resume("a", by="discovery")
    assert lb.state("a") == "draining"


def test_the_report_has_what_moves() -> None:
    lb = balancer()
    report = lb.drain("b", deadline=30)
    assert (report.host.name, report.keeps_sessions, report.deadline) == ("b", True, 30.0)
    assert report.moved == ring("abcd"[i] for i in range(4)).shares()["b"]
    assert "known clients stay" in str(report)


def test_without_pins_a_drain_warns_once_a_balancer() -> None:
    for _ in range(2):  # each balancer for itself
        lb = LoadBalancer(["a", "b", "c"], placement=HashRing(vnodes=16))
        with pytest.warns(UserWarning, match="moves all its clients now") as caught:
            report = lb.drain("a")
        assert len(caught) == 1
        assert caught[0].filename == __file__  # it points at who called
        assert (report.keeps_sessions, report.deadline) == (False, None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not lb.drain("b").keeps_sessions
            lb.keeps_sessions(True)
            assert lb.drain("c").keeps_sessions
            lb.keeps_sessions(False)
            assert not lb.drain("c", deadline=1).keeps_sessions


def test_a_measured_movement_stays_measured_when_read() -> None:
    report = balancer(placement="modulo").drain("a")
    assert not report.movement.exact
    assert 0.5 < report.moved < 1.0
    assert not report.movement.exact
