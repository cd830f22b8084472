"""Who is the client behind proxies, of which only some may be accepted?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import TrustedProxies, Unusable, client_address
from hashring.affinity.identity._address import node_address
from tests.affinity.requests import FORMS, asgi

Form = Callable[..., dict[str, Any]]
every_form = pytest.mark.parametrize("form", FORMS)
TRUSTED = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def seen(form: Form, *headers: tuple[str, str], peer: str | None = "10.0.0.1") -> str | None:
    return client_address(TRUSTED)(form(*headers, client=peer))


@every_form
def test_strangers_are_not_accepted(form: Form) -> None:
    forged = (("X-Forwarded-For", "8.8.8.8"), ("Forwarded", "for=8.8.8.8"))
    assert seen(form, *forged, peer="192.0.2.7") == "192.0.2.7"
    assert client_address()(form(*forged, client="10.0.0.1")) == "10.0.0.1"


@every_form
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"),  # what the client wrote stands left of what is true
        ("6.6.6.6, 192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("192.0.2.7,10.0.0.2,2001:db8:ffff::9", "192.0.2.7"),
        ("10.0.0.2, 10.0.0.3", "10.0.0.2"),  # a client inside
        (" , 192.0.2.7,, 10.0.0.2 ,", "192.0.2.7"),
        (",", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("192.0.2.7:5000", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, ::ffff:10.0.0.3", "192.0.2.7"),
        ("unknown, 10.0.0.2", None),
        ("192.0.2.7, unknown", None),
        ("192.0.2.7, rubbish, 10.0.0.2", None),
        ("rubbish, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7.8", None),
        ("192.0.2.07", None),
        ("x" * 5_000, None),
    ],
)
def test_x_forwarded_for(form: Form, sent: str, found: str | None) -> None:
    assert seen(form, ("X-Forwarded-For", sent)) == found


@every_form
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ("proto=https ; for=192.0.2.7", "192.0.2.7"),
        ('for="192.0.2.7:80"', "192.0.2.7"),
        ('for="[2001:db8::1]:443"', "2001:db8::1"),
        ('for="[2001:db8::1]:_port"', "2001:db8::1"),
        ('for="\\1\\92.0.2.7"', "192.0.2.7"),
        ("for=6.6.6.6, for=192.0.2.7, for=10.0.0.2", "192.0.2.7"),
        ('for="6.6.6.6, for=7.7.7.7", for=192.0.2.7', "192.0.2.7"),
        ('by="a,b;c";for=192.0.2.7', "192.0.2.7"),
        (",, for=192.0.2.7 ,", "192.0.2.7"),
        ("for=unknown", None),
        ("for=_hidden", None),
        ("for=192.0.2.7, proto=https", None),  # the proxy next to us does not say for whom
        ("for=1.1.1.1;for=192.0.2.7", None),
        ('for="192.0.2.7', None),
        ('for=", for=192.0.2.7', None),
        ("192.0.2.7", None),
        ("for=[2001:db8::1]", None),  # brackets need quotes
        ("", "10.0.0.1"),
    ],
)
def test_forwarded(form: Form, sent: str, found: str | None) -> None:
    assert seen(form, ("Forwarded", sent)) == found


@pytest.mark.parametrize(
    ("network", "peer", "trusted"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "::ffff:10.255.0.1", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::ffff:10.0.0.7", "::ffff:10.0.0.7", True),
        ("::ffff:10.0.0.7", "10.0.0.8", False),
        ("::/0", "10.0.0.1", False),
    ],
)
def test_proxies_named_by_ipv4_inside_ipv6(network: str, peer: str, trusted: bool) -> None:
    assert TrustedProxies([network]).trusts(peer) is trusted


@every_form
def test_several_headers_are_one_list(form: Form) -> None:
    assert seen(form, ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.7")) == (
        "192.0.2.7"
    )
    assert seen(form, ("Forwarded", "for=192.0.2.7"), ("Forwarded", "for=10.0.0.2")) == "192.0.2.7"


@every_form
def test_where_the_two_headers_disagree_no_header_is_accepted(form: Form) -> None:
    both = (("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "192.0.2.7"))
    request = form(*both, client="10.0.0.1")
    source = client_address(TRUSTED)
    assert source(request) is None
    assert source.stats["ambiguous"] == 1
    assert client_address(TRUSTED, headers="forwarded")(request) == "6.6.6.6"
    assert client_address(TRUSTED, headers="x-forwarded-for")(request) == "192.0.2.7"
    agreed = (("Forwarded", "for=192.0.2.7"), ("X-Forwarded-For", "192.0.2.7, 10.0.0.3"))
    assert seen(form, *agreed) == "192.0.2.7"


@every_form
def test_a_unix_socket_has_no_address(form: Form) -> None:
    told = ("X-Forwarded-For", "192.0.2.7")
    assert seen(form, told, peer=None) is None
    assert client_address(["unix"])(form(told, client=None)) == "192.0.2.7"
    assert client_address(["unix"])(form(client=None)) is None
    assert client_address(["unix"])(form(told, client="10.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize("peer", ["testclient", "unix:", "10.0.0.1.example"])
def test_a_peer_without_an_address_is_counted(peer: str) -> None:
    source = client_address(TRUSTED)
    assert source(asgi(client=peer)) is None
    assert source.stats["undecodable"] == 1


@every_form
@pytest.mark.parametrize(
    ("sent", "peer", "scheme", "secure"),
    [
        (None, "10.0.0.1", "http", False),
        (None, "10.0.0.1", "https", True),
        ("https", "10.0.0.1", "http", True),
        ("HTTPS ", "10.0.0.1", "http", True),
        ("wss", "10.0.0.1", "http", True),
        ("http", "10.0.0.1", "https", False),
        ("https, http", "10.0.0.1", "http", False),
        ("http, https", "10.0.0.1", "http", True),
        ("https", "192.0.2.7", "http", False),
        ("http", "192.0.2.7", "https", True),
    ],
)
def test_tls(form: Form, sent: str | None, peer: str, scheme: str, secure: bool) -> None:
    headers = [("X-Forwarded-Proto", sent)] if sent else []
    proxies = TrustedProxies(TRUSTED)
    assert proxies.tls(form(*headers, client=peer, scheme=scheme)) is secure


def test_web_sockets_over_tls() -> None:
    assert TrustedProxies([]).tls(asgi(scheme="wss"))
    assert not TrustedProxies([]).tls(asgi(scheme="ws"))


def test_client_states_why_it_does_not_know() -> None:
    with pytest.raises(Unusable, match="undecodable"):
        TrustedProxies(TRUSTED).client(asgi(("X-Forwarded-For", "unknown"), client="10.0.0.1"))


def hops() -> st.SearchStrategy[list[str]]:
    return st.lists(st.ip_addresses().map(str), min_size=1, max_size=5)


@given(hops(), st.ip_addresses(), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_what_the_client_wrote_changes_nothing(forged: list[str], real: Any, name: str) -> None:
    def spelled(node: str) -> str:
        if name == "x-forwarded-for":
            return node
        return f'for="[{node}]"' if ":" in node else f"for={node}"

    source = client_address(["10.0.0.0/8"])
    true = [spelled(str(real)), spelled("10.0.0.7")]
    alone = source(asgi((name, ", ".join(true)), client="10.0.0.1"))
    mixed = source(asgi((name, ", ".join([*map(spelled, forged), *true])), client="10.0.0.1"))
    inside = str(real).startswith("10.")
    assert inside or alone == mixed == node_address(str(real))


@pytest.mark.parametrize(
    "node",
    ["", " ", "[", "]", "[]", "[::1", "::1]", "[::1]x", "[::1]:", "[1.2.3.4]", "1.2.3.4:", ":80",
     "1.2.3.4:x", "1.2.3.4:123456", "1.2.3.4%eth0", "1.2.3", "1.2.3.4.5", "1.2.3.256", "a.b.c.d",
     "::g", ":::", "1::2::3", "0x7f.1", "2130706433", "１.2.3.4", "unknown", "_x", "%", "::%\n"],
)  # fmt: skip
def test_nodes_that_are_not_address(node: str) -> None:
    assert node_address(node) is None


@pytest.mark.parametrize("part", ["; ", " ;\t ", 'a="\\', 'a="b";', "a=b; ", ",;", '"', "for=a;"])
def test_long_headers_are_read_to_their_end(part: str) -> None:
    # an expression that tries one split of the spaces after another never comes back from these
    told = []
    for end in ("", "x", '"', "=", "for=192.0.2.7"):
        source = client_address(TRUSTED, headers="forwarded")
        told.append(source(asgi(("Forwarded", part * 10_000 + end), client="10.0.0.1")))
        assert told[-1] in ("10.0.0.1", "192.0.2.7") or source.stats["undecodable"] == 1
    assert None in told
