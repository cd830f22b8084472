"""What is a host told of the client?  ``X-Forwarded-*`` and ``Forwarded``, by us or by our own.

What a stranger wrote in them is dropped; what a trusted proxy wrote is continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Pairs", "continued", "fresh"]

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
def fresh(peer: str, host: str, scheme: str) -> Pairs:
    """The headers for a client that is a stranger; ``peer`` is its address, ``""`` for none.

    ``host`` is ``""`` for a client that named none: an empty header would be a name to a host.

    >>> dict(fresh("192.0.2.1", "example.org", "http"))["x-forwarded-for"]
    '192.0.2.1'
    """
    named = (("x-forwarded-host", host),) if host else ()
    return (
        ("x-forwarded-for", peer or "unknown"),
        ("x-forwarded-proto", scheme),
        *named,
        ("forwarded", _element(peer, host, scheme)),
    )


def continued(given: Mapping[str, str], peer: str, host: str, scheme: str) -> Pairs:
    """The headers after a trusted proxy at ``peer`` sent ``given``; what it did not say is added.

    Of ``X-Forwarded-For`` and ``Forwarded``, one that it did not send is left out, because it
    would begin with the proxy where the other begins with the client.

    >>> continued({"x-forwarded-for": "8.8.8.8"}, "10.0.0.1", "h", "http")[0]
    ('x-forwarded-for', '8.8.8.8, 10.0.0.1')
    """
    if not given:
        return fresh(peer, host, scheme)
    told = dict(given)
    old_list, old_element = told.pop("x-forwarded-for", None), told.pop("forwarded", None)
    pairs = []
    if old_list is not None or old_element is None:
        pairs.append(("x-forwarded-for", ", ".join(filter(None, (old_list, peer or "unknown")))))
    if old_element is not None:
        pairs.append(("forwarded", f"{old_element}, {_element(peer, host, scheme)}"))
    told.setdefault("x-forwarded-proto", scheme)
    if host:
        told.setdefault("x-forwarded-host", host)
    return (*pairs, *told.items())
