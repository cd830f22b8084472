"""Addresses: host and port from text, and whether a host is this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.net import is_loopback, join_address, parse_address, split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:80", "::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("web1", "web1", None),
        ("[::1]", "::1", None),
        ("web1:0", "web1", 0),
    ],
)
def test_host_and_port_of_an_address(text: str, host: str, port: int | None) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":80", "web1:", "web1:65536", "web1:١", "::1", "[::1", "a b:80", "u@h:80", "h:80/x"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the caller words the message
        split_address(text)
    with pytest.raises(ConfigError, match=r"^listen must be ADDRESS:PORT") as caught:
        parse_address(text, option="listen")
    assert caught.value.option == "listen"


def test_a_port_is_required_unless_there_is_a_default() -> None:
    assert parse_address("etcd1", default_port=2379) == ("etcd1", 2379)
    assert parse_address("web1:0", any_port=True) == ("web1", 0)
    for text in ("web1", "web1:0", None, 8080):
        with pytest.raises(ConfigError):
            parse_address(text)


@given(st.text(max_size=30))
def test_every_text_is_an_address_or_refused(text: str) -> None:
    try:
        host, port = parse_address(text)
    except ConfigError:
        return
    assert parse_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.evil.org", False),
        ("127.0.0.1.evil.org", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_loopback(host) is local
