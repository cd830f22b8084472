from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hashring import Host
from hashring.discovery import ChangeFilter, Membership
from hashring.discovery.change_filter import Size


def of(count: int, draining: int = 0) -> Membership:
    hosts = tuple(Host(f"web{number}") for number in range(count))
    return Membership(hosts, frozenset(host.name for host in hosts[:draining]))


def size(membership: Membership) -> Size:
    return Size(len(membership.hosts), membership.usable)


def steps(changes: ChangeFilter, now: float) -> list[str]:
    """What the changes does now; what it takes becomes the pool."""
    done = []
    while (step := changes.step(now)).act != "nothing":
        assert step.membership is not None
        done.append(f"{step.act} {len(step.membership.hosts)}")
        if step.act == "take":
            changes.record_accepted(size(step.membership), now)
    return done


def after(count: int, *, debounce: float = 0.0, hold: float = 30.0) -> ChangeFilter:
    changes = ChangeFilter(debounce, hold)
    changes.offer(of(count), 0.0)
    assert steps(changes, 0.0) == [f"take {count}"]
    return changes


def test_the_first_answer_is_accepted_even_if_empty() -> None:
    changes = ChangeFilter(debounce=1.0)
    changes.offer(of(0), 5.0)
    assert changes.due() == 5.0
    assert steps(changes, 5.0) == ["take 0"]


def test_a_burst_is_one_change_once_it_is_quiet() -> None:
    changes = after(4, debounce=1.0)
    for now in (10.0, 10.9, 11.8):
        changes.offer(of(int(now)), now)
        assert steps(changes, now) == []
    assert changes.due() == 12.8
    assert steps(changes, 12.8) == ["take 11"]
    assert changes.due() is None


def test_a_source_that_is_never_quiet_is_heard_all_the_same() -> None:
    changes = after(4, debounce=1.0)
    heard = []
    for tenth in range(500):
        changes.offer(of(4 + tenth), 100.0 + tenth / 10)
        heard += steps(changes, 100.0 + tenth / 10)
    assert len(heard) == 4  # in 50 s, each ten quiet times and a step apart


def test_half_is_accepted_and_less_is_held_for_the_grace_time() -> None:
    changes = after(4)
    changes.offer(of(2), 100.0)
    assert steps(changes, 100.0) == ["take 2"]
    changes = after(4)
    changes.offer(of(1), 100.0)
    assert steps(changes, 100.0) == ["held 1"]
    assert changes.due() == 130.0
    assert steps(changes, 129.9) == []
    assert steps(changes, 130.0) == ["take 1"]
    assert changes.held is None


def test_the_only_host_that_goes_is_held() -> None:
    changes = after(1)
    changes.offer(of(0), 100.0)
    assert steps(changes, 100.0) == ["held 0"]


def test_a_better_answer_releases_what_was_held() -> None:
    changes = after(4)
    changes.offer(of(0), 100.0)
    assert steps(changes, 100.0) == ["held 0"]
    changes.offer(of(4), 110.0)
    assert steps(changes, 110.0) == ["released 4", "take 4"]
    assert changes.due() is None
    assert steps(changes, 1000.0) == []


def test_another_small_answer_does_not_restart_the_hold() -> None:
    changes = after(10)
    changes.offer(of(0), 100.0)
    assert steps(changes, 100.0) == ["held 0"]
    for now in (110.0, 120.0, 129.0):
        changes.offer(of(int(now) % 3), now)
        assert steps(changes, now) == []
    assert changes.due() == 130.0
    assert steps(changes, 130.0) == ["take 0"]


def test_hosts_that_all_drain_are_as_good_as_gone() -> None:
    changes = after(4)
    changes.offer(of(4, draining=3), 100.0)
    assert steps(changes, 100.0) == ["held 4"]


def test_leases_that_expire_one_after_the_other_are_held_too() -> None:
    changes = after(8)
    done = []
    for left in range(7, -1, -1):
        changes.offer(of(left), 100.0 + 7 - left)
        done += steps(changes, 100.0 + 7 - left)
    assert done == ["take 7", "take 6", "take 5", "take 4", "held 3"]
    assert steps(changes, 135.0) == ["take 0"]  # it has insisted


def test_a_repeated_answer_is_accepted_from_then_on() -> None:
    changes = after(10)
    changes.offer(of(2), 100.0)
    assert steps(changes, 100.0) == ["held 2"]
    assert steps(changes, 130.0) == ["take 2"]
    changes.offer(of(3), 131.0)
    assert steps(changes, 131.0) == ["take 3"]


def test_flaps_are_not_remembered_one_by_one() -> None:
    changes = after(10)
    for flap in range(1000):
        changes.offer(of(9 + flap % 2), 100.0 + flap / 1000)
        steps(changes, 100.0 + flap / 1000)
    assert len(changes._past) <= 2


def test_a_pool_that_shrinks_slowly_is_never_held() -> None:
    changes = after(64, hold=30.0)
    for round_, count in enumerate((32, 16, 8, 4, 2, 1)):
        now = 100.0 + 31 * round_
        changes.offer(of(count), now)
        assert steps(changes, now) == [f"take {count}"]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.floats(0, 40)), max_size=30),
    st.sampled_from([0.0, 0.5]),
)
def test_what_is_offered_last_is_the_pool_in_the_end(
    offers: list[tuple[int, int, float]], debounce: float
) -> None:
    """Whatever came, in which times: it is taken, at the latest when the grace time is over."""
    changes, now = ChangeFilter(debounce, hold=30.0), 0.0
    taken: list[Membership] = []
    last = None

    def work() -> None:
        while (step := changes.step(now)).act != "nothing":
            if step.act == "take":
                assert step.membership is not None
                taken.append(step.membership)
                changes.record_accepted(size(step.membership), now)

    for count, draining, wait in offers:
        last = of(count, min(draining, count))
        changes.offer(last, now)
        work()
        while (due := changes.due()) is not None and due <= now + wait:
            now = max(now, due)
            work()
            wait = 0.0
        now += wait
    while (due := changes.due()) is not None:
        now = max(now, due)
        work()
    assert (taken[-1] if taken else None) is last


def test_a_source_that_is_lost_repeats_nothing_until_it_is_back() -> None:
    changes = after(4)
    changes.offer(of(0), 1.0)
    assert steps(changes, 1.0) == ["held 0"]
    changes.lost(11.0)  # ten seconds are over
    changes.lost(12.0)  # and asked once more
    assert changes.due() is None
    assert steps(changes, 100.0) == []
    changes.offer(of(1), 200.0)
    assert steps(changes, 200.0) == []
    assert changes.due() == 220.0
    assert steps(changes, 220.0) == ["take 1"]
