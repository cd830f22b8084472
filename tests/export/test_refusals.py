"""What a proxy cannot do is refused, in one line that says what would have to change."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hashring.affinity.identity import IdentitySource, json_field, prompt_prefix
from hashring.errors import ConfigError
from hashring.export import Bridge, Checks, Routing, export
from hashring.hosts import Host
from hashring.placement import create, module, names

HOSTS = [Host(f"10.0.0.{number}:80", id=number) for number in range(1, 6)]
SPEAKS = {
    "envoy": ["envoy-maglev", "envoy-ring"],
    "haproxy": ["haproxy-consistent", "haproxy-map"],
    "nginx": ["nginx-consistent", "nginx-hash", "nginx-ip-hash"],
}
BY_HEADER = ["header:x-session"]


def refused(proxy: str, routing: Routing) -> str:
    with pytest.raises(ConfigError) as caught:
        export(proxy, routing)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("proxy", SPEAKS)
@pytest.mark.parametrize("placement", names())
def test_an_unsupported_placement_is_refused_with_its_cost(proxy: str, placement: str) -> None:
    by = ["address"] if placement == "nginx-ip-hash" else BY_HEADER
    routing = Routing(HOSTS, placement, identity=by)
    if proxy in module(placement).EXPORTS:
        assert placement in SPEAKS[proxy]
        assert routing.table.fingerprint in export(proxy, routing)
        return
    said = refused(proxy, routing)
    assert repr(placement) in said
    for spoken in SPEAKS[proxy]:
        assert f"{spoken} (" in said


def test_the_fraction_is_what_really_moves() -> None:
    said = refused("envoy", Routing(HOSTS, "ring", identity=BY_HEADER))
    ring = create("ring", HOSTS)
    for spoken, percent in re.findall(r"(\S+) \(changing to it moves ([0-9.]+) %", said):
        other = create(spoken, HOSTS)
        keys = [f"client {number}" for number in range(20_000)]
        moved = sum(ring.lookup(key) != other.lookup(key) for key in keys) / len(keys)
        # 2,000 keys are sampled: one standard deviation of 80 % is 0.9 %, and this is over five
        assert abs(moved - float(percent) / 100) < 0.05
    assert len(re.findall("changing to it", said)) == 2


def test_grpc_s_ring_is_envoy_s_and_changing_moves_no_client() -> None:
    said = refused("envoy", Routing(HOSTS, "grpc-ring", identity=BY_HEADER))
    assert "envoy-ring (changing to it moves 0.0 % of the clients)" in said


def test_a_placement_that_these_hosts_cannot_have_has_its_reason() -> None:
    said = refused("haproxy", Routing({"10.0.0.1:80": 0.5}, "ring", identity=BY_HEADER))
    assert "not with these hosts" in said
    assert "a whole number from 1 to 256, got 0.5" in said


@pytest.mark.parametrize("proxy", SPEAKS)
def test_a_keyed_pool_is_refused(proxy: str) -> None:
    routing = Routing(HOSTS, "ring", {"key_secret": b"a secret of 16 bytes"}, identity=BY_HEADER)
    said = refused(proxy, routing)
    assert "keyed" in said
    assert "a secret of 16" not in said


class Own(IdentitySource):
    def find(self, fields: Any, body: bytes) -> str | None:
        return None


@pytest.mark.parametrize("proxy", SPEAKS)
@pytest.mark.parametrize(
    "place",
    [
        *json_field("user.id").places,
        *prompt_prefix().places,
        *Own().places,
        "token",
        "header:",
        "address:x",
        "path:one",
        "path:",
        "",
    ],
)
def test_an_identity_that_no_proxy_reads_is_refused(proxy: str, place: str) -> None:
    placement = SPEAKS[proxy][0]
    said = refused(proxy, Routing(HOSTS, placement, identity=["header:x", place]))
    assert f"cannot read a client ID from {place!r}; it reads address, cookie:NAME" in said


def test_the_refusal_of_tokens_names_their_clients() -> None:
    said = refused("envoy", Routing(HOSTS, "envoy-ring", identity=["token", "header:x"]))
    assert "go to their owners" in said


@pytest.mark.parametrize("proxy", SPEAKS)
def test_without_an_identity_there_is_nothing_to_hash(proxy: str) -> None:
    assert "have no client ID" in refused(proxy, Routing(HOSTS, SPEAKS[proxy][0]))


@pytest.mark.parametrize(
    ("proxy", "placement", "options"),
    [
        ("nginx", "nginx-ip-hash", {}),
        ("haproxy", "haproxy-map", {"balance": "source"}),
        ("haproxy", "haproxy-consistent", {"balance": "source"}),
    ],
)
def test_what_hashes_addresses_takes_no_other_id(
    proxy: str, placement: str, options: dict[str, Any]
) -> None:
    said = refused(proxy, Routing(HOSTS, placement, options, identity=BY_HEADER))
    assert "hashes the client's address" in said


@pytest.mark.parametrize("name", ["web1", "web1:81", "web 1:80", "web1:80;"])
def test_nginx_refuses_a_name_by_which_it_cannot_connect(name: str) -> None:
    hosts = [Host(name, address="10.0.0.1:8080"), Host("10.0.0.2:8080")]
    said = refused("nginx", Routing(hosts, "nginx-consistent", identity=BY_HEADER))
    assert ":8080' and let that resolve" in said


@pytest.mark.parametrize("name", ["10.0.0.9:8080", "10.0.0.1:80", "[::1]:8080", "unix:8080"])
def test_nginx_refuses_a_name_that_is_another_address(name: str) -> None:
    hosts = [Host(name, address="10.0.0.1:8080"), Host("10.0.0.2:8080")]
    said = refused("nginx", Routing(hosts, "nginx-consistent", identity=BY_HEADER))
    assert f"would connect to {name} where the pool has 10.0.0.1:8080" in said


@pytest.mark.parametrize(
    ("name", "address"), [("10.0.0.1", "10.0.0.1:80"), ("[0:0::1]:81", "[::1]:81")]
)
def test_an_address_spelled_in_another_way_is_the_same_to_nginx(name: str, address: str) -> None:
    routing = Routing([Host(name, address=address)], "nginx-consistent", identity=BY_HEADER)
    assert f"    server {name} weight=1 " in export("nginx", routing)


def test_a_name_without_a_port_is_port_80_to_nginx() -> None:
    hosts = [Host("web1", address="10.0.0.1:80"), Host("10.0.0.2:8080")]
    text = export("nginx", Routing(hosts, "nginx-consistent", identity=BY_HEADER))
    assert "\n    server web1 weight=1 " in text
    assert "web1 must resolve to the address of 10.0.0.1:80" in text


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
@pytest.mark.parametrize("place", ["header:a;b", "cookie:$x", 'query:"', "query:a b"])
def test_no_name_can_write_a_line_of_its_own(proxy: str, place: str) -> None:
    refused(proxy, Routing(HOSTS, SPEAKS[proxy][0], identity=[place]))


def test_no_host_can_either() -> None:
    with pytest.raises(ConfigError, match="printable"):
        Routing([Host("a\nb", address="10.0.0.1:80")], "ring")
    for address in ("10.0.0.1", "10.0.0.1:80 backup", "10.0.0.1:0", "10.0.0.1:99999", "a;b:80"):
        with pytest.raises(ConfigError, match="ADDRESS:PORT"):
            Routing([Host("a", address=address)], "ring")
    with pytest.raises(ConfigError, match="ADDRESS:PORT"):
        Routing(HOSTS, "ring", listen="everywhere")


@pytest.mark.parametrize("proxy", SPEAKS)
def test_only_networks_are_trusted(proxy: str) -> None:
    routing = Routing(HOSTS, SPEAKS[proxy][0], identity=["address"], trusted=["10.0.0.0/8; evil"])
    assert "trusts networks" in refused(proxy, routing)


def test_a_text_is_not_several() -> None:
    with pytest.raises(ConfigError, match="identity takes several"):
        Routing(HOSTS, "ring", identity="header:x")
    with pytest.raises(ConfigError, match="trusted takes several"):
        Routing(HOSTS, "ring", trusted="10.0.0.0/8")


def test_bridges_that_cannot_be() -> None:
    assert "no sticky cookie" in refused("envoy", Routing(HOSTS, "ring", bridge=Bridge()))
    assert "needs a key" in refused("haproxy", Routing(HOSTS, "ring", bridge=Bridge()))
    named = Routing([Host("a", address="web.example:80")], "ring", bridge=Bridge(key="k"))
    for proxy in ("haproxy", "nginx"):
        assert "cookie is of an IP address" in refused(proxy, named)
    for cookie, key in (("a;b", ""), ("", ""), ("a", "k k")):
        with pytest.raises(ConfigError):
            Bridge(cookie, key)


def test_an_empty_pool_and_an_unknown_proxy() -> None:
    with pytest.raises(ConfigError, match="no host"):
        Routing([], "ring")
    assert "the proxies are caddy, envoy, haproxy, nginx, traefik" in refused(
        "apache", Routing(HOSTS, "ring")
    )


def test_caddy_and_traefik_refuse_what_they_cannot_do() -> None:
    hosts = ["10.0.0.1:80", "10.0.0.2:80"]
    two = Routing(hosts, "caddy-hrw", identity=["header:x", "address"])
    assert "Caddy hashes one identity, got 2" in refused("caddy", two)
    cookie = Routing(hosts, "caddy-hrw", identity=["cookie:sid"])
    assert "cannot read a client ID from 'cookie:sid'" in refused("caddy", cookie)
    named = Routing([Host("web1", address="10.0.0.1:80")], "caddy-hrw", identity=["address"])
    assert "use it as the name" in refused("caddy", named)
    assert "use it as the name" in refused(
        "traefik", Routing(hosts, "traefik-hrw", identity=["address"])
    )
    urls = [Host("http://10.0.0.1:80", address="10.0.0.1:80")]
    trusted = Routing(urls, "traefik-hrw", identity=["address"], trusted=["10.0.0.0/8"])
    assert "hashes the address of the peer" in refused("traefik", trusted)
    for text in ("a b", "a{b", 'a"b', "a\nb", "a#b"):
        place = Routing(hosts, "caddy-hrw", identity=[f"header:{text}"])
        assert "misread the name" in refused("caddy", place)
        probe = Routing(hosts, "caddy-hrw", identity=["address"], checks=Checks("http", f"/{text}"))
        assert "misread the path" in refused("caddy", probe)
