"""Values of sticky cookies that stand for a host, in the forms of HAProxy and nginx."""

from __future__ import annotations

from hashlib import md5
from ipaddress import ip_address

from hashring.errors import ConfigError
from hashring.export._routing import endpoint
from hashring.hosts import HostLike, as_host
from hashring.keys import text_bytes
from hashring.net import join_address
from hashring.placement._hashes import xxhash_module


def haproxy_cookie(host: HostLike, key: str) -> str:
    """The value of HAProxy's ``cookie NAME ... dynamic`` for ``host``.

    ``key`` is the ``dynamic-cookie-key``. It is XXH64 of the key, the address as 4 or 16 bytes and
    the port as 4 (``srv_set_dyncookie`` in HAProxy's src/server.c), so the host's name plays no
    part and its address must be an IP address. Cost: a few us. Raises ``ConfigError``.

    >>> haproxy_cookie("127.0.0.1:9001", "bridge")
    '09e55bd7a7d18fa8'
    """
    address, port = _resolve(host)
    data = text_bytes(key) + ip_address(address).packed + port.to_bytes(4, "big")
    return f"{xxhash_module().xxh64_intdigest(data):016x}"


def nginx_cookie(host: HostLike) -> str:
    """The value of nginx's ``sticky cookie`` (1.29.6 and later) for ``host``.

    It is the MD5 of the address as nginx writes it, ``ip:port`` or ``[v6]:port``, in hex. It is
    not secret: a client can compute the value of any host. Raises ``ConfigError``.

    >>> nginx_cookie("127.0.0.1:9001")
    '422db4e6da7b4bba46bd476612df0469'
    """
    address, port = _resolve(host)
    return md5(join_address(address, port).encode(), usedforsecurity=False).hexdigest()


def _resolve(host: HostLike) -> tuple[str, int]:
    one = as_host(host)
    address, port = endpoint(one.address, f"host {one.name!r}")
    try:
        return str(ip_address(address)), port
    except ValueError:
        raise ConfigError(
            f"host {one.name!r}: a proxy's cookie is of an IP address, got {one.address!r}",
            option="address",
        ) from None
