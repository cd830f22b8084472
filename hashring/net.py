"""Network addresses: host and port from text, and whether a host is this machine."""

from __future__ import annotations

import re
from typing import NamedTuple

from hashring.errors import ConfigError
from hashring.text import bounded_repr

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[^\[\]\s]+)?)\]|(?P<name>[^\[\]:\s/@]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_HIGHEST_PORT = 65535
_SCHEME_PORTS = {"http": 80, "https": 443}
_LONGEST_PATH = 107  # bytes of the path of a Unix socket: sockaddr_un has 108 with the final 0


class Endpoint(NamedTuple):
    """Where a host listens: ``name`` and ``port``, or the ``path`` of a Unix socket.

    ``scheme`` is ``http``, ``https`` or ``unix``; ``port`` is None where none is given or implied.
    """

    scheme: str
    name: str = ""
    port: int | None = None
    path: str = ""


def split_endpoint(text: str) -> Endpoint:
    """The parts of a host's address: ``HOST:PORT``, ``https://HOST:PORT`` or ``unix:/PATH``.

    Raises ``ValueError``.

    >>> split_endpoint("web1:80")[:3], split_endpoint("https://web1")[:3]
    (('http', 'web1', 80), ('https', 'web1', 443))
    >>> split_endpoint("unix:/run/web1.sock").path
    '/run/web1.sock'
    """
    if text.startswith("unix:"):
        path = text[5:]
        if not path.startswith("/") or "\0" in path or len(path.encode()) > _LONGEST_PATH:
            raise ValueError(text)
        return Endpoint("unix", path=path)
    scheme, sign, authority = text.partition("://")
    if not sign:
        return Endpoint("http", *split_address(text.rstrip("/")))
    name, port = split_address(authority.rstrip("/"))
    if scheme not in _SCHEME_PORTS:
        raise ValueError(text)
    return Endpoint(scheme, name, port or _SCHEME_PORTS[scheme])


def split_address(text: str) -> tuple[str, int | None]:
    """Host and port of ``HOST``, ``HOST:PORT``, ``[IPv6]`` or ``[IPv6]:PORT``; None for no port.

    Raises ``ValueError``, for an IPv6 address without brackets too.

    >>> split_address("web1:80"), split_address("[::1]:80"), split_address("[fd00::1]")
    (('web1', 80), ('::1', 80), ('fd00::1', None))
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(text)
    port = found["port"]
    if port is not None and int(port) > _HIGHEST_PORT:
        raise ValueError(text)
    return found["v6"] or found["name"], None if port is None else int(port)


def parse_address(
    text: object,
    *,
    default_port: int | None = None,
    any_port: bool = False,
    what: str = "",
    option: str = "",
) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPv6]:PORT``.

    ``default_port`` makes the port optional; ``any_port`` accepts port 0, with which a listener
    takes a free port. Raises ``ConfigError``, which calls the text ``what`` or else ``option``.

    >>> parse_address("[::1]:8080"), parse_address("etcd1", default_port=2379)
    (('::1', 8080), ('etcd1', 2379))
    >>> parse_address("web1", option="listen")
    Traceback (most recent call last):
    hashring.errors.ConfigError: listen must be ADDRESS:PORT, such as '127.0.0.1:8080', got 'web1'
    """
    try:
        host, port = split_address(text) if isinstance(text, str) else ("", None)
    except ValueError:
        host, port = "", None
    port = default_port if port is None else port
    if not host or port is None or not (port or any_port):
        shape = "ADDRESS:PORT" if default_port is None else "ADDRESS or ADDRESS:PORT"
        words = f"must be {shape}, such as '127.0.0.1:8080', got {bounded_repr(text)}"
        raise ConfigError(f"{what or option} {words}".lstrip(), option=option or None)
    return host, port


def join_address(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address.

    >>> join_address("::1", 80), join_address("web1", 80)
    ('[::1]:80', 'web1:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    """Whether ``host`` is an IP address rather than a name.

    >>> is_ip("10.0.0.1"), is_ip("::1"), is_ip("web1")
    (True, True, False)
    """
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``: ``localhost`` or a loopback address.

    >>> [is_loopback(host) for host in ("127.0.0.2", "::1", "[::1]", "localhost", "10.0.0.1")]
    [True, True, True, True, False]
    """
    from ipaddress import ip_address

    host = host.removeprefix("[").removesuffix("]").lower()
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
