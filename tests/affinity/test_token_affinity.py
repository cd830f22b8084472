"""Does a client with a token stay on its host, in every router alike?"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hashring import LoadBalancer
from hashring.affinity import Answer, TokenAffinity, Tokens
from hashring.errors import ConfigError, NoHostsError
from hashring.testing import FakeClock
from tests.affinity.test_tokens import DAY, FOREIGN, NEXT, NOW, SECRET

HOSTS = ["web1", "web2", "web3", "web4"]


def router(hosts: Any = HOSTS, secrets: Any = SECRET, **options: Any) -> TokenAffinity:
    tokens = Tokens(secrets, **{"max_age": DAY, "clock": FakeClock(NOW), **options})
    return TokenAffinity(LoadBalancer(hosts), tokens)


class Browser:
    """A client that keeps the cookies it is sent, and remembers the hosts it was on."""

    def __init__(self, client_id: str | None = None) -> None:
        self.client_id = client_id
        self.jar: dict[str, str] = {}
        self.hosts: list[str] = []

    @property
    def cookies(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    def visit(self, at: TokenAffinity, **how: Any) -> Answer:
        answer = at.decide(self.cookies, client_id=self.client_id, **how)
        if answer.set_cookie:
            name, _, value = answer.set_cookie.split(";")[0].partition("=")
            self.jar[name] = value
        self.hosts.append(answer.host.name)
        return answer

    @property
    def moves(self) -> int:
        return sum(a != b for a, b in pairwise(self.hosts))


def browsers(count: int) -> list[Browser]:
    """Half of them with an ID that the application gives."""
    return [Browser(f"session-{n}" if n % 2 else None) for n in range(count)]


def come(clients: list[Browser], routers: list[TokenAffinity]) -> None:
    """Each client makes four requests, and they alternate between the routers."""
    for turn in range(4):
        for client in clients:
            client.visit(routers[turn % len(routers)])


def test_two_routers_growth_and_restarts() -> None:
    routers, clients = [router(), router()], browsers(2_000)
    come(clients, routers)
    routers[0].balancer.register("web5")  # for a while only one of them knows
    come(clients, routers)
    routers[1].balancer.register("web5")
    come(clients, routers)
    newcomers = browsers(2_000)
    come(newcomers, routers)
    restarted = [router([*reversed(HOSTS), "web5"]) for _ in routers]
    come([*clients, *newcomers], restarted)
    assert sum(client.moves for client in (*clients, *newcomers)) == 0
    assert {client.hosts[0] for client in clients} == set(HOSTS)
    assert {client.hosts[0] for client in newcomers} == {*HOSTS, "web5"}
    assert all(at.stats["moved"] == 0 for at in (*routers, *restarted))


def test_when_a_host_goes_its_clients_move_once_and_equally() -> None:
    routers, clients = [router(), router()], browsers(1_000)
    for client in clients:
        client.visit(routers[0])
    # first the one, then the other learns of it: who comes there in between keeps its host
    routers[0].balancer.mark_down("web2", "kill -9")
    routers[1].balancer.unregister("web2")
    come(clients, routers)
    for client in clients:
        assert client.moves == (1 if client.hosts[0] == "web2" else 0)
    # the walk of an ID is the same in both, so one of them could have answered for the other
    for client in clients:
        twin = [at.visit(client.cookies, client_id=client.client_id) for at in routers]
        assert twin[0].prefer == twin[1].prefer == client.hosts[-1]
    # web2 is back: those who were placed anew stay where they are
    routers[0].balancer.mark_up("web2")
    routers[1].balancer.register("web2")
    for client in clients:
        client.visit(routers[0])
        client.visit(routers[1])
        assert client.hosts[-1] == client.hosts[1]


def test_without_the_cookie_coming_back_both_still_agree() -> None:
    one, two = router(), router()
    one.balancer.unregister("web3")
    two.balancer.mark_down("web3", "gone")
    lost = [b for b in browsers(1_000) if b.visit(router()).host.name == "web3"]
    assert len(lost) > 100
    for browser in lost:
        answers = [at.decide(browser.cookies, client_id=browser.client_id) for at in (one, two)]
        assert answers[0].host == answers[1].host
        assert all(answer.set_cookie for answer in answers)
    assert one.stats["unknown"] == one.stats["moved"] == len(lost)
    assert (two.stats["unknown"], two.stats["moved"]) == (0, len(lost))


def test_a_draining_host_keeps_its_clients_until_the_deadline() -> None:
    clock = FakeClock()
    lb = LoadBalancer(HOSTS, clock=clock)
    at = TokenAffinity(lb, Tokens(SECRET))
    clients = browsers(400)
    for client in clients:
        client.visit(at)
    report = lb.drain("web1", deadline=60)  # and no warning: sessions are kept
    assert report.keeps_sessions
    for client in clients:
        client.visit(at)
    assert not any(client.moves for client in clients)
    late = browsers(400)
    for client in late:
        assert client.visit(at).host.name != "web1"
    clock.now = 61.0
    for client in clients:
        client.visit(at)
        client.visit(at)
        assert client.moves == (client.hosts[0] == "web1")


def test_a_retry_writes_no_token() -> None:
    at, client, comer = router(), Browser(), Browser()
    home = client.visit(at).host
    before = dict(client.jar)
    assert client.visit(at, exclude=[home]).host != home
    assert client.jar == before
    assert client.visit(at).host == home
    assert comer.visit(at, exclude=[home]).set_cookie is None
    assert client.visit(at, exclude=["web9"]).host == home


def test_with_a_lease() -> None:
    at = TokenAffinity(LoadBalancer(HOSTS, load_factor=1.01), Tokens(SECRET))
    lb = at.balancer
    visit = at.visit(client_id="session-42")
    with lb.lease(visit.client_id, prefer=visit.prefer) as first:
        again = at.visit(client_id="session-42")
        with lb.lease(again.client_id, prefer=again.prefer) as second:
            assert (first.reason, second.reason) == ("owner", "overflow")
            text = (at.set_cookie(again, second.host) or "").split(";")[0].partition("=")[2]
            seen = at.visit(token=text, client_id="session-42")
            with lb.lease(seen.client_id, prefer=seen.prefer) as third:
                assert (third.host, third.reason) == (second.host, "pinned")
                assert at.set_cookie(seen, third.host) is None


# -- who is it -------------------------------------------------------------------------------------


def test_a_given_id_gives_the_walk() -> None:
    at = router()
    for number in range(100):
        key = f"session-{number}"
        assert at.decide(client_id=key).host == at.balancer.pick(key)
    assert at.decide(client_id=7).visit.client_id == 7


@pytest.mark.parametrize("nobody", [None, "", b""])
def test_without_an_id_a_client_gets_a_random_one(nobody: Any) -> None:
    at = router()
    seen = {at.visit(client_id=nobody).client_id for _ in range(100)}
    assert len(seen) == 100
    assert {len(str(client_id)) for client_id in seen} == {32}
    assert at.stats["new"] == 100


def test_a_login_keeps_the_host_and_binds_the_token() -> None:
    at, client = router(), Browser()
    home = client.visit(at).host
    stranger = next(k for k in map(str, range(99)) if at.balancer.pick(k) != home)
    client.client_id = stranger
    assert client.visit(at).host == home
    assert at.stats["renewed"] == 1
    assert client.visit(at).set_cookie is None
    client.client_id = None  # and the logout
    assert client.visit(at).host == home
    assert client.moves == 0


def test_a_token_of_another_given_id_is_not_accepted() -> None:
    at, client = router(), Browser("ann")
    client.visit(at)
    client.client_id = next(
        key for key in map(str, range(99)) if at.balancer.pick(key) != at.balancer.pick("ann")
    )
    answer = client.visit(at)
    assert answer.host == at.balancer.pick(client.client_id)
    assert answer.set_cookie
    assert at.stats["other"] == 1
    assert client.visit(at).set_cookie is None


@pytest.mark.parametrize(
    ("spoil", "counter"),
    [
        (lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"), "forged"),
        (lambda text: text[:-1], "malformed"),
        (lambda text: "", "malformed"),
        (lambda text: Tokens(FOREIGN).issue(bytes(16), "web1"), "forged"),
    ],
)
def test_a_bad_token_is_a_new_client(spoil: Callable[[str], str], counter: str) -> None:
    tokens = Tokens(SECRET)
    at, client = TokenAffinity(LoadBalancer(HOSTS), tokens), Browser("session-42")
    client.visit(at)
    client.jar["hashring"] = spoil(client.jar["hashring"])
    answer = client.visit(at)
    assert answer.visit.token is None
    assert answer.set_cookie
    assert answer.host == at.balancer.pick("session-42")
    assert tokens.stats[counter] == at.stats["refused"] == 1
    assert client.visit(at).visit.token is not None


def test_the_first_valid_cookie_counts() -> None:
    at, client = router(), Browser()
    home = client.visit(at).host
    good = client.cookies
    assert at.decide(f"hashring=x; a=b; {good}").host == home
    assert at.decide(f"hashring=x; hashring=; {good}").visit.token is not None
    assert at.decide(f"hashring=x; hashring=y; hashring=z; {good}").visit.token is not None
    assert at.decide(f"xhashring=x; {good[:-1]}").visit.token is None
    assert at.decide(good.replace("=", '="') + '"').visit.token is not None


# -- when a new one is due -------------------------------------------------------------------------


def test_a_token_is_renewed_past_half_its_lifetime() -> None:
    clock = FakeClock(NOW)
    at, client = router(clock=clock), Browser()
    client.visit(at)
    for _ in range(20):
        clock.now += DAY * 0.4
        client.visit(at)
    assert client.moves == 0, "who keeps coming keeps the host, however long"
    assert at.stats["renewed"] == 10
    clock.now += DAY * 1.1
    assert client.visit(at).visit.token is None
    assert at.stats["refused"] == 1


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_moves_no_client(jump: float) -> None:
    clock = FakeClock(NOW)
    at, clients = router(clock=clock), browsers(200)
    for _ in range(4):
        for client in clients:
            client.visit(at)
        clock.now += jump
    assert sum(client.moves for client in clients) == at.stats["refused"] == 0


def test_secrets_rotate_through_a_rolling_restart() -> None:
    steps = [SECRET, [SECRET, NEXT], [NEXT, SECRET], NEXT]
    clients, rng = browsers(500), random.Random(7)
    for client in clients:
        client.visit(router(secrets=SECRET))
    for before, after in pairwise(steps):
        routers = [router(secrets=before), router(secrets=after)]  # half the fleet is restarted
        for client in clients:
            for _ in range(3):
                client.visit(rng.choice(routers))
        routers = [router(secrets=after), router(secrets=after)]
        for client in clients:
            client.visit(rng.choice(routers))
    assert sum(client.moves for client in clients) == 0


def test_a_rotation_does_not_bind_to_a_hash_that_no_client_has() -> None:
    client = Browser("session-42")
    home = client.visit(router(secrets=SECRET)).host
    client.client_id = None  # a request that the application cannot name, while secrets rotate
    client.visit(router(secrets=[NEXT, SECRET]))
    client.client_id = "session-42"
    last = router(secrets=NEXT, hosts=[*HOSTS, "web5", "web6", "web7"])
    assert client.visit(last).host == home
    assert last.stats["other"] == 0


# -- the cookie ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "tls", "name", "secure"),
    [
        (True, False, "__Host-sid", True),
        (True, True, "__Host-sid", True),
        (False, False, "sid", False),
        (False, True, "sid", False),
        ("auto", False, "sid", False),
        ("auto", True, "sid", True),
    ],
)
def test_the_cookie(option: Any, tls: bool, name: str, secure: bool) -> None:
    at = TokenAffinity(
        LoadBalancer(HOSTS), Tokens(SECRET, max_age=90.5), cookie="sid", cookie_secure=option
    )
    first, *attributes = (at.decide(tls=tls).set_cookie or "").split("; ")
    assert at.cookie == name
    assert first.startswith(f"{name}=")
    expected = ["Path=/", "Max-Age=90", "HttpOnly", "SameSite=Lax", *["Secure"] * secure]
    assert attributes == expected
    assert at.decide(first, tls=not tls).set_cookie is None


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "__Host-sid", "__secure-sid", "é", None])
def test_names_that_no_cookie_can_have(name: Any) -> None:
    with pytest.raises(ConfigError, match="cookie"):
        TokenAffinity(LoadBalancer(HOSTS), Tokens(SECRET), cookie=name)


@pytest.mark.parametrize("value", ["yes", None, 2, "Auto"])
def test_cookie_secure_is_one_of_three(value: Any) -> None:
    with pytest.raises(ConfigError, match="cookie_secure"):
        TokenAffinity(LoadBalancer(HOSTS), Tokens(SECRET), cookie_secure=value)


# -- the pool --------------------------------------------------------------------------------------


def test_an_empty_pool_and_no_placement() -> None:
    with pytest.raises(NoHostsError):
        router([]).decide()
    at = TokenAffinity(LoadBalancer(HOSTS, placement=None), Tokens(SECRET))
    clients = browsers(40)
    for _ in range(3):
        for client in clients:
            client.visit(at)
    assert sum(client.moves for client in clients) == 0
    assert {client.hosts[0] for client in clients} == set(HOSTS), "the strategy placed them"


def test_a_host_replaced_by_another_machine_keeps_its_clients() -> None:
    at, client = router(), Browser()
    home = client.visit(at).host
    at.balancer.replace(home, address="10.0.0.9:80")
    assert client.visit(at).host.address == "10.0.0.9:80"
    assert client.moves == 0
