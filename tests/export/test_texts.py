"""Do the parts of the files mean what Python means?  Ids, patterns, cookies, fingerprints."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hashring import LoadBalancer, placement
from hashring.affinity._cookies import cookie_values
from hashring.affinity.identity import (
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    path_part,
    prompt_prefix,
    query,
)
from hashring.export import Routing, export, haproxy_cookie, nginx_cookie
from hashring.export.envoy import _path_pattern
from hashring.export.nginx import _reading
from hashring.hosts import Host


def servers(text: str) -> set[str]:
    return {line for line in text.splitlines() if line.lstrip().startswith("server ")}


@pytest.mark.parametrize(
    ("proxy", "name"), [("haproxy", "haproxy-consistent"), ("nginx", "nginx-consistent")]
)
def test_a_host_less_is_a_line_less_and_no_other_line_changes(proxy: str, name: str) -> None:
    hosts = [Host(f"10.0.0.{number}:80", id=number) for number in (4, 2, 9)]
    whole, less = (
        export(proxy, Routing(now, name, identity=["header:x"])) for now in (hosts, hosts[1:])
    )
    assert servers(less) < servers(whole)
    assert len(servers(whole)) - len(servers(less)) == 1


def test_ids_by_position_are_written_out_and_warned_of() -> None:
    hosts = [Host("10.0.0.1:80"), Host("10.0.0.2:80", id=1), Host("10.0.0.3:80")]
    text = export("haproxy", Routing(hosts, "haproxy-consistent", identity=["header:x"]))
    assert [re.findall(r" id (\d+)", line)[0] for line in sorted(servers(text))] == [
        *("2", "1", "4")  # as HAProxy counts: on from the last that it gave
    ]
    said = text.replace("\n# ", " ")
    assert "got one by position: 10.0.0.1:80, 10.0.0.3:80. Write the ids below" in said


def test_the_fingerprint_is_the_balancer_s() -> None:
    hosts = [Host("10.0.0.1:80"), Host("10.0.0.2:80", 2)]
    routing = Routing(hosts, "envoy-maglev", {"table_size": 1009}, identity=["header:x"])
    lb = LoadBalancer(hosts, placement=placement.recipe("envoy-maglev", table_size=1009))
    table, _, state = lb.fingerprint.partition(".")
    assert state == "up"
    assert f"Fingerprint {table}:" in export("envoy", routing)


def test_identity_sources_name_places_for_exports() -> None:
    who = first_of(
        header("X-User"), cookie("sid"), first_of(query("u"), path_part(-1)), client_address()
    )
    assert who.places == ("header:X-User", "cookie:sid", "query:u", "path:-1", "address")
    assert first_of(json_field("a.b"), prompt_prefix()).places == ("json:a.b", "prompt")
    hosts = ["10.0.0.1:80"]
    for proxy, name in (
        ("envoy", "envoy-ring"),
        ("haproxy", "haproxy-map"),
        ("nginx", "nginx-hash"),
    ):
        text = export(proxy, Routing(hosts, name, identity=who.places)).replace("\n# ", " ")
        assert f"by {', then '.join(who.places)}." in text


PART = st.text("ab-%.~", max_size=3)


@given(st.lists(PART, min_size=1, max_size=5), st.integers(-6, 6), st.sampled_from(["", "?a=/b/c"]))
@example(["a", "", "b"], 1, "")
@example(["a", ""], -1, "?x=/")
def test_the_patterns_of_a_path_find_the_part_that_python_finds(
    parts: list[str], number: int, rest: str
) -> None:
    path = "/" + "/".join(parts)
    try:
        ours = parts[number]
    except IndexError:
        ours = None
    whole = re.fullmatch(_path_pattern(str(number)), path + rest)
    assert (whole[1] if whole else None) == ours
    _, pattern = _reading("path", str(number))  # of $uri, which has no query
    found = re.search(pattern.removeprefix("~"), path)
    assert (found[1] if found else None) == ours


VALUES = ["x", '"x"', "x=y", "", '""', " x ", "a b"]
HEADERS = [
    form.format(value)
    for form, value in product(
        ["sid={}", "a=1; sid={}; b=2", "not-sid=z;sid={}", "sid={}; sid=second", "a=sid=1; sid={}"],
        VALUES,
    )
]


@pytest.mark.parametrize("sent", [*HEADERS, "", "sid", "xsid=1", "a=1; b=2"])
def test_the_cookie_pattern_finds_what_python_finds(sent: str) -> None:
    _, pattern = _reading("cookie", "sid")
    found = re.search(pattern.removeprefix("~").replace('\\"', '"'), sent)
    ours = cookie_values(sent, "sid")
    assert (found[1] if found else "") == (ours[0] if ours else "")


def test_a_query_is_found_by_its_whole_name_only() -> None:
    _, pattern = _reading("query", "u")
    search = re.compile(pattern.removeprefix("~")).search
    assert [m and m[1] for m in map(search, ("u=1&u=2", "xu=1", "a=u=1", "a=1&u=", "u"))] == [
        *("1", None, None, "", None)
    ]


def test_cookies_are_of_the_address_and_not_of_the_name() -> None:
    plain, named = "127.0.0.1:9001", Host("web1", address="127.0.0.1:9001")
    assert haproxy_cookie(plain, "k") == haproxy_cookie(named, "k") != haproxy_cookie(plain, "l")
    assert nginx_cookie(plain) == nginx_cookie(named) != nginx_cookie("127.0.0.1:9002")
    assert re.fullmatch("[0-9a-f]{16}", haproxy_cookie("[::1]:80", "k"))
    assert nginx_cookie("[0::1]:80") == nginx_cookie("[::1]:80")


def test_a_bound_of_next_to_nothing_is_one_that_haproxy_takes() -> None:
    routing = Routing(["a:1"], "haproxy-consistent", identity=["header:x"], load_factor=1.001)
    assert "hash-balance-factor 101\n" in export("haproxy", routing)


def test_no_two_servers_of_haproxy_have_one_name() -> None:
    hosts = [Host("host-2", address="a:1", id=1), Host("web 2", address="b:1", id=2)]
    text = export("haproxy", Routing(hosts, "haproxy-consistent", identity=["header:x"]))
    assert "  server host-2 a:1 " in text
    assert "  server host-2- b:1 " in text
