"""Which ID does each proxy see in a request that can be read in more than one way?"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import NamedTuple

import pytest

from hashring.affinity.identity import client_address, cookie, first_of, header, query
from hashring.export import Routing, export
from tests.integrations._exported import PLACEMENTS, Running
from tests.integrations._parity import Parity
from tests.integrations._processes import LOOPBACK, Backends

COUNT = 600
FIRST_OF = first_of(header("X-Session"), cookie("sid"), query("user"))
COOKIES = (
    "sid={}",
    'sid="{}"',
    "a=1; sid=a,{}",
    "sid={}; sid=second",
    "SID=x;  sid={}==",
    "sid=a {}",
)
"""Cookies as browsers, frameworks and old paths make them."""

PROXIES = ("10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4")
BEHIND = client_address([f"{LOOPBACK}/32", "10.1.0.0/16"])


class Spelled(NamedTuple):
    """A target that holds a number, where the ID stands, and the ID that each proxy sees."""

    target: str
    place: str
    envoy: str
    haproxy: str
    nginx: str


# that of HAProxy is Python's in all of them
SPELLED = [
    Spelled("/?user=a%41+{}", "query:user", envoy="a%41+{}", haproxy="aA {}", nginx="a%41+{}"),
    Spelled("/r/a%41{}/x", "path:1", envoy="a%41{}", haproxy="aA{}", nginx="aA{}"),
    Spelled("/r/{}%2Fb/x", "path:1", envoy="{}%2Fb", haproxy="{}/b", nginx="{}"),
    Spelled("/r/{}/../b-{}", "path:1", envoy="{}", haproxy="{}", nginx="b-{}"),
    Spelled("//{}/x", "path:1", envoy="{}", haproxy="{}", nginx="{}"),
]


def bodies(
    port: int, requests: Iterable[tuple[str, str, Mapping[str, str]]]
) -> dict[str, str | None]:
    """The answer to each request of a key, a target and fields."""
    answers: dict[str, str | None] = {}
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=20)) as connection:
        for key, target, fields in requests:
            connection.request("GET", target, headers=dict(fields))
            answers[key] = connection.getresponse().read().decode()
    return answers


@pytest.mark.parametrize("proxy", PLACEMENTS)
@pytest.mark.parametrize("spelled", SPELLED, ids=lambda spelled: spelled.target)
def test_an_encoded_id_is_what_the_page_states(
    proxy: str,
    spelled: Spelled,
    start: Callable[[str], Running],
    http_backends: Backends,
    parity: Parity,
) -> None:
    started = start(proxy)
    addresses = http_backends.addresses
    routing = Routing(addresses, PLACEMENTS[proxy], identity=[spelled.place], listen=started.listen)
    started.start(export(proxy, routing))
    seen = str(getattr(spelled, proxy))
    targets = {
        seen.replace("{}", str(n)): spelled.target.replace("{}", str(n)) for n in range(COUNT)
    }
    answers = bodies(started.port, ((key, target, {}) for key, target in targets.items()))
    case = f"{spelled.target} is {seen}"
    parity.agrees(started.version, routing.placement, case, answers, routing.table.lookup)


def placed(number: int, *, empty: bool) -> tuple[str, dict[str, str]]:
    """A request with an ID in one of three places, and others behind it."""
    sent = COOKIES[number // 3 % len(COOKIES)].format(number)
    fields = {"Cookie": sent if number % 3 != 2 else "theme=dark"}
    if number % 3 == 0:
        fields["X-Session"] = f"in-header-{number}"
    elif empty:
        fields["X-Session"] = ""  # there, and nobody's
    return f"/?user=in-query-{number}", fields


@pytest.mark.parametrize("proxy", PLACEMENTS)
def test_the_first_id_counts_however_its_cookie_is_spelled(
    proxy: str, start: Callable[[str], Running], http_backends: Backends, parity: Parity
) -> None:
    started = start(proxy)
    addresses = http_backends.addresses
    routing = Routing(addresses, PLACEMENTS[proxy], identity=FIRST_OF.places, listen=started.listen)
    started.start(export(proxy, routing))
    requests, owners = [], {}
    for number in range(COUNT):
        # Envoy hashes the empty value: the page says so
        target, fields = placed(number, empty=proxy != "envoy")
        who = FIRST_OF({"headers": fields, "query_string": target.partition("?")[2]})
        assert who is not None
        requests.append((f"{number} {who}", target, fields))
        owners[f"{number} {who}"] = routing.table.lookup(who)
    answers = bodies(started.port, requests)
    case = "the first of three places"
    parity.agrees(started.version, routing.placement, case, answers, owners.get)


@pytest.mark.parametrize("proxy", PLACEMENTS)
def test_the_client_behind_proxies_is_the_one_python_sees(
    proxy: str, start: Callable[[str], Running], http_backends: Backends, parity: Parity
) -> None:
    started = start(proxy)
    routing = Routing(
        http_backends.addresses,
        PLACEMENTS[proxy],
        identity=BEHIND.places,
        listen=started.listen,
        trusted=[f"{LOOPBACK}/32", "10.1.0.0/16"],
    )
    started.start(export(proxy, routing))
    requests, owners = [], {}
    for number in range(COUNT):
        client = f"203.0.{number >> 8}.{number & 255}"
        # a client wrote the first of them
        said = ", ".join(["198.51.100.7", client, *PROXIES[: number % (len(PROXIES) + 1)]])
        fields = {"X-Forwarded-For": said}
        assert BEHIND({"client": (LOOPBACK, 1), "headers": fields}) == client
        requests.append((client, "/", fields))
        owners[client] = routing.table.lookup(client)
    answers = bodies(started.port, requests)
    case = "address behind up to five proxies"
    parity.agrees(started.version, routing.placement, case, answers, owners.get)


@pytest.mark.parametrize("proxy", PLACEMENTS)
def test_no_one_else_chooses_a_host_by_a_forged_address(
    proxy: str, start: Callable[[str], Running], http_backends: Backends
) -> None:
    started = start(proxy)
    routing = Routing(
        http_backends.addresses,
        PLACEMENTS[proxy],
        identity=client_address().places,
        listen=started.listen,
    )
    started.start(export(proxy, routing))
    forged = [f"203.0.113.{number}" for number in range(50)]
    assert len(set(map(routing.table.lookup, forged))) > 1
    answers = bodies(started.port, ((it, "/", {"X-Forwarded-For": it}) for it in forged))
    assert set(answers.values()) == {routing.table.lookup(LOOPBACK)}
