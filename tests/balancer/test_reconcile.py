"""What stays when a machine or the list changes?  What was said of the name, not of the machine."""

from __future__ import annotations

from hashring.hosts import Host, HostsLike
from tests.balancer.rig import CLIENTS, balancer, face, heard, owners, ring


def expected(hosts: HostsLike) -> list[str]:
    return ring(hosts).lookup_many(CLIENTS)


def test_replace_moves_no_client_and_keeps_the_marks_of_the_name() -> None:
    lb = balancer([Host("a", 2, address="old:1", guid="g"), "b", "c"])
    before = owners(lb)
    placed = lb.fingerprint.split(".")[0]
    for holder in ("operator", "discovery", "probe", "outlier", "my-own"):
        lb.mark_down("a", f"said {holder}", by=holder)
    lb.drain("a", deadline=1e6)
    lb.replace("a", address="new:1")
    host = lb.hosts[0]
    assert (host.name, host.address, host.weight, host.guid) == ("a", "new:1", 2.0, "g")
    member = lb.snapshot.members["a"]
    assert {"operator", "discovery"} <= set(member.down) <= {"operator", "discovery", "my-own"}
    assert list(member.drains) == ["operator"]
    assert lb.fingerprint.split(".")[0] == placed
    for by in ("operator", "discovery", "my-own"):
        lb.mark_up("a", by=by)
    assert lb.state("a") == "draining"
    lb.resume("a")
    assert owners(lb) == before
    assert lb.pick("x", prefer="a").address == "new:1"


def test_replace_brings_a_host_back_that_only_probes_held_down() -> None:
    lb = balancer(["a", "b"])
    lb.mark_down("a", "timeout", by="probe")
    lb.mark_down("a", "5xx", by="outlier")
    events = heard(lb)
    lb.replace("a", address="new:1")
    assert lb.state("a") == "up"
    assert [(event.kind, event.host.address) for event in events] == [("replace", "new:1")]


def test_a_late_release_touches_the_old_machines_load() -> None:
    lb = balancer(["a"])
    late = lb.lease("x").acquire()
    lb.replace("a", address="new:1")
    assert lb.load("a").in_flight == 0
    with lb.lease("x"):
        assert lb.load("a").in_flight == 1
        late.failed("too late")
        late.release()
        assert (lb.load("a").in_flight, lb.load("a").failed) == (1, 0)
    assert (lb.load("a").in_flight, lb.load("a").ok) == (0, 1)


def test_a_host_registered_again_has_a_new_load() -> None:
    lb = balancer(["a", "b"], load_factor=1.5)
    late = lb.lease("x", prefer="a").acquire()
    lb.unregister("a")
    lb.register("a")
    assert lb.load("a").in_flight == 0
    late.ok()
    late.release()
    assert (lb.load("a").in_flight, lb.load("a").ok) == (0, 0)


def test_the_address_it_has_changes_nothing() -> None:
    lb = balancer([Host("a", address="x:1")])
    lb.mark_down("a", "timeout", by="probe")
    before, events = face(lb), heard(lb)
    lb.replace("a", address="x:1")
    assert face(lb) == before
    assert events == []


def test_set_hosts_is_one_snapshot_that_keeps_marks_and_load() -> None:
    lb = balancer({"a": 1, "b": 1, "c": 1, "gone": 1})
    lb.mark_down("a", "timeout", by="probe")
    lb.drain("b")
    lease = lb.lease(None, prefer="c").acquire()
    before, events = lb.snapshot, heard(lb)
    lb.set_hosts({"new": 1, "c": 2, "b": 1, "a": 1})
    assert lb.snapshot.epoch == before.epoch + 1
    assert {event.epoch for event in events} == {before.epoch + 1}
    assert {(event.kind, event.host.name) for event in events} == {
        ("register", "new"),
        ("set_weight", "c"),
        ("unregister", "gone"),
    }
    assert (lb.state("a"), lb.state("b"), lb.state("new")) == ("down", "draining", "up")
    assert dict(lb.snapshot.members["a"].down) == {"probe": "timeout"}
    assert lb.load("c").in_flight == 1
    lease.release()
    assert lb.load("c").in_flight == 0
    assert owners(lb) == expected({"c": 2, "new": 1})
    assert [host.name for host in before.hosts] == ["a", "b", "c", "gone"]  # as it was


def test_a_new_address_in_set_hosts_is_a_replace() -> None:
    lb = balancer([Host("a", address="old:1"), "b"])
    lb.mark_down("a", "timeout", by="probe")
    lb.mark_down("a", "reboot")
    lb.drain("a")
    lease = lb.lease(None, prefer="b").acquire()
    lb.set_hosts([Host("a", address="new:1"), Host("b", address="new:2")])
    assert dict(lb.snapshot.members["a"].down) == {"operator": "reboot"}
    assert list(lb.snapshot.members["a"].drains) == ["operator"]
    assert lb.load("b").in_flight == 0
    lease.release()
    assert lb.load("b").in_flight == 0


def test_set_hosts_can_empty_a_pool_and_fill_it_again() -> None:
    lb = balancer(["a", "b"])
    lb.set_hosts([])
    assert (len(lb), lb.snapshot.table, lb.snapshot.epoch) == (0, None, 2)
    lb.set_hosts(["b", "c"])
    assert owners(lb) == expected(["b", "c"])


def test_a_new_meta_is_a_change_that_moves_no_client() -> None:
    lb = balancer(["a", "b"])
    before, fingerprint, events = owners(lb), lb.fingerprint, heard(lb)
    lb.set_hosts([Host("a", meta={"zone": "z1"}), "b"])
    assert lb.hosts[0].meta == {"zone": "z1"}
    assert lb.pick("x", prefer="a").meta == {"zone": "z1"}
    assert (owners(lb), lb.fingerprint) == (before, fingerprint)
    assert [event.host.name for event in events] == ["a"]
    assert events[0].moved == 0.0
