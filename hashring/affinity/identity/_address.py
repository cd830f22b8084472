"""Which client is at the other end, behind the proxies that are trusted?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple, TypeAlias

from hashring.affinity.identity._request import Fields, Request, fields_of
from hashring.affinity.identity._source import IdentitySource, Unusable
from hashring.errors import ConfigError

Believed: TypeAlias = Literal["both", "forwarded", "x-forwarded-for"]
Network: TypeAlias = IPv4Network | IPv6Network

UNIX = "unix"
"""Trusts every connection over a Unix socket, which has no address."""

_MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 inside IPv6

_REMEMBERED = 4096  # addresses that were parsed, because parsing costs 3 us
_LONGEST = 80  # letters of an IPv6 address with brackets, a port and a zone, and some to spare

# RFC 7239, section 4: an element is pairs with ";" between. Possessive (*+), so that no text makes
# it try one split of the spaces after another
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_PAIR = rf'{_WORD}=(?:{_WORD}|"(?:[^"\\]|\\.)*+")'
_ELEMENT = re.compile(rf"[ \t]*+((?:{_PAIR})?+(?:[ \t]*+;[ \t]*+(?:{_PAIR})?+)*+)[ \t]*+(?:,|\Z)")
_ONE_PAIR = re.compile(rf'({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*+)")')
_ESCAPED = re.compile(r"\\(.)")

# a zone is the name of an interface of the machine that wrote it
_V6 = r"([0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,})(?:%[^\]\s]*)?"
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._\-]+))?"
_NODE = re.compile(rf"\[{_V6}\]{_PORT}|{_V6}|([0-9.]+){_PORT}")


class _Known(NamedTuple):
    """``address`` in its canonical form, None if it is not one; whether it is a trusted proxy's."""

    address: str | None
    trusted: bool


_NOBODY = _Known(None, trusted=False)


def node_address(node: str) -> str | None:
    """The address that a proxy wrote, in its canonical form; None if it is not an address.

    A port, brackets and a zone are dropped; IPv4 inside IPv6 is IPv4. ``unknown`` and names that
    hide an address (``_hidden``) are not addresses.

    >>> node_address("[2001:DB8::1]:443"), node_address("::ffff:192.0.2.1"), node_address("_x")
    ('2001:db8::1', '192.0.2.1', None)
    """
    parts = _NODE.fullmatch(node.strip(" \t"))
    if parts is None:
        return None
    try:
        address = ip_address(parts[1] or parts[2] or parts[3])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def forwarded_for(value: str) -> list[str]:
    """The ``for`` of each element of a ``Forwarded`` value; ``unknown`` where there is none.

    Raises ``Unusable`` for what is not of the form of RFC 7239. Empty elements are skipped.

    >>> forwarded_for('for=192.0.2.1;proto=http, For="[2001:db8::1]:80",, by=x')
    ['192.0.2.1', '[2001:db8::1]:80', 'unknown']
    """
    nodes, at = [], 0
    while at < len(value):
        element = _ELEMENT.match(value, at)
        if element is None:
            raise Unusable("undecodable")
        if element[1]:
            nodes.append(_for_of(element[1]))
        at = element.end()
    return nodes


def _for_of(element: str) -> str:
    found = [
        bare or _ESCAPED.sub(r"\1", quoted)
        for name, bare, quoted in _ONE_PAIR.findall(element)
        if name.lower() == "for"
    ]
    if len(found) > 1:
        raise Unusable("undecodable")  # a parameter comes once in an element
    return found[0] if found else "unknown"


class TrustedProxies:
    """The proxies whose forwarding headers are accepted.

    ``trusted`` are networks or addresses (``"10.0.0.0/8"``, ``"::1"``) and ``"unix"`` for
    connections over a Unix socket. ``Forwarded`` and ``X-Forwarded-For`` are read from the right,
    because only entries of trusted proxies are reliable: the first that is not one of them is the
    client. ``headers`` selects which of the two is read. With ``"both"``, where the two disagree a
    client wrote one of them, and the request is anonymous: name the one that your proxies set.

    Raises ``ConfigError`` for a value that is not a network.

    >>> proxies = TrustedProxies(["10.0.0.0/8"])
    >>> said = {"X-Forwarded-For": "8.8.8.8, 9.9.9.9"}
    >>> proxies.client({"client": ("10.0.0.1", 5000), "headers": said})
    '9.9.9.9'
    """

    def __init__(self, trusted: Iterable[str], *, headers: Believed = "both") -> None:
        if isinstance(trusted, (str, bytes)):
            raise ConfigError(
                f"trusted takes several networks, got {trusted!r}: did you mean [{trusted!r}]?",
                option="trusted",
            )
        if headers not in ("both", "forwarded", "x-forwarded-for"):
            raise ConfigError(
                f"headers must be 'both', 'forwarded' or 'x-forwarded-for', got {headers!r}",
                option="headers",
            )
        given = list(trusted)
        self._unix = UNIX in given
        self._networks = [_network(one) for one in given if one != UNIX]
        self._headers = headers
        self._look_once = lru_cache(_REMEMBERED)(self._look)

    def client(self, request: Request | Fields) -> str | None:
        """The client's address in its canonical form; None for a Unix socket that is not trusted.

        Cost: about 2 us. Raises ``Unusable`` when a trusted proxy does not say.
        """
        fields = fields_of(request)
        peer = fields.peer()
        if not self.trusts(peer):
            return None if peer is None else self._address(peer)
        found = {self._outermost(nodes, peer) for nodes in self._nodes_by_header(fields)}
        if len(found) > 1:
            raise Unusable("ambiguous")
        return found.pop() if found else peer and self._address(peer)

    def tls(self, request: Request | Fields) -> bool:
        """Whether the client came by TLS: to us, or to the trusted proxy next to us.

        The last ``X-Forwarded-Proto`` is that proxy's.

        >>> proxies = TrustedProxies(["10.0.0.0/8"])
        >>> proxies.tls({"client": ("10.0.0.1", 1), "headers": {"X-Forwarded-Proto": "https"}})
        True
        """
        fields = fields_of(request)
        said = fields.header("x-forwarded-proto")
        if said and self.trusts(fields.peer()):
            return said[-1].rpartition(b",")[2].strip().lower() in (b"https", b"wss")
        return fields.tls()

    def trusts(self, peer: str | None) -> bool:
        """Whether the connection from ``peer`` is a trusted proxy's; None is a Unix socket's.

        >>> TrustedProxies(["10.0.0.0/8"]).trusts("10.0.0.1")
        True
        """
        return self._unix if peer is None else self._find_known(peer).trusted

    def _address(self, text: str) -> str:
        address = self._find_known(text).address
        if address is None:
            raise Unusable("undecodable")
        return address

    def _nodes_by_header(self, fields: Fields) -> list[list[str]]:
        """The nodes of each header present: the client first, then each proxy but the last."""
        headers = []
        if self._headers != "x-forwarded-for" and (values := fields.header("forwarded")):
            headers.append([node for value in values for node in forwarded_for(_text(value))])
        if self._headers != "forwarded" and (values := fields.header("x-forwarded-for")):
            nodes = ",".join(map(_text, values)).split(",")
            headers.append([node for node in map(str.strip, nodes) if node])
        return [nodes for nodes in headers if nodes]

    def _outermost(self, nodes: list[str], peer: str | None) -> str:
        """From the right, the first address that is not a trusted proxy's, else the leftmost."""
        for node in reversed(nodes):
            if not self._find_known(node).trusted:
                return self._address(node)
        return self._address(nodes[0])

    def _find_known(self, node: str) -> _Known:
        return self._look_once(node) if len(node) <= _LONGEST else _NOBODY

    def _look(self, node: str) -> _Known:
        address = node_address(node)
        if address is None:
            return _NOBODY
        parsed = ip_address(address)
        return _Known(address, any(parsed in network for network in self._networks))

    def __repr__(self) -> str:
        networks = [*map(str, self._networks), *[UNIX] * self._unix]
        return f"TrustedProxies({networks!r})"


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            # addresses are compared in their one spelling, which is IPv4 for these
            low = network.network_address.ipv4_mapped
            network = ip_network((str(low), network.prefixlen - _MAPPED.prefixlen))
        return network
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"trusted {text!r}: {error}; give networks as '10.0.0.0/8', addresses, or {UNIX!r}",
            option="trusted",
        ) from None


def _text(value: bytes) -> str:
    return value.decode("latin-1")  # an address is ASCII; anything else fails to parse later


class _ClientAddress(IdentitySource):
    def __init__(self, proxies: TrustedProxies) -> None:
        super().__init__()
        self._proxies = proxies

    def find(self, fields: Fields, body: bytes) -> str | None:
        return self._proxies.client(fields)

    @property
    def places(self) -> tuple[str, ...]:
        return ("address",)

    def __repr__(self) -> str:
        return f"client_address({self._proxies!r})"


def client_address(
    trusted: Iterable[str] | TrustedProxies = (), *, headers: Believed = "both"
) -> IdentitySource:
    """The client's address, seen through ``trusted`` proxies (see ``TrustedProxies``).

    Many clients may share one address, so this is the source to name last.

    >>> client_address()({"client": ("192.0.2.7", 5000), "headers": {"X-Forwarded-For": "8.8.8.8"}})
    '192.0.2.7'
    """
    if not isinstance(trusted, TrustedProxies):
        trusted = TrustedProxies(trusted, headers=headers)
    return _ClientAddress(trusted)
