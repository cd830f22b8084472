from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import threading
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from hashring import ConfigError, DiscoveryError, HashringError, Host, LoadBalancer
from hashring.discovery import Backoff, Discovery, Membership, Notice, gather
from hashring.discovery._membership import Entry
from hashring.discovery.static import StaticSource
from tests.waiting import wait_in_loop

WITHIN = 10.0
SWIFT: dict[str, Any] = {"debounce": 0.0, "backoff": Backoff(0.001, 0.001, rng=Random(1))}


class Said:
    """A source that says what the test puts in: memberships, or errors that it raises."""

    def __init__(self, *said: Membership | Exception) -> None:
        self.queue: asyncio.Queue[Membership | Exception] = asyncio.Queue()
        self.watches = 0
        for each in said:
            self.queue.put_nowait(each)

    async def watch(self) -> AsyncIterator[Membership]:
        self.watches += 1
        while True:
            said = await self.queue.get()
            if isinstance(said, Exception):
                raise said
            yield said

    def __str__(self) -> str:
        return "said"


def of(*names: str, drain: str = "") -> Membership:
    return gather(Entry(name, drain=name == drain) for name in names)


def names(lb: LoadBalancer) -> list[str]:
    return [host.name for host in lb.hosts]


def test_one_change_is_one_snapshot_whatever_is_in_it() -> None:
    lb = LoadBalancer(["a", "b", "c"])
    lb.mark_down("b", "reboot")
    epoch = lb.snapshot.epoch

    async def check() -> None:
        new = gather([Entry("b", "10.0.0.2:80", 3), Entry("c", weight=0), Entry("d")])
        async with Discovery(Said(new), lb, **SWIFT) as discovery:
            assert lb.snapshot.epoch == epoch + 1
            assert discovery.membership is new
            assert names(lb) == ["b", "c", "d"]
            assert lb.snapshot.members["b"].down == {"operator": "reboot"}
            assert lb.snapshot.members["c"].drains == {"discovery": None}

    asyncio.run(check())


def test_weight_0_drains_and_a_weight_resumes_as_discovery_alone() -> None:
    lb = LoadBalancer(["a", "b"])
    with pytest.warns(UserWarning, match="moves all its clients now"):
        lb.drain("a", by="a-tool")
    source = Said()

    async def check() -> None:
        async with Discovery(source, lb, wait=0.0, **SWIFT) as discovery:
            source.queue.put_nowait(of("a", "b", drain="a"))
            await wait_in_loop(lambda: discovery.stats["changed"] == 1)
            assert set(lb.snapshot.members["a"].drains) == {"a-tool", "discovery"}
            source.queue.put_nowait(of("a", "b"))
            await wait_in_loop(lambda: discovery.stats["changed"] == 2)
            assert set(lb.snapshot.members["a"].drains) == {"a-tool"}

    asyncio.run(check())


def test_a_change_over_the_capacity_is_refused_whole() -> None:
    lb = LoadBalancer(capacity=2)
    source, notices = Said(of("a", "b")), list[Notice]()

    async def check() -> None:
        async with Discovery(source, lb, **SWIFT) as discovery:
            discovery.subscribe(notices.append)
            before = lb.snapshot
            source.queue.put_nowait(of("b", "c", "d"))
            await wait_in_loop(lambda: discovery.stats["refused"])
            source.queue.put_nowait(of("b", "c", "e"))
            await wait_in_loop(lambda: discovery.stats["memberships"] == 3)
            await asyncio.sleep(0.05)
            assert lb.snapshot is before
            assert [notice.kind for notice in notices] == ["refused"]
            assert "at most 2 hosts" in notices[0].text
            source.queue.put_nowait(of("b", "c"))
            await wait_in_loop(lambda: names(lb) == ["b", "c"])
            source.queue.put_nowait(of("b", "c", "d"))
            await wait_in_loop(lambda: discovery.stats["refused"] == 2)

    asyncio.run(check())


def test_a_source_that_is_down_changes_nothing() -> None:
    lb = LoadBalancer()
    source, notices = Said(of("a", "b")), list[Notice]()

    async def check() -> None:
        async with Discovery(source, lb, **SWIFT) as discovery:
            discovery.subscribe(notices.append)
            for _ in range(5):
                source.queue.put_nowait(DiscoveryError("refused"))
            await wait_in_loop(lambda: source.watches == 6)
            assert discovery.last_error == "refused"
            assert names(lb) == ["a", "b"]
            source.queue.put_nowait(of("a", "b"))
            await wait_in_loop(lambda: discovery.last_error is None)
            source.queue.put_nowait(of("a", "b", "c"))
            await wait_in_loop(lambda: discovery.stats["changed"] == 2)
            assert names(lb) == ["a", "b", "c"]

    asyncio.run(check())
    assert [notice.kind for notice in notices] == ["lost", "back", "changed"]


def test_a_fault_of_the_source_is_logged_and_not_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lb = LoadBalancer()

    async def check() -> None:
        source = Said(ZeroDivisionError("oops"), of("a"))
        async with Discovery(source, lb, **SWIFT):
            await wait_in_loop(lambda: names(lb) == ["a"])

    with caplog.at_level(logging.ERROR, "hashring"):
        asyncio.run(check())
    assert "ZeroDivisionError: oops" in caplog.text


def test_an_empty_answer_is_held_and_then_accepted() -> None:
    lb = LoadBalancer()
    source, notices = Said(of("a", "b")), list[Notice]()

    async def check() -> None:
        async with Discovery(source, lb, hold=0.2, **SWIFT) as discovery:
            discovery.subscribe(notices.append)
            source.queue.put_nowait(of())
            await wait_in_loop(lambda: discovery.held is not None)
            assert names(lb) == ["a", "b"]
            await wait_in_loop(lambda: discovery.stats["changed"] == 2)
            assert not lb.hosts

    asyncio.run(check())
    assert [notice.kind for notice in notices] == ["held", "changed"]


def test_an_empty_answer_of_a_lost_source_is_not_accepted() -> None:
    lb = LoadBalancer()
    source = Said(of("a", "b"))

    async def check() -> None:
        async with Discovery(source, lb, hold=0.05, **SWIFT) as discovery:
            source.queue.put_nowait(of())
            source.queue.put_nowait(DiscoveryError("gone"))
            await wait_in_loop(lambda: discovery.last_error is not None)
            await asyncio.sleep(0.2)
            assert names(lb) == ["a", "b"]
            source.queue.put_nowait(of())
            await wait_in_loop(lambda: not lb.hosts)

    asyncio.run(check())


def test_after_a_refusal_an_empty_answer_is_held_as_before() -> None:
    lb = LoadBalancer(["a", "b", "c"], capacity=3)
    source = Said(gather([Entry("a", weight=1e300)]))

    async def check() -> None:
        async with Discovery(source, lb, hold=0.05, **SWIFT) as discovery:
            await wait_in_loop(lambda: discovery.stats["refused"])
            discovery._reconciler.changes.hold = 1000.0
            source.queue.put_nowait(of())
            await wait_in_loop(lambda: discovery.stats["memberships"] == 2)
            await asyncio.sleep(0.05)
            assert discovery.held is not None
            assert names(lb) == ["a", "b", "c"]

    asyncio.run(check())


def test_hosts_that_were_there_before_count_for_the_hold_back() -> None:
    lb = LoadBalancer(["a", "b", "c"])

    async def check() -> None:
        async with Discovery(Said(of()), lb, hold=1000.0, **SWIFT) as discovery:
            await wait_in_loop(lambda: discovery.held is not None)
            assert len(lb) == 3

    asyncio.run(check())


def test_a_listener_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    lb, source, heard = LoadBalancer(), Said(of("a")), list[str]()

    async def check() -> None:
        async with Discovery(source, lb, **SWIFT) as discovery:
            discovery.subscribe(lambda _: 1 / 0)
            stop = discovery.subscribe(lambda notice: heard.append(str(notice)))
            source.queue.put_nowait(of("a", "b"))
            await wait_in_loop(lambda: heard)
            stop()
            stop()
            source.queue.put_nowait(of("a", "b", "c"))
            await wait_in_loop(lambda: len(lb) == 3)

    with caplog.at_level(logging.ERROR, "hashring"):
        asyncio.run(check())
    assert heard == ["changed said: 2 hosts"]
    assert "a subscriber failed" in caplog.text


def test_entering_waits_for_the_first_answer_but_not_for_ever() -> None:
    lb = LoadBalancer()

    async def check() -> None:
        async with Discovery(Said(), lb, wait=0.01) as discovery:
            assert discovery.membership is None
        async with Discovery(Said(of("a")), lb, wait=1000.0):
            assert names(lb) == ["a"]

    asyncio.run(check())


def test_a_synchronous_program_has_it_in_a_thread_that_ends() -> None:
    lb, threads = LoadBalancer(), threading.active_count()
    with Discovery(StaticSource(["a", "b"]), lb) as discovery:
        assert names(lb) == ["a", "b"]
        assert threading.active_count() > threads
    assert threading.active_count() == threads
    assert discovery.membership is not None
    assert names(lb) == ["a", "b"]
    with pytest.raises(HashringError, match="entered before"), discovery:
        pass


def test_nothing_is_left_when_entering_is_cancelled() -> None:
    async def check() -> None:
        async def enter() -> None:
            async with Discovery(Said(), LoadBalancer(), wait=1000.0):
                pass

        entering = asyncio.create_task(enter())
        await asyncio.sleep(0.01)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())


def test_an_invalid_source_or_time_is_refused() -> None:
    lb = LoadBalancer()
    for wrong in ("static:a", None, ["a"]):
        with pytest.raises(ConfigError, match="watch"):
            Discovery(wrong, lb)  # type: ignore[arg-type]  # that is the test
    for option in ("debounce", "hold", "wait"):
        with pytest.raises(ConfigError, match=option):
            Discovery(StaticSource([]), lb, **dict[str, Any]({option: -1.0}))


def test_flaps_leave_nothing_behind() -> None:
    lb = LoadBalancer(placement=None)
    source = Said(of("a", "b"))

    async def check() -> None:
        async with Discovery(source, lb, **SWIFT) as discovery:
            for flap in range(300):
                source.queue.put_nowait(of("a", *(("b",) if flap % 2 else ())))
                told = flap + 2
                await wait_in_loop(lambda told=told: discovery.stats["memberships"] == told)  # type: ignore[misc]  # its default
            assert len(asyncio.all_tasks()) == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Notice)]


def _in_child(lb: LoadBalancer, discovery: Discovery, answers: Any) -> None:
    answers.put((discovery.forked, [host.name for host in lb.hosts]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:a forked child inherits no Discovery:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_keeps_the_pool_and_nothing_else() -> None:
    lb, fork = LoadBalancer(), multiprocessing.get_context("fork")
    with Discovery(StaticSource(["a"]), lb) as discovery:
        answers = fork.Queue()
        child = fork.Process(target=_in_child, args=(lb, discovery, answers))
        child.start()
        assert answers.get(timeout=WITHIN) == (True, ["a"])
        child.join()


def test_a_new_address_under_an_old_name_moves_no_key() -> None:
    lb = LoadBalancer()
    source = Said(gather([Entry("a", "10.0.0.1:80"), Entry("b", "10.0.0.2:80")]))
    clients = [f"client-{number}" for number in range(200)]

    async def check() -> None:
        async with Discovery(source, lb, **SWIFT):
            before = [lb.pick(client).name for client in clients]
            source.queue.put_nowait(gather([Entry("a", "10.9.9.9:80"), Entry("b", "10.0.0.2:80")]))
            await wait_in_loop(lambda: lb.hosts[0].same(Host("a", address="10.9.9.9:80")))
            assert [lb.pick(client).name for client in clients] == before

    asyncio.run(check())
