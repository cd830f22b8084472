"""A WSGI application on several hosts, behind a balancer that knows no sessions."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import pytest

from hashring import ConfigError, Host, LoadBalancer
from hashring.affinity import header
from hashring.integrations.wsgi import WsgiStickyMiddleware

LOOPBACK = "127.0.0.1"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    placed = environ["hashring"]
    return [f"{placed.client_id} {placed.owner} {placed.is_owner}".encode()]


@contextmanager
def hosts(**options: Any) -> Iterator[tuple[LoadBalancer, dict[str, str]]]:
    """Three hosts, each with the middleware and one list of hosts: the balancer, addresses."""
    lb = LoadBalancer()
    servers: dict[str, WSGIServer] = {}
    for name in ("web1", "web2", "web3"):
        app = WsgiStickyMiddleware(application, lb, me=name, **options)
        servers[name] = make_server(LOOPBACK, 0, validator(app), handler_class=Quiet)
    addresses = {name: f"{LOOPBACK}:{server.server_port}" for name, server in servers.items()}
    lb.set_hosts([Host(name, address=address) for name, address in addresses.items()])
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers.values()
    ]
    for thread in threads:
        thread.start()
    try:
        yield lb, addresses
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def ask(address: str, path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, {k.lower(): v for k, v in response.getheaders()}


def test_a_new_client_stays_where_it_came_first() -> None:
    with hosts() as (lb, addresses):
        for name, address in addresses.items():
            status, text, headers = ask(address)
            cookie, _, attributes = headers["set-cookie"].partition("; ")
            client = cookie.removeprefix("hashring=")
            assert (status, text) == (200, f"{client} {name} True")
            assert attributes == "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
            assert lb.pick(client).name == name
            _, text, headers = ask(address, Cookie=f"a=b; {cookie}")
            assert text == f"{client} {name} True"
            assert "set-cookie" not in headers


def test_a_request_of_another_host_is_redirected() -> None:
    with hosts(identity=header("x-user")) as (lb, addresses):
        owner = lb.pick("ann")
        other = next(address for name, address in addresses.items() if name != owner.name)
        status, _, headers = ask(other, "/caf%C3%A9%20x?q=%2F&r", **{"X-User": "ann"})
        assert status == 307
        assert headers["location"] == f"http://{owner.address}/caf%C3%A9%20x?q=%2F&r"
        _, text, _ = ask(owner.address, "/", **{"X-User": "ann"})
        assert text == f"ann {owner.name} True"


def test_a_platform_s_proxy_replays_it_or_it_is_served_here() -> None:
    with hosts(identity=header("x-user"), on_other="replay") as (lb, addresses):
        owner = lb.pick("ann").name
        other = next(address for name, address in addresses.items() if name != owner)
        status, _, headers = ask(other, "/", **{"X-User": "ann"})
        assert (status, headers["fly-replay"]) == (409, f"instance={owner}")
    with hosts(identity=header("x-user"), on_other="serve") as (lb, addresses):
        other = next(address for name, address in addresses.items() if name != owner)
        assert ask(other, "/", **{"X-User": "ann"})[1] == f"ann {owner} False"


@pytest.mark.parametrize(
    "options",
    [
        {"on_other": "forward"},
        {"me": ""},
        {"me": None},
        {"secure": "yes"},
        {"cookie_name": None},
        {"cookie_name": "a b"},
    ],
    ids=str,
)
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    option = next(iter(options))
    wrong = {"cookie_name": "cookie|identity"}.get(option, option)
    given: dict[str, Any] = {"me": "web1", **options}
    with pytest.raises(ConfigError, match=wrong):
        WsgiStickyMiddleware(application, LoadBalancer(), **given)
