"""Where do a HAProxy server's nodes begin?  ``hash-key``: from its id, address, port or guid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._addresses import packed_address
from hashring.placement._hashes import full_hash, xxh32

__all__ = ["HASH_KEYS", "with_ids"]

_MASK = 0xFFFFFFFF
_HIGHEST_ID = (1 << 31) - 1  # a positive C int
_IDS_APART = 4096  # SRV_EWGHT_RANGE: 256 x 16 nodes, so that two ids share no node
_FAMILY = re.compile(rb"ipv[46]@")
_BRACKETED = re.compile(rb"\[([^]]*)\](?::([0-9]*))?")
_HOST_PORT = re.compile(rb"(.*):([0-9]*)", re.DOTALL)


def with_ids(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The hosts, each with its ``id``: its own, or the first free one from its position on.

    Raises ``ConfigError`` for an id that HAProxy refuses and for one that two hosts have.

    >>> [host.id for host in with_ids([Host("a"), Host("b", id=7), Host("c"), Host("d", id=3)])]
    [1, 7, 4, 3]
    """
    hosts = tuple(hosts)
    taken: dict[int, str] = {}
    for host in hosts:
        if host.id is None:
            continue
        if not 1 <= host.id <= _HIGHEST_ID:
            raise ConfigError(
                f"host {host.name!r}: id must be from 1 to 2^31-1 in HAProxy, got {host.id}",
                option="id",
            )
        if host.id in taken:
            raise ConfigError(
                f"hosts {taken[host.id]!r} and {host.name!r} have the same id {host.id}: give each "
                "its own",
                option="id",
            )
        taken[host.id] = host.name
    return tuple(_numbered(hosts, taken))


def _numbered(hosts: Iterable[Host], taken: Mapping[int, str]) -> Iterable[Host]:
    used = set(taken)
    number = 1  # check_config_validity() of cfgparse.c counts on from the last id it gave
    for host in hosts:
        if host.id is None:
            while number in used:
                number += 1
            used.add(number)
            yield replace(host, id=number)
        else:
            yield host
        number += 1


def _by_id(host: Host) -> int:
    return (host.id or 0) * _IDS_APART & _MASK


def _by_id32(host: Host) -> int:
    return full_hash(int.from_bytes((host.id or 0).to_bytes(4, "big"), "little"))


def _by_address(host: Host) -> int:
    address, _ = _address_of(host, "addr")
    return _mixed(address, 0)


def _by_address_and_port(host: Host) -> int:
    address, port = _address_of(host, "addr-port")
    if port is None or port > 65535:
        raise ConfigError(
            f"host {host.name!r}: hash_key 'addr-port' needs an address with a port, "
            f"got address {host.address!r}",
            option="address",
        )
    return _mixed(address, full_hash(port))


def _by_guid(host: Host) -> int:
    if not host.guid:
        raise ConfigError(
            f"host {host.name!r}: hash_key 'guid' needs a guid, and it has none", option="guid"
        )
    return xxh32(text_bytes(host.guid))


def _mixed(address: bytes, seed: int) -> int:
    if len(address) == 4:
        return full_hash((seed + int.from_bytes(address, "little")) & _MASK)
    return xxh32(address, seed)


def _address_of(host: Host, hash_key: str) -> tuple[bytes, int | None]:
    """The packed address and the port of ``host.address``, read as HAProxy reads it.

    Without brackets the last colon stands before the port (``str2sa_range``), unless what is
    before it is no address.
    """
    text = text_bytes(host.address)
    text = _FAMILY.sub(b"", text, count=1) if _FAMILY.match(text) else text
    split = _BRACKETED.fullmatch(text) or _HOST_PORT.fullmatch(text)
    if split:
        address = packed_address(split[1])
        if address is not None:
            return address, int(split[2]) if split[2] else None
    address = packed_address(text)
    if address is None:
        raise ConfigError(
            f"host {host.name!r}: hash_key {hash_key!r} needs an IP address, "
            f"got address {host.address!r}",
            option="address",
        )
    return address, None


HASH_KEYS: Mapping[str, Callable[[Host], int]] = MappingProxyType(
    {
        "id": _by_id,
        "id32": _by_id32,
        "addr": _by_address,
        "addr-port": _by_address_and_port,
        "guid": _by_guid,
    }
)
"""What ``hash-key`` takes, and the number that a server's nodes count from."""
