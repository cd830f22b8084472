"""Does a source find the same client in every form of a request, and nobody where there is none?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import LoadBalancer
from hashring.affinity import (
    IdentitySource,
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    path_part,
    prompt_prefix,
    query,
)
from hashring.errors import ConfigError
from tests.affinity.requests import FORMS, asgi, plain, wsgi

Form = Callable[..., dict[str, Any]]
every_form = pytest.mark.parametrize("form", FORMS)


def reasons(source: IdentitySource) -> dict[str, int]:
    return {name: count for name, count in source.stats.items() if count}


# -- named parts -----------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("sid=ann", "ann"),
        ("a=1; sid=ann; b=2", "ann"),
        ("a=1;sid=ann", "ann"),
        ("sid =ann ; b", "ann"),
        ('sid="ann"', "ann"),
        ('sid="', '"'),
        ('sid="a"b"', 'a"b'),
        ("sid=a=b==", "a=b=="),
        ("sid=a%20b", "a%20b"),
        ("sid=first; sid=second", "first"),
        ("sid=é☃", "é☃"),
        ("xsid=1; sid2=2; SID=3; sid", None),
        ("", None),
        (";;;=;", None),
    ],
)
def test_cookie(form: Form, sent: str, found: str | None) -> None:
    assert cookie("sid")(form(("Cookie", sent))) == found


@every_form
def test_cookies_may_come_in_several_headers(form: Form) -> None:
    assert cookie("sid")(form(("Cookie", "a=1"), ("Cookie", "sid=ann"))) == "ann"


@every_form
@pytest.mark.parametrize(
    ("sent", "found"), [("ann", "ann"), ("  ann\t", "ann"), ("é", "é"), ("a,b", "a,b")]
)
def test_header(form: Form, sent: str, found: str) -> None:
    source = header("X-User")
    assert source(form(("x-USER", sent))) == found
    assert source(form(("X-Users", sent), ("User", sent))) is None


@pytest.mark.parametrize("form", [asgi, plain])
def test_a_header_given_twice(form: Form) -> None:
    source = header("X-User")
    assert source(form(("X-User", "ann"), ("X-User", "ann"))) == "ann"
    assert source(form(("X-User", "ann"), ("X-User", "bob"))) is None
    assert reasons(source) == {"ambiguous": 1}


@every_form
@pytest.mark.parametrize(
    ("sent", "found", "why"),
    [
        ("id=ann", "ann", None),
        ("a=1&id=ann&b=2", "ann", None),
        ("id=a%20b+c", "a b c", None),
        ("id=%C3%A9", "é", None),
        ("i%64=ann", "ann", None),
        ("id=ann&id=ann", "ann", None),
        ("id=ann&id=bob", None, "ambiguous"),
        ("id=ann&id=%61nn", "ann", None),
        ("id=a%2", None, "undecodable"),
        ("id=a%zz", None, "undecodable"),
        ("id=%FF", None, "undecodable"),
        ("id=%ED%A0%BD", None, "undecodable"),
        ("id=", None, "empty"),
        ("id", None, "empty"),
        ("", None, None),
        ("idx=1&xid=2&ID=3&%zz=4", None, None),
    ],
)
def test_query(form: Form, sent: str, found: str | None, why: str | None) -> None:
    source = query("id")
    assert source(form(query=sent)) == found
    assert reasons(source) == ({why: 1} if why else {})


@every_form
@pytest.mark.parametrize(
    ("path", "number", "found"),
    [
        ("/rooms/42/join", 1, "42"),
        ("/rooms/42/join", -2, "42"),
        ("/rooms/42", 2, None),
        ("/rooms/42", -3, None),
        ("/rooms//42", 1, None),
        ("/", 0, None),
        ("/a%20b/c", 0, "a b"),
        ("/%C3%A9", 0, "é"),
    ],
)
def test_path_part(form: Form, path: str, number: int, found: str | None) -> None:
    assert path_part(number)(form(path=path)) == found


def test_an_encoded_slash_is_inside_a_part_of_a_raw_path() -> None:
    assert path_part(0)(asgi(path="/a%2Fb")) == "a/b"
    assert path_part(0)(wsgi(path="/a%2Fb")) == "a"
    assert path_part(0)({"path": "/a%2Fb"}) == "a%2Fb"
    assert path_part(1)({"path": b"/a/b"}) == "b"


# -- no ID is one too few; a bad one too -----------------------------------------------------------


@every_form
@pytest.mark.parametrize(
    ("sent", "why"),
    [("x" * 256, None), ("x" * 257, "too_long"), ("é" * 128, None), ("é" * 129, "too_long")],
)
def test_ids_over_256_bytes(form: Form, sent: str, why: str | None) -> None:
    for source, request in (
        (header("x-user"), form(("X-User", sent))),
        (cookie("sid"), form(("Cookie", f"sid={sent}"))),
    ):
        assert source(request) == (None if why else sent)
        assert reasons(source) == ({why: 1} if why else {})


@every_form
def test_empty_ids(form: Form) -> None:
    for source, request in (
        (header("x-user"), form(("X-User", " "))),
        (cookie("sid"), form(("Cookie", 'a=1; sid=""'))),
        (path_part(0), form(path="//a")),
    ):
        assert source(request) is None
        assert reasons(source) == {"empty": 1}


def test_bytes_that_are_not_text() -> None:
    source = header("x-user")
    requests: list[Any] = [
        {"asgi": {}, "headers": [(b"x-user", b"\xff")]},
        {"REQUEST_METHOD": "GET", "HTTP_X_USER": "\xff"},
        {"headers": {"X-User": "\ud83d"}},
        {"headers": {b"X-User": b"\xff"}},
    ]
    assert [source(request) for request in requests] == [None] * 4
    assert reasons(source) == {"undecodable": 4}


def test_nothing_there_is_not_counted() -> None:
    sources = [cookie("a"), header("a"), query("a"), path_part(9), json_field("a")]
    for source in sources:
        assert source({}) is None
        assert reasons(source) == {}


@pytest.mark.parametrize("request_", [None, "GET /", [("a", "b")], 7])
def test_what_is_not_a_request(request_: Any) -> None:
    with pytest.raises(ConfigError, match="ASGI scope"):
        header("x-user")(request_)


def test_a_number_is_not_a_header_value() -> None:
    with pytest.raises(ConfigError, match="str or bytes, got 42"):
        header("x-user")({"headers": {"X-User": 42}})


# -- together --------------------------------------------------------------------------------------


@every_form
def test_first_of(form: Form) -> None:
    user, session, address = header("x-user"), cookie("sid"), client_address()
    who = first_of(user, session, address)
    assert who(form(("X-User", "ann"), ("Cookie", "sid=1"))) == "ann"
    assert who(form(("X-User", ""), ("Cookie", "sid=1"))) == "1"
    assert who(form(("X-User", "x" * 999), ("Cookie", "sid="))) == "192.0.2.7"
    assert who(form(client=None)) is None
    assert reasons(who) == {"empty": 2, "too_long": 1}
    assert reasons(user) == {"empty": 1, "too_long": 1}
    assert reasons(session) == {"empty": 1}


def test_first_of_reads_as_much_body_as_its_largest_source() -> None:
    assert first_of(cookie("a"), header("b")).body_limit == 0
    who = first_of(cookie("a"), json_field("b", limit=10), first_of(prompt_prefix(limit=20)))
    assert who.body_limit == 20
    assert who({}, b'{"b": "12"}') is None, "11 bytes are more than the field's own limit"
    assert who({}, b'{"b":"12"}') == "12"


def test_the_id_goes_into_a_balancer() -> None:
    lb, who = LoadBalancer(["a", "b", "c"]), first_of(header("x-user"))
    for form in FORMS:
        assert lb.pick(who(form(("X-User", "é")))) == lb.pick("é")


wrong: list[Callable[[], object]] = [
    lambda: cookie(""),
    lambda: cookie("a b"),
    lambda: header("x:y"),
    lambda: query(""),
    lambda: path_part("1"),  # type: ignore[arg-type]  # that is what is wrong
    lambda: path_part(True),
    lambda: json_field(""),
    lambda: json_field("a..b"),
    lambda: json_field("a", limit=0),
    lambda: prompt_prefix(limit=True),
    lambda: prompt_prefix(characters=0),
    first_of,
    lambda: first_of("x-user"),  # type: ignore[arg-type]  # as above
    lambda: client_address("10.0.0.0/8"),
    lambda: client_address(["10.0.0.1/8"]),
    lambda: client_address(["proxy"]),
    lambda: client_address([None]),  # type: ignore[list-item]  # as above
    lambda: client_address(headers="x-real-ip"),  # type: ignore[arg-type]  # as above
]


@pytest.mark.parametrize("make", wrong)
def test_sources_that_cannot_be(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_what_sources_look_like() -> None:
    who = first_of(cookie("a"), header("B"), query("c"), path_part(1), json_field("d.e"))
    shown = "cookie('a'), header('B'), query('c'), path_part(1), json_field('d.e')"
    assert repr(who) == f"first_of({shown})"
    assert repr(client_address(["unix", "::1"])) == (
        "client_address(TrustedProxies(['::1/128', 'unix']))"
    )
    assert repr(prompt_prefix()) == "prompt_prefix()"


SENT = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.text('ab=;,%"\\[]:. _5f/&+', max_size=60),
)


@given(SENT, SENT, SENT, st.binary(max_size=60))
def test_no_request_is_an_error(one: str, two: str, three: str, body: bytes) -> None:
    who = [
        cookie("a"),
        header("x-user"),
        query("a"),
        path_part(0),
        client_address(["10.0.0.0/8"]),
        json_field("a"),
        prompt_prefix(),
    ]
    headers = [
        (b"cookie", one), (b"x-user", two), (b"forwarded", one), (b"forwarded", two),
        (b"x-forwarded-for", three), (b"x-forwarded-proto", one),
    ]  # fmt: skip
    scope = {
        "asgi": {},
        "headers": [(name, value.encode("latin-1")) for name, value in headers],
        "raw_path": two.encode("latin-1"),
        "query_string": three.encode("latin-1"),
        "client": ("10.0.0.1", 1),
    }
    for source in who:
        found = source(scope, body)
        assert found is None or 0 < len(found.encode()) <= 256
