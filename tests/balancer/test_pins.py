"""Does a known client stay where it is, and does everybody else go where they would have gone?"""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from collections.abc import Iterable

import pytest

from hashring import ConfigError, Host, InvalidKeyError, LoadBalancer, NoHostsError
from hashring.balancer import AsyncPinStore, PinStore
from hashring.balancer.pin_table import PinTable
from hashring.errors import UnknownHostError
from hashring.keys import Key
from hashring.ring import HashRing
from hashring.strategies import LeastConnections
from hashring.testing import FakeClock

CLIENTS = [f"session-{number}" for number in range(10_000)]
FOUR = ["web1", "web2", "web3", "web4"]
FIVE = [*FOUR, "web5"]


class MuteStore:
    """A store that has gone away: what a balancer sees of it is the error."""

    asked = 0

    def _silent(self) -> ConnectionError:
        self.asked += 1
        return ConnectionError("refused")

    def get(self, client_id: Key, /) -> str | None:
        raise self._silent()

    def claim(self, client_id: Key, host: str, /) -> str:
        raise self._silent()

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        raise self._silent()


class ForgetfulStore(PinTable):
    """Reads well, and cannot write: a replica without its primary."""

    __slots__ = ()

    def claim(self, client_id: Key, host: str, /) -> str:
        raise ConnectionError("read only")


class AwaitedTable:
    """A table that must be awaited, and lets others run before each answer."""

    def __init__(self) -> None:
        self.table = PinTable()

    async def get(self, client_id: Key, /) -> str | None:
        await asyncio.sleep(0)
        return self.table.get(client_id)

    async def claim(self, client_id: Key, host: str, /) -> str:
        await asyncio.sleep(0)
        return self.table.claim(client_id, host)

    async def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        await asyncio.sleep(0)
        return self.table.replace(client_id, old, new)


def placed(lb: LoadBalancer, clients: Iterable[Key] = CLIENTS) -> dict[Key, str]:
    return {client: lb.pick(client).name for client in clients}


def moved(before: dict[Key, str], after: dict[Key, str]) -> int:
    return sum(before[client] != after[client] for client in before)


def quietly_drained(lb: LoadBalancer, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a drain without pins says what it does
        lb.drain(name)


# -- growth, drain, failures -----------------------------------------------------------------------


def test_growth_moves_no_known_client_and_the_ring_a_share() -> None:
    pinned, alone = LoadBalancer(FOUR, pins=PinTable()), LoadBalancer(FOUR)
    before = placed(pinned)
    assert before == placed(alone), "new clients go where the walk says, store or no store"
    for lb in (pinned, alone):
        lb.register("web5")
    after = HashRing(FIVE)
    newcomers = sum(after.lookup(client) == "web5" for client in CLIENTS)
    assert 0.1 < newcomers / len(CLIENTS) < 0.3
    assert moved(before, placed(pinned)) == 0
    assert moved(before, placed(alone)) == newcomers
    assert {lb.pick("new-" + c).name for lb in (pinned,) for c in CLIENTS[:100]} == set(FIVE)


def rolling_restart(lb: LoadBalancer) -> float:
    """Each host in turn is drained, goes, and comes back; moves per client."""
    where, moves = placed(lb), 0
    for name in FIVE:
        quietly_drained(lb, name)
        lb.mark_down(name, "restart")
        now = placed(lb)
        moves += moved(where, now)
        lb.mark_up(name)
        lb.resume(name)
        where = placed(lb)
        moves += moved(now, where)
    return moves / len(CLIENTS)


def test_a_rolling_restart_moves_each_client_at_most_twice() -> None:
    alone = rolling_restart(LoadBalancer(FIVE))
    pinned = rolling_restart(LoadBalancer(FIVE, pins=PinTable()))
    assert alone == 2.0, "off its owner when that restarts, and home again"
    # Off the owner to its successor, and home only if the successor restarts later: 1.5 on
    # the average of all orders, and exactly this for this order and these clients.
    ring = HashRing(FIVE)
    walks = (tuple(ring.walk(client)) for client in CLIENTS)
    again = sum(FIVE.index(heir) > FIVE.index(owner) for owner, heir, *_ in walks)
    assert pinned == 1 + again / len(CLIENTS) <= 1.5


def test_a_drain_of_all_other_hosts_moves_clients_once() -> None:
    lb = LoadBalancer(FIVE, pins=PinTable())
    where, moves = placed(lb), 0
    for name in FIVE:  # whoever waits for the restart takes no new clients, only keeps its own
        lb.drain(name)
    for name in FIVE:
        lb.mark_down(name, "restart")
        if name == FIVE[0]:
            lb.register("spare")
        now = placed(lb)
        moves += moved(where, now)
        lb.mark_up(name)
        lb.resume(name)
        where = now
        assert moved(where, placed(lb)) == 0, "nobody goes home"
    assert moves == len(CLIENTS), "each client moves once: 1.0"


def test_a_drain_keeps_known_clients_until_the_deadline() -> None:
    clock = FakeClock()
    lb = LoadBalancer(FIVE, pins=PinTable(clock=clock), clock=clock)
    before = placed(lb)
    report = lb.drain("web1", deadline=30.0)
    assert report.keeps_sessions
    assert moved(before, placed(lb)) == 0
    assert "web1" not in {lb.pick("new-" + client).name for client in CLIENTS[:1000]}
    clock.now += 30.0
    after = placed(lb)
    gone = {client for client in before if before[client] == "web1"}
    assert {client for client in before if after[client] != before[client]} == gone
    lb.resume("web1")
    assert placed(lb) == after, "placed anew, they stay there"


@pytest.mark.parametrize("lost", ["down", "gone", "ejected"])
def test_a_client_of_a_lost_host_is_placed_once(lost: str) -> None:
    lb, ring = LoadBalancer(FIVE, pins=PinTable()), LoadBalancer(FIVE)
    before = placed(lb)
    for each in (lb, ring):
        if lost == "gone":
            each.unregister("web2")
        else:
            each.mark_down("web2", "dead", by="outlier" if lost == "ejected" else "operator")
    after = placed(lb)
    assert after == placed(ring)
    assert {before[client] for client in before if before[client] != after[client]} == {"web2"}
    lb.register("web2") if lost == "gone" else lb.mark_up("web2", by="*")
    assert placed(lb) == after


def test_all_hosts_draining_still_serve_who_they_know() -> None:
    lb = LoadBalancer(["a", "b"], pins=PinTable())
    home = lb.pick("x")
    for name in "ab":
        lb.drain(name)
    assert lb.pick("x") == home
    with pytest.raises(NoHostsError):
        lb.pick("y")
    assert len(lb) == 2


# -- who says where --------------------------------------------------------------------------------


def test_prefer_wins_over_the_pin_and_leaves_it() -> None:
    lb = LoadBalancer(["a", "b", "c"], pins=PinTable())
    assert lb.pick("x").name == "a"
    assert lb.pick("x", prefer="c").name == "c"
    assert lb.pick("x").name == "a"
    lb.mark_down("c", "dead")
    assert lb.pick("x", prefer="c").name == "a", "then the pin"


def test_a_retry_writes_no_pin() -> None:
    pins = PinTable()
    lb = LoadBalancer(["a", "b", "c"], pins=pins)
    assert lb.pick("x", exclude=["a"]).name != "a"
    assert len(pins) == 0
    first = lb.pick("x")
    second = lb.pick("x", exclude=[first])
    with lb.lease("x", exclude=[first]) as lease:
        assert (lease.host, lease.reason) == (second, "next")
    assert pins.get("x") == first.name
    lb.mark_down(first, "dead")
    assert lb.pick("x", exclude=["b"]).name == "c"
    assert pins.get("x") == first.name


def test_str_bytes_and_int_of_one_text_are_one_client() -> None:
    pins = PinTable()
    lb = LoadBalancer(["a", "b", "c"], pins=pins)
    spellings: list[Key] = ["7", b"7", 7, "7", b"7"]
    for host, client in zip("abcab", spellings, strict=True):
        lb.pin(client, host)
        assert {lb.pick(spelled).name for spelled in ("7", b"7", 7)} == {host}
    surrogate = chr(0xD83D)
    assert lb.pick(surrogate) == lb.pick(surrogate.encode("utf-8", "surrogatepass"))
    assert len(pins) == 2
    with pytest.raises(InvalidKeyError):
        lb.pick(1.5)  # type: ignore[arg-type]  # the point


def test_anonymous_requests_are_not_pinned() -> None:
    pins = PinTable()
    lb = LoadBalancer(["a", "b", "c"], pins=pins)
    for nobody in (None, "", b""):
        assert {lb.pick(nobody).name for _ in range(3)} == {"a", "b", "c"}
    with lb.lease() as lease:
        assert lease.reason == "fallback"
    assert len(pins) == 0


def test_pin_and_forget_by_hand() -> None:
    lb = LoadBalancer(["a", "b", "c"], pins=PinTable())
    assert lb.pin("x", "c")
    assert lb.pick("x").name == "c"
    assert lb.pin("x", Host("b"))
    assert lb.pick("x").name == "b"
    assert lb.forget("x")
    assert lb.forget("x"), "nobody holds it"
    assert lb.pick("x").name == "a"
    with pytest.raises(UnknownHostError):
        lb.pin("x", "nowhere")
    for nobody in (None, ""):
        with pytest.raises(ConfigError, match="client ID"):
            lb.pin(nobody, "a")  # type: ignore[arg-type]  # the point
    with pytest.raises(ConfigError, match="pins=PinTable"):
        LoadBalancer(["a"]).pin("x", "a")


def test_explain_shows_the_pin_and_makes_none() -> None:
    pins = PinTable()
    lb = LoadBalancer(["a", "b", "c"], pins=pins)
    assert str(lb.explain("x")).endswith("goes to a (owner)")
    assert len(pins) == 0
    lb.pin("x", "b")
    assert lb.explain("x").reason == "pinned"
    lb.mark_down("b", "dead")
    decision = lb.explain("x")
    assert (decision.host, decision.reason) == (Host("a"), "owner")
    assert pins.get("x") == "b"


# -- new clients by load ---------------------------------------------------------------------------


def test_new_clients_of_the_fallback_are_remembered() -> None:
    pins = PinTable()
    lb = LoadBalancer(FOUR, fallback=LeastConnections(), pins=pins, new_clients="fallback")
    leases = [lb.lease(client).acquire() for client in CLIENTS[:100]]
    assert Counter(lease.host.name for lease in leases) == dict.fromkeys(FOUR, 25)
    assert {lease.reason for lease in leases} == {"fallback"}
    for lease, client in zip(leases, CLIENTS, strict=False):
        assert lb.pick(client) == lease.host
        lease.release()
    lost = [client for client in CLIENTS[:100] if pins.get(client) == "web1"]
    lb.mark_down("web1", "dead")
    again = {client: lb.pick(client) for client in lost}
    assert "web1" not in {host.name for host in again.values()}
    lb.mark_up("web1")
    assert {client: lb.pick(client) for client in lost} == again


def test_without_a_memory_the_walk_decides_even_then() -> None:
    lb, ring = LoadBalancer(FOUR, new_clients="fallback"), LoadBalancer(FOUR)
    some = CLIENTS[:200]
    assert placed(lb, some) == placed(ring, some)
    lb.keeps_sessions(True)  # a layer above will remember and give prefer
    assert {lb.pick(some[0]).name for _ in FOUR} == set(FOUR)
    ring.mark_down("web1", "dead")
    lb.mark_down("web1", "dead")
    assert {c: lb.pick(c, prefer="web1").name for c in some} == placed(ring, some), (
        "a token of a host that is down: its client is not new, and all routers must agree"
    )
    lb.keeps_sessions(False)
    assert placed(lb, some) == placed(ring, some)


def test_pins_work_without_a_placement() -> None:
    lb = LoadBalancer(FOUR, placement=None, pins=PinTable())
    homes = placed(lb, CLIENTS[:400])
    assert Counter(homes.values()) == dict.fromkeys(FOUR, 100)
    lb.register("web5")
    assert placed(lb, CLIENTS[:400]) == homes


def test_pins_work_with_any_placement_and_a_keyed_ring() -> None:
    for placement in ("modulo", HashRing(key_secret=b"0123456789abcdef")):
        lb = LoadBalancer(FOUR, placement=placement, pins=PinTable())
        homes = placed(lb, CLIENTS[:400])
        assert set(homes.values()) == set(FOUR)
        lb.register("web5")
        assert placed(lb, CLIENTS[:400]) == homes


# -- leases ----------------------------------------------------------------------------------------


def test_pinned_clients_count_and_are_not_bounded() -> None:
    lb = LoadBalancer(["a", "b"], load_factor=1.25, pins=PinTable())
    leases = [lb.lease("x").acquire() for _ in range(6)]
    assert {(lease.host.name, lease.reason) for lease in leases[1:]} == {
        (leases[0].host.name, "pinned")
    }
    assert lb.load(leases[0].host).in_flight == 6
    with lb.lease("another") as lease:
        assert lease.host != leases[0].host, "new clients are"
    for lease in leases:
        lease.release()
    assert {lb.load(name).in_flight for name in "ab"} == {0}


def test_an_overflown_client_stays_where_it_overflowed_to() -> None:
    lb = LoadBalancer(["a", "b", "c"], load_factor=1.25, pins=PinTable())
    blocker = lb.lease(prefer="a").acquire()
    with lb.lease("x") as lease:
        assert (lease.host.name, lease.reason) == ("b", "overflow")
    blocker.release()
    assert lb.pick("x").name == "b"


class FirstElsewhere(PinTable):
    """Another router is quicker: between our ``get`` and our ``claim`` it pins the client."""

    __slots__ = ("other",)

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other = other

    def claim(self, client_id: Key, host: str, /) -> str:
        return super().claim(client_id, self.other)


@pytest.mark.parametrize("how", ["pick", "lease"])
@pytest.mark.parametrize("state", ["up", "draining", "down", "unknown"])
def test_the_quicker_router_is_accepted_if_its_host_can_serve(how: str, state: str) -> None:
    pins = FirstElsewhere("nowhere" if state == "unknown" else "c")
    lb = LoadBalancer(["a", "b", "c"], pins=pins)
    if state == "draining":
        lb.drain("c")
    elif state == "down":
        lb.mark_down("c", "dead")
    expected = "c" if state in ("up", "draining") else "a"
    if how == "pick":
        assert lb.pick("x").name == expected
    else:
        with lb.lease("x") as lease:
            assert lease.host.name == expected
            assert {name: lb.load(name).in_flight for name in "abc"} == {
                name: int(name == expected) for name in "abc"
            }
    assert pins.get("x") == expected


# -- a store that cannot answer --------------------------------------------------------------------


@pytest.mark.parametrize("new_clients", ["walk", "fallback"])
@pytest.mark.parametrize("store", [MuteStore, ForgetfulStore])
def test_a_silent_store_leaves_the_answer_to_the_ring(
    store: type[MuteStore | ForgetfulStore], new_clients: str
) -> None:
    lb, ring = LoadBalancer(FOUR, pins=store(), new_clients=new_clients), LoadBalancer(FOUR)
    some = CLIENTS[:200]
    assert placed(lb, some) == placed(ring, some)
    for client in some:
        with lb.lease(client) as lease:
            assert lease.host == ring.pick(client)
        assert lb.pick(client.encode(), exclude=["web1"]) == ring.pick(client, exclude=["web1"])
    assert sum(lb.load(name).in_flight for name in FOUR) == 0
    assert (lb.explain(some[0]).host is None) == (new_clients == "fallback")


def test_a_silent_store_is_asked_once_a_request() -> None:
    store = MuteStore()
    lb = LoadBalancer(FOUR, pins=store)
    lb.pick("x")
    assert store.asked == 1
    with lb.lease("x"):
        pass
    assert store.asked == 2


def test_an_operator_gets_the_error_that_the_store_is_silent() -> None:
    lb = LoadBalancer(FOUR, pins=MuteStore())
    with pytest.raises(ConnectionError):
        lb.pin("x", "web1")
    with pytest.raises(ConnectionError):
        lb.forget("x")


# -- stores that must be awaited -------------------------------------------------------------------


def test_the_asynchronous_calls_do_what_the_others_do() -> None:
    async def all_of_it() -> None:
        lb = LoadBalancer(FOUR, pins=AwaitedTable())
        ring = LoadBalancer(FOUR)
        for client in CLIENTS[:50]:
            assert await lb.apick(client) == ring.pick(client)
        lb.register("web5")
        for client in CLIENTS[:50]:
            assert await lb.apick(client) == ring.pick(client)
            async with lb.lease(client) as lease:
                assert (lease.host, lease.reason) == (ring.pick(client), "pinned")
            retried = await lb.apick(client, exclude=[lease.host])
            assert retried != lease.host
        assert await lb.apin("session-0", "web5")
        assert (await lb.apick("session-0")).name == "web5"
        assert await lb.aforget("session-0")
        lease = await lb.lease("session-1").aacquire()
        assert lb.load(lease.host).in_flight == 1
        lease.release()
        assert (await lb.apick()).name in FIVE

    asyncio.run(all_of_it())


def test_new_clients_at_once_get_one_host_each_from_two_routers() -> None:
    async def all_of_it() -> None:
        store = AwaitedTable()
        routers = [
            LoadBalancer(FOUR, pins=store, new_clients="fallback"),
            LoadBalancer(FIVE, pins=store, new_clients="fallback"),
        ]
        for client in CLIENTS[:200]:
            hosts = await asyncio.gather(
                *(lb.apick(client) for _ in range(3) for lb in routers), return_exceptions=False
            )
            on = {host.name for host in hosts}
            assert len(on - {"web5"}) <= 1, "web5 is unknown to the first router"
            assert (await routers[1].apick(client)).name in on

    asyncio.run(all_of_it())


def test_the_synchronous_calls_name_the_asynchronous_ones() -> None:
    lb = LoadBalancer(["a", "b"], pins=AwaitedTable())
    with pytest.raises(ConfigError, match=r"await lb\.apick.*async with lb\.lease"):
        lb.pick("x")
    with pytest.raises(ConfigError, match=r"await lb\.apick"):
        lb.pick("x", prefer="a")
    with pytest.raises(ConfigError, match=r"async with"), lb.lease("x"):
        pass
    for call, named in ((lb.forget, "aforget"), (lb.explain, "prefer=await")):
        with pytest.raises(ConfigError, match=named):
            call("x")
    with pytest.raises(ConfigError, match="apin"):
        lb.pin("x", "a")
    assert lb.pick().name in "ab", "nobody need be asked for an anonymous request"
    assert lb.load("a").in_flight == lb.load("b").in_flight == 0


def test_the_asynchronous_calls_work_with_a_table_and_with_none() -> None:
    async def all_of_it(pins: PinStore | None) -> None:
        lb = LoadBalancer(["a", "b", "c"], pins=pins)
        assert (await lb.apick("x")).name == "a"
        async with lb.lease("x") as lease:
            assert lease.host.name == "a"
        if pins is not None:
            assert await lb.apin("x", "b")
            assert (await lb.apick("x")).name == "b"
            assert await lb.aforget("x")

    asyncio.run(all_of_it(None))
    asyncio.run(all_of_it(PinTable()))


class StuckClaim(AwaitedTable):
    """Waits in ``claim`` until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()

    async def claim(self, client_id: Key, host: str, /) -> str:
        self.waiting.set()
        await asyncio.Event().wait()
        return host


def test_a_lease_cancelled_at_the_store_is_not_counted() -> None:
    async def all_of_it() -> None:
        store = StuckClaim()
        lb = LoadBalancer(["a", "b"], pins=store)
        task = asyncio.create_task(lb.lease("x").aacquire())
        await store.waiting.wait()
        assert sum(lb.load(name).in_flight for name in "ab") == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sum(lb.load(name).in_flight for name in "ab") == 0

    asyncio.run(all_of_it())


# -- options ---------------------------------------------------------------------------------------


class HalfAStore:
    def get(self, client_id: Key, /) -> str | None: ...


class MixedStore(PinTable):
    async def claim(self, client_id: Key, host: str, /) -> str:  # type: ignore[override]  # the point
        return host


@pytest.mark.parametrize(
    "pins", [True, "redis://127.0.0.1", {}, HalfAStore(), MixedStore(), PinTable]
)
def test_what_is_not_a_store_is_refused(pins: PinStore | AsyncPinStore) -> None:
    with pytest.raises(ConfigError, match="get, claim and replace"):
        LoadBalancer(["a"], pins=pins)


def test_an_unknown_way_to_place_new_clients_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'walk'.*'fallback'"):
        LoadBalancer(["a"], pins=PinTable(), new_clients="random")


class Counting(LoadBalancer):
    """A subclass with a pick of its own."""

    picked = 0

    def pick(self, *args: object, **options: object) -> Host:
        self.picked += 1
        return super().pick(*args, **options)  # type: ignore[arg-type]  # whatever they are


def test_a_subclass_s_own_pick_is_called_with_pins_too() -> None:
    lb = Counting(FOUR, pins=PinTable())
    home = lb.pick("x")
    lb.register("web5")
    assert lb.pick("x") == home
    assert lb.picked == 2
