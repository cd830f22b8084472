"""``X-Forwarded-*`` and ``Forwarded``: new ones for a client, extended ones of a trusted proxy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

Pairs: TypeAlias = tuple[tuple[str, str], ...]


def _node(peer: str) -> str:
    """An address as RFC 7239 wants it.

    >>> _node("192.0.2.1"), _node("::1"), _node("")
    ('192.0.2.1', '"[::1]"', 'unknown')
    """
    return f'"[{peer}]"' if ":" in peer else peer or "unknown"


def _element(peer: str, host: str, scheme: str) -> str:
    # a host's port needs quotes; a host that was checked holds none itself
    shown = host.replace("\\", "").replace('"', "")
    named = f'host="{shown}";' if shown else ""
    return f"for={_node(peer)};{named}proto={scheme}"


@lru_cache(4096)  # few clients send each request from another address: 3 us are 0.1 us then
def new_forwarded(peer: str, host: str, scheme: str) -> Pairs:
    """The headers for a client that is not trusted; ``peer`` is its address, ``""`` for none.

    ``host`` is ``""`` for a client that named none: an empty header would be a name to a host.

    >>> dict(new_forwarded("192.0.2.1", "example.org", "http"))["x-forwarded-for"]
    '192.0.2.1'
    """
    named = (("x-forwarded-host", host),) if host else ()
    return (
        ("x-forwarded-for", peer or "unknown"),
        ("x-forwarded-proto", scheme),
        *named,
        ("forwarded", _element(peer, host, scheme)),
    )


@lru_cache(4096)
def encode_forwarded(peer: str, host: bytes | None, scheme: str) -> bytes:
    """The lines of ``new_forwarded``.

    >>> encode_forwarded("192.0.2.1", None, "http").splitlines()[0]
    b'x-forwarded-for: 192.0.2.1'
    """
    return _encode(new_forwarded(peer, (host or b"").decode("ascii"), scheme))


def _encode(pairs: Pairs) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in pairs]).encode("latin-1")


def encode_extended(given: Mapping[str, str], peer: str, host: str, scheme: str) -> bytes:
    """The lines of ``extend_forwarded``; what was given stays byte for byte.

    >>> encode_extended({"x-forwarded-proto": "https"}, "10.0.0.1", "", "http").splitlines()[1]
    b'x-forwarded-proto: https'
    """
    return _encode(extend_forwarded(given, peer, host, scheme))


def extend_forwarded(given: Mapping[str, str], peer: str, host: str, scheme: str) -> Pairs:
    """The headers after a trusted proxy at ``peer`` sent ``given``; missing ones are added.

    Of ``X-Forwarded-For`` and ``Forwarded``, one that it did not send is left out, because it
    would begin with the proxy where the other begins with the client.

    >>> extend_forwarded({"x-forwarded-for": "8.8.8.8"}, "10.0.0.1", "h", "http")[0]
    ('x-forwarded-for', '8.8.8.8, 10.0.0.1')
    """
    if not given:
        return new_forwarded(peer, host, scheme)
    fields = dict(given)
    old_list, old_element = fields.pop("x-forwarded-for", None), fields.pop("forwarded", None)
    pairs = []
    if old_list is not None or old_element is None:
        pairs.append(("x-forwarded-for", ", ".join(filter(None, (old_list, peer or "unknown")))))
    if old_element is not None:
        pairs.append(("forwarded", f"{old_element}, {_element(peer, host, scheme)}"))
    fields.setdefault("x-forwarded-proto", scheme)
    if host:
        fields.setdefault("x-forwarded-host", host)
    return (*pairs, *fields.items())
