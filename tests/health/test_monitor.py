"""Does the monitor keep requests from real hosts that die, freeze, sicken and come back?"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import threading
import time
import warnings
from collections.abc import Callable

import pytest

from hashring import LoadBalancer, NoHostsError
from hashring.errors import HashringError
from hashring.health import (
    HealthChange,
    HealthMonitor,
    HttpProbe,
    OutlierRules,
    ProbeRules,
    TcpProbe,
)
from hashring.hosts import Host
from tests.health.hosts import PATIENCE, Served, refused_port, serving
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

# what is tested is the order of events: a laden machine must not miss three of these in a row
QUICK = ProbeRules(interval=0.5, timeout=0.5, fast=0.05)
NO_PROBES = ProbeRules(interval=3600, timeout=3600, fast=3600)


async def well(host: Host) -> bool:
    return True


def pool(hosts: list[Served]) -> LoadBalancer:
    return LoadBalancer([served.host for served in hosts])


def down(lb: LoadBalancer) -> dict[str, list[str]]:
    """Who takes no new clients, because of whom: an ejected host is drained."""
    members = lb.snapshot.members.items()
    return {n: sorted({*m.down, *m.drains}) for n, m in members if m.down or m.drains}


def until_down(lb: LoadBalancer, **wanted: list[str]) -> None:
    wait_until(lambda: down(lb) == wanted, lambda: f"{wanted}, but {down(lb)}")


def hurt_by_kill(host: Served) -> None:
    host.kill()


def hurt_by_stop(host: Served) -> None:
    host.freeze()


def hurt_by_503(host: Served) -> None:
    host.behave(503)


def hurt_by_slowness(host: Served) -> None:
    host.behave(delay=PATIENCE)


@pytest.mark.parametrize(
    ("hurt", "why"),
    [
        (hurt_by_kill, "ConnectionRefusedError"),
        (hurt_by_stop, "no answer within 0.5 s"),
        (hurt_by_503, "answered with status 503"),
        (hurt_by_slowness, "no answer within 0.5 s"),
    ],
)
def test_a_host_that_is_hurt_is_out_and_the_others_serve(
    hurt: Callable[[Served], None], why: str
) -> None:
    with serving(3) as hosts:
        lb = pool(hosts)
        seen: list[HealthChange] = []
        states: list[str] = []
        with HealthMonitor(lb, HttpProbe(), QUICK) as monitor:
            monitor.subscribe(lambda change: states.append(lb.state("web2")))
            monitor.subscribe(seen.append)
            wait_until(lambda: monitor.stats["probes"] >= 6, "the first probes")
            assert down(lb) == {}
            hurt(hosts[1])
            until_down(lb, web2=["probe"])
            wait_until(lambda: seen, "the change")
            assert why in lb.snapshot.members["web2"].down["probe"]
            assert why in monitor.health("web2").why
            assert {lb.pick(f"s{n}").name for n in range(100)} == {"web1", "web3"}
            assert [(change.kind, change.host) for change in seen] == [("down", "web2")]
            assert states == ["down"], "told once the pool has it"
            assert monitor.stats["went_down"] == 1
        assert down(lb) == {}, "nobody watches any more, so nobody is held"


@pytest.mark.parametrize("sickness", ["freeze", "503"])
def test_a_host_that_is_well_again_is_back(sickness: str) -> None:
    with serving(2) as hosts:
        lb = pool(hosts)
        with HealthMonitor(lb, HttpProbe(), QUICK) as monitor:
            hosts[0].freeze() if sickness == "freeze" else hosts[0].behave(503)
            until_down(lb, web1=["probe"])
            hosts[0].thaw() if sickness == "freeze" else hosts[0].behave(200)
            until_down(lb)
            assert monitor.stats["came_up"] == 1


@pytest.mark.parametrize("hurt", [hurt_by_kill, hurt_by_stop])
def test_a_dead_host_is_out_in_time(hurt: Callable[[Served], None]) -> None:
    rules = ProbeRules(interval=1.0, timeout=0.5, fast=0.1)
    with serving(2) as hosts:
        lb = pool(hosts)
        with HealthMonitor(lb, HttpProbe(), rules) as monitor:
            wait_until(lambda: monitor.stats["probes"] >= 2, "the first probes")
            hurt(hosts[0])
            until_down(lb, web1=["probe"])


def test_a_refused_port_is_down_by_tcp_and_needs_one_success() -> None:
    port = refused_port()
    with serving(1) as hosts:
        lb = LoadBalancer([hosts[0].host, Host("web2", address=f"127.0.0.1:{port}")])
        with HealthMonitor(lb, TcpProbe(), QUICK):
            until_down(lb, web2=["probe"])
            with asyncio.Runner() as runner:
                server = runner.run(asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port))
                until_down(lb)
                server.close()


def test_it_follows_who_comes_goes_and_is_replaced() -> None:
    with serving(3) as (one, two, three):
        lb = pool([one, two])
        two.kill()
        with HealthMonitor(lb, HttpProbe(), QUICK) as monitor:
            until_down(lb, web2=["probe"])
            lb.replace("web2", address=three.host.address)
            assert down(lb) == {}, "another machine is up until its own probes fail"
            wait_until(lambda: monitor.health("web2").proven, "the first probe of the new machine")
            three.kill()
            until_down(lb, web2=["probe"])
            lb.unregister("web2")
            wait_until(lambda: "web2" not in monitor._table.health, "web2 to be forgotten")
            lb.register(Host("web2", address=one.host.address))
            wait_until(lambda: "web2" in monitor._table.health, "web2 to be known")
            wait_until(lambda: monitor.health("web2").proven, "the first probe of the newcomer")
            assert down(lb) == {}


def test_a_probe_sees_the_new_weight_and_keeps_its_state() -> None:
    weights: list[float] = []

    async def probe(host: Host) -> bool:
        weights.append(host.weight)
        return False

    lb = LoadBalancer(["a"])
    with HealthMonitor(lb, probe, QUICK) as monitor:
        wait_until(lambda: not monitor.health("a").up, "the verdict")
        lb.set_weight("a", 7)
        wait_until(lambda: weights[-1] == 7, "a probe of the new weight")
        assert not monitor.health("a").up


def test_a_probe_that_cannot_be_made_is_not_a_verdict(caplog: pytest.LogCaptureFixture) -> None:
    async def probe(host: Host) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    lb = LoadBalancer(["a", "b"])
    with HealthMonitor(lb, probe, QUICK) as monitor:
        wait_until(lambda: monitor.stats["probes_void"] >= 8, "probes")
        assert (down(lb), monitor.stats["probes"]) == ({}, 0)
    assert caplog.text.count("could not be made") == 1


def test_a_host_removed_and_added_in_one_change_starts_again() -> None:
    async def probe(host: Host) -> bool:
        return not sick

    sick = True
    lb = LoadBalancer(["a", "b", "c"])
    with HealthMonitor(lb, probe, QUICK, when_all_down="refuse") as monitor:
        until_down(lb, a=["probe"], b=["probe"], c=["probe"])
        sick = False
        lb.unregister("a")
        lb.register("a")
        until_down(lb)
        assert monitor.stats["came_up"] == 2, "a did not come up: it is another one"


def test_others_marks_are_never_touched() -> None:
    with serving(2) as hosts:
        lb = pool(hosts)
        lb.mark_down("web1", "reboot")
        lb.mark_down("web2", "gone", by="discovery")
        lb.mark_down("web2", "stale", by="probe")  # what a monitor before left behind
        with HealthMonitor(lb, HttpProbe(), QUICK):
            until_down(lb, web1=["operator"], web2=["discovery"])
            hosts[0].kill()
            until_down(lb, web1=["operator", "probe"], web2=["discovery"])
        assert down(lb) == {"web1": ["operator"], "web2": ["discovery"]}


def test_when_all_are_down_all_are_routed_to_and_logged_once() -> None:
    with serving(3) as hosts:
        lb = pool(hosts)
        seen: list[HealthChange] = []
        with HealthMonitor(lb, HttpProbe(), QUICK) as monitor:
            monitor.subscribe(seen.append)
            for host in hosts:
                host.behave(503)
            wait_until(lambda: monitor.panic_reason, "the lift")
            until_down(lb)
            assert {lb.pick(f"s{n}").name for n in range(100)} == {"web1", "web2", "web3"}
            probes = monitor.stats["probes"]
            wait_until(lambda: monitor.stats["probes"] > probes + 9, "more probes")
            assert monitor.stats["panic"] == [change.kind for change in seen].count("panic") == 1
            hosts[2].behave(200)
            until_down(lb, web1=["probe"], web2=["probe"])
            wait_until(lambda: monitor.stats["restored"] == 1, "health to count again")


def test_when_all_are_down_requests_may_be_refused() -> None:
    with serving(2) as hosts:
        lb = pool(hosts)
        with HealthMonitor(lb, HttpProbe(), QUICK, when_all_down="refuse"):
            for host in hosts:
                host.kill()
            until_down(lb, web1=["probe"], web2=["probe"])
            with pytest.raises(NoHostsError, match="probe: ConnectionRefusedError"):
                lb.pick("s1")


def lease(lb: LoadBalancer, host: str, error: type[Exception] | None) -> None:
    """One request on ``host`` that ends so."""
    with contextlib.suppress(*([error] if error else [])), lb.lease(prefer=host):
        if error:
            raise error


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError])
def test_five_failed_leases_in_a_row_eject_a_host(error: type[Exception]) -> None:
    lb = LoadBalancer(["a", "b", "c"])
    rules = OutlierRules(base=0.3, cap=0.3)
    with HealthMonitor(lb, well, NO_PROBES, outliers=rules) as monitor:
        for _ in range(4):
            lease(lb, "b", error)
        lease(lb, "b", None)
        for _ in range(4):
            lease(lb, "b", error)
        lease(lb, "b", ValueError)  # the caller's own fault says nothing
        assert monitor.state("b").run == 4
        lease(lb, "b", error)
        until_down(lb, b=["outlier"])
        assert lb.state("b") == "draining", "it keeps its known clients"
        assert "5 requests in a row failed" in monitor.state("b").why
        until_down(lb)
        assert (monitor.stats["ejections"], monitor.stats["returned"]) == (1, 1)


def test_a_host_without_connections_is_held_down() -> None:
    lb = LoadBalancer(["a", "b", "c"])
    with HealthMonitor(lb, well, NO_PROBES) as monitor:
        for _ in range(5):
            lease(lb, "b", TimeoutError)
        until_down(lb, b=["outlier"])
        assert lb.state("b") == "draining"
        for _ in range(5):
            lease(lb, "b", ConnectionRefusedError)
        wait_until(lambda: lb.state("b") == "down", "no known client either")
        assert monitor.stats["lost"] == 1


def test_failures_from_many_threads_eject_at_most_the_limit() -> None:
    lb = LoadBalancer([f"web{n}" for n in range(5)])
    most = [0]
    lb.subscribe(lambda event: most.append(len(down(lb))))

    def fail(name: str) -> None:
        for _ in range(40):
            lease(lb, name, TimeoutError)

    with HealthMonitor(lb, well, NO_PROBES) as monitor:
        threads = [threading.Thread(target=fail, args=(host.name,)) for host in lb.hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: down(lb), "an ejection")
        assert max(most) == 1
        assert monitor.stats["ejections"] == 1
        assert monitor.stats["ejections_refused"] > 0


def test_it_runs_in_the_callers_event_loop_too() -> None:
    async def main(lb: LoadBalancer, dead: Served) -> None:
        threads = set(threading.enumerate())
        async with HealthMonitor(lb, HttpProbe(), QUICK) as monitor:
            changed = asyncio.Event()
            monitor.subscribe(lambda change: changed.set())
            assert not [t for t in set(threading.enumerate()) - threads if "health" in t.name]
            dead.kill()
            async with asyncio.timeout(PATIENCE):
                await changed.wait()
            assert down(lb) == {"web2": ["probe"]}
        assert down(lb) == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with serving(2) as hosts:
        asyncio.run(main(pool(hosts), hosts[1]))


def test_who_is_cancelled_while_entering_leaves_no_watch_behind() -> None:
    async def main() -> None:
        async def work() -> None:
            async with HealthMonitor(LoadBalancer(["a", "b"]), well):
                raise AssertionError("never reached")

        task = asyncio.create_task(work())
        await asyncio.sleep(0)  # it has begun to enter
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE):
            while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_monitor_serves_once() -> None:
    monitor = HealthMonitor(LoadBalancer(["a"]), well)
    with monitor:
        pass
    with pytest.raises(HashringError, match="make a new one"), monitor:
        pass


def test_a_listener_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fail(change: HealthChange) -> None:
        raise ValueError(change)

    lb = LoadBalancer(["a", "b"])
    seen: list[HealthChange] = []

    async def probe(host: Host) -> bool:
        return host.name == "b"

    with HealthMonitor(lb, probe, QUICK) as monitor:
        monitor.subscribe(fail)
        stop = monitor.subscribe(seen.append)
        wait_until(lambda: seen, "the change")
        stop()
        stop()
    assert "a subscriber failed on down a" in caplog.text
    assert "health: down a: the probe returned False" in caplog.text


def test_the_wall_clock_may_jump_by_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock cannot be set here, so what reads it in this process is."""
    jump, real = [0.0], time.time

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Jumping:
            return cls.fromtimestamp(real() + jump[0], tz)

    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    monkeypatch.setattr(datetime, "datetime", Jumping)
    lb = LoadBalancer([f"web{n}" for n in range(4)])

    async def probe(host: Host) -> bool:
        return host.name != "web0"

    with HealthMonitor(lb, probe, QUICK) as monitor:
        for _ in range(5):
            lease(lb, "web1", TimeoutError)
        until_down(lb, web0=["probe"], web1=["outlier"])
        epoch = lb.snapshot.epoch
        for hours in (1, -1, 2, 0):
            jump[0] = 3600.0 * hours
            probes = monitor.stats["probes"]
            wait_until(lambda: monitor.stats["probes"] > probes + 8, "more probes")  # noqa: B023  # called at once
        assert lb.snapshot.epoch == epoch, "nothing has changed"
        assert monitor.stats["probes"] < 1000, "and nobody probed in a frenzy"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_warned_and_does_nothing() -> None:
    lb = LoadBalancer(["a", "b", "c"])
    read, write = os.pipe()
    with HealthMonitor(lb, well, QUICK) as monitor:
        wait_until(lambda: monitor.stats["probes"] >= 3, "the first probes")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            child = os.fork()
            if child == 0:
                said = "unfinished"
                try:
                    probes = monitor.stats["probes"]
                    for _ in range(9):
                        lease(lb, "a", TimeoutError)
                    monitor.__exit__(None, None, None)
                    texts = [str(one.message) for one in caught]
                    said = f"{texts} {down(lb)} {monitor.stats['probes'] - probes}"
                finally:
                    os.write(write, said.encode())
                    os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            heard = answer.read()
        os.waitpid(child, 0)
        assert "start a new one in the child" in heard
        assert heard.endswith("{} 0")
        probes = monitor.stats["probes"]
        wait_until(lambda: monitor.stats["probes"] > probes, "the parent's monitor to go on")


def test_a_thousand_hosts_go_down_in_few_snapshots() -> None:
    lb = LoadBalancer([f"web{n}" for n in range(1000)], placement=None)
    sick = {f"web{n}" for n in range(400)}

    async def probe(host: Host) -> bool:
        return host.name not in sick

    with HealthMonitor(lb, probe, ProbeRules(interval=1, timeout=1, fast=0.2)) as monitor:
        wait_until(lambda: set(down(lb)) == sick, "400 hosts to be down")
        assert lb.snapshot.epoch < 400
        assert monitor.stats["went_down"] == 400


def test_probes_that_fill_all_threads_delay_no_marks() -> None:
    lb = LoadBalancer([f"{kind}{n}" for n in range(40) for kind in ("sick", "well")])
    answer = threading.Event()

    async def probe(host: Host) -> bool:
        # as the resolver does, and any probe that blocks
        return host.name.startswith("well") or await asyncio.to_thread(answer.wait, PATIENCE)

    with HealthMonitor(lb, probe, ProbeRules(interval=0.2, timeout=0.2, fast=0.05)):
        try:
            wait_until(lambda: len(down(lb)) == 40, "the sick ones to be down")
            assert not answer.is_set()
        finally:
            answer.set()


def test_a_cancelled_probe_has_failed_and_is_repeated() -> None:
    lb = LoadBalancer(["a", "b"])

    async def probe(host: Host) -> None:
        if host.name == "a":
            raise asyncio.CancelledError

    with HealthMonitor(lb, probe, QUICK) as monitor:
        until_down(lb, a=["probe"])
        assert "CancelledError (3 probes in a row)" in monitor.health("a").why
