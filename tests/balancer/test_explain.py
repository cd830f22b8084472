"""Does ``explain`` say what ``pick`` does, and who stood before?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import NoHostsError
from hashring.keys import position
from hashring.testing import FakeClock
from tests.balancer.rig import CLIENTS, balancer, walk

HOSTS = ("a", "b", "c", "d")


def test_it_names_every_skipped_host_and_its_holder_and_why() -> None:
    lb = balancer(HOSTS)
    one, two, three, four = walk(HOSTS, "x")
    lb.mark_down(one, "timeout", by="probe")
    lb.drain(two, by="deploy")
    before = [lb.load(host) for host in lb.hosts]
    said = lb.explain("x", exclude=[three])
    assert (said.position, said.client_id, said.epoch) == (position("x"), "x", 3)
    assert said.owner is not None
    assert said.owner.name == one
    assert said.host is not None
    assert (said.host.name, said.reason) == (four, "next")
    skipped = [(host.name, holder, why) for host, holder, why in said.skipped]
    assert skipped[:2] == [(one, "probe", "timeout"), (two, "deploy", "draining")]
    assert skipped[2][0] == three
    assert "excluded" in skipped[2][2]
    for text in (one, "probe", "timeout", "deploy", four):
        assert text in str(said)
    assert [lb.load(host) for host in lb.hosts] == before


def test_a_passed_deadline_is_reported_as_passed() -> None:
    clock = FakeClock()
    lb = balancer(HOSTS, clock=clock)
    owner = walk(HOSTS, "x")[0]
    lb.drain(owner, deadline=5)
    clock.advance(5)
    assert lb.explain("x").skipped[0][2] == "drain deadline passed"
    assert lb.explain("x", prefer=owner).reason == "next"


def test_explain_reports_no_host_and_the_fallback() -> None:
    lb = balancer(HOSTS)
    for nobody in (None, "", b""):
        said = lb.explain(nobody)
        assert (said.host, said.reason, said.owner, said.position) == (None, "fallback", None, None)
    said = lb.explain("x", exclude=HOSTS)
    assert (said.host, said.reason, len(said.skipped)) == (None, None, 4)
    said = balancer([]).explain("x")
    assert (said.host, said.reason, said.owner) == (None, None, None)
    plain = balancer(HOSTS, placement=None).explain("x")
    assert (plain.host, plain.reason, plain.position) == (None, "fallback", None)


@given(
    down=st.sets(st.sampled_from(HOSTS)),
    draining=st.sets(st.sampled_from(HOSTS)),
    exclude=st.sets(st.sampled_from(HOSTS)),
    prefer=st.sampled_from([None, *HOSTS, "zz"]),
    client=st.sampled_from([None, "", *CLIENTS[:9]]),
    placement=st.sampled_from(["ring", "modulo", None]),
)
def test_it_agrees_with_pick_and_lease(
    down: set[str],
    draining: set[str],
    exclude: set[str],
    prefer: str | None,
    client: str | None,
    placement: str | None,
) -> None:
    options = {} if placement == "ring" else {"placement": placement}
    lb = balancer(HOSTS, **options)
    for name in down:
        lb.mark_down(name, "x")
    for name in draining:
        lb.drain(name)
    said = lb.explain(client, prefer=prefer, exclude=exclude)
    try:
        with lb.lease(client, prefer=prefer, exclude=exclude) as lease:
            host, reason = lease.host, lease.reason
        assert said.reason == reason
        if said.host is not None:
            assert said.host == host == lb.pick(client, prefer=prefer, exclude=exclude)
        else:
            assert reason == "fallback"
    except NoHostsError:
        assert (said.host, said.reason) == (None, None)
