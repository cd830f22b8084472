"""Hosts: a name that never changes, a weight, and an address to connect to."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn, TypeAlias

from hashring.errors import ConfigError, DuplicateHostError, InvalidWeightError
from hashring.net import is_ip
from hashring.validators import is_int

_FIELDS = ("name", "weight", "address", "id", "guid", "meta")
_LOWEST_PORT = 1024  # of those that an int beside a host's name is taken for
_HIGHEST_PORT = 65535


class ReadOnlyDict(dict[str, Any]):
    """A dict that refuses changes. ``copy``, ``pickle``, ``json`` and ``asdict`` take it.

    >>> ReadOnlyDict(zone="a")["zone"]
    'a'
    """

    __slots__ = ()

    def _refuse(self, *_args: Any, **_options: Any) -> NoReturn:
        raise TypeError("meta of a host is read only: make another Host")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


_NO_META = ReadOnlyDict()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Host:
    """One place that can serve: ``name`` is its identity, ``address`` is where to connect.

    Two hosts are equal when their names are; an address, a weight or meta may change without
    making it another host. ``weight`` is relative capacity, finite and above 0. ``id`` and
    ``guid`` are those of HAProxy's ``server`` lines. A subclass is a frozen dataclass with
    ``eq=False``; its fields count in ``same`` and survive copies. Raises ``ConfigError`` for a bad
    field, ``InvalidWeightError`` for a bad weight.

    >>> Host("web1", 2, address="10.0.0.1:80")
    Host('web1', 2.0, address='10.0.0.1:80')
    >>> str(Host("web1")), Host("web1").address, Host("web1") == Host("web1", 3)
    ('web1', 'web1', True)
    """

    name: str
    weight: float = 1.0
    address: str = field(default=None, kw_only=True)  # type: ignore[assignment]  # None: the name
    id: int | None = field(default=None, kw_only=True)
    guid: str | None = field(default=None, kw_only=True)
    meta: Mapping[str, Any] = field(default=None, kw_only=True)  # type: ignore[arg-type]  # None: {}

    def __post_init__(self) -> None:
        _check_name(self.name)
        put = object.__setattr__  # the documented way to set fields of a frozen dataclass
        put(self, "name", str.__str__(self.name))  # a plain str also for a subclass of str
        put(self, "weight", as_weight(self.weight, self.name))
        put(self, "address", self.name if self.address is None else self.address)
        put(self, "meta", _read_only(self.name, self.meta) if self.meta else _NO_META)
        if not isinstance(self.address, str) or not self.address:
            raise ConfigError(
                f"host {self.name!r}: address must be a non-empty str, got {self.address!r}",
                option="address",
            )
        if self.id is not None and not is_int(self.id):
            raise ConfigError(
                f"host {self.name!r}: id must be an int, got {self.id!r}", option="id"
            )
        if self.guid is not None and not isinstance(self.guid, str):
            raise ConfigError(
                f"host {self.name!r}: guid must be a str, got {self.guid!r}", option="guid"
            )

    def same(self, other: Host) -> bool:
        """Whether every field is equal, not the name alone. Cost: O(fields).

        >>> Host("a").same(Host("a", 2))
        False
        """
        return self is other or (
            type(self) is type(other)
            and all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self))
        )

    def with_weight(self, weight: float) -> Host:
        """The same host with another weight.

        >>> Host("a", address="b").with_weight(3)
        Host('a', 3.0, address='b')
        """
        return replace(self, weight=weight)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Host):
            return self.name == other.name
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        if self.weight != 1.0:
            parts.append(repr(self.weight))
        if self.address != self.name:
            parts.append(f"address={self.address!r}")
        if self.id is not None:
            parts.append(f"id={self.id}")
        if self.guid is not None:
            parts.append(f"guid={self.guid!r}")
        if self.meta:
            parts.append(f"meta={dict(self.meta)!r}")
        return f"Host({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuild, (type(self), {**getattr(self, "__dict__", {}), **values})


def _rebuild(kind: type[Host], values: Mapping[str, Any]) -> Host:
    host = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(host, name, value)
    return host


def _read_only(name: str, meta: Any) -> ReadOnlyDict:
    if not isinstance(meta, Mapping):
        raise ConfigError(f"host {name!r}: meta must be a mapping, got {meta!r}", option="meta")
    for key, value in meta.items():
        try:
            bool(value == value)  # an array compares by element
        except Exception:
            raise ConfigError(
                f"host {name!r}: meta[{key!r}] is a {type(value).__name__}, which has no single "
                "answer to ==: use a list or a tuple",
                option="meta",
            ) from None
    return ReadOnlyDict(meta)


HostLike: TypeAlias = str | tuple[str, float] | Host | Mapping[str, Any]
HostsLike: TypeAlias = Iterable[HostLike] | Mapping[str, float]


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise ConfigError(f"a host's name must be a str, got {name!r} ({type(name).__name__})")
    if not name:
        raise ConfigError("a host's name must not be empty")


def as_weight(weight: object, host: str) -> float:
    """``weight`` as a float, if it is a finite number above 0.

    >>> as_weight(2, "web1")
    2.0
    >>> as_weight(-1, "web1")
    Traceback (most recent call last):
    hashring.errors.InvalidWeightError: host 'web1': weight must be a finite number above 0, got -1
    """
    if not isinstance(weight, bool):
        try:
            value = float(weight)  # type: ignore[arg-type]  # anything else lands in the except
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not isinstance(weight, (str, bytes)) and math.isfinite(value) and value > 0:
            return value
    zero = weight == 0 and isinstance(weight, (int, float)) and not isinstance(weight, bool)
    hint = ": to send a host no new clients, drain it" if zero else ""
    raise InvalidWeightError(
        f"host {host!r}: weight must be a finite number above 0, got {weight!r}{hint}",
        host=host,
        weight=weight,
    )


def total_weight(hosts: Iterable[Host]) -> float:
    """The sum of the weights; the greatest float where it is greater than any.

    >>> total_weight([Host("a", 2), Host("b", 0.5)]), total_weight([Host("a", 1e308)] * 2)
    (2.5, 1.7976931348623157e+308)
    """
    try:
        return math.fsum(host.weight for host in hosts)
    except OverflowError:
        return sys.float_info.max


def as_host(host: HostLike) -> Host:
    """One host from a name, ``(name, weight)``, a ``Host`` or a mapping of its fields.

    >>> as_host(("web1", 2))
    Host('web1', 2.0)
    >>> as_host({"name": "web1", "address": "10.0.0.1:80"})
    Host('web1', address='10.0.0.1:80')
    """
    if isinstance(host, Host):
        return host
    if isinstance(host, str):
        return Host(host)
    if isinstance(host, Mapping):
        return _from_fields(host)
    if isinstance(host, (tuple, list)) and len(host) == 2:
        name, weight = host
        _check_name(name)
        if _is_port(name, weight):
            raise ConfigError(
                f"({name!r}, {weight}) is an address and its port, or a name and its weight: write "
                f"'{name}:{weight}' or Host({name!r}, {weight})"
            )
        return Host(name, weight)
    raise ConfigError(
        f"a host is a name, (name, weight), a Host or a mapping with 'name', got {host!r}"
    )


def _is_port(name: str, number: object) -> bool:
    """Whether ``(name, number)`` reads as ``(host, port)``, as clients of memcached write it."""
    if not isinstance(number, int) or (":" in name and not is_ip(name)):
        return False
    lowest = 1 if is_ip(name) or name == "localhost" else _LOWEST_PORT
    return lowest <= number <= _HIGHEST_PORT


def _from_fields(fields: Mapping[str, Any]) -> Host:
    unknown = [str(name) for name in fields if name not in _FIELDS]
    if unknown or "name" not in fields:
        what = f"unknown {', '.join(sorted(unknown))}" if unknown else "no 'name'"
        raise ConfigError(f"host {dict(fields)!r}: {what}; the fields are {', '.join(_FIELDS)}")
    rest = {name: value for name, value in fields.items() if name not in ("name", "weight")}
    return Host(fields["name"], fields.get("weight", 1.0), **rest)


def as_hosts(hosts: HostsLike) -> tuple[Host, ...]:
    """Hosts from any iterable of names, pairs, ``Host`` or field mappings, or name -> weight.

    An object with ``weights``, such as a ``HashRing``, gives its hosts with their weights. Keeps
    the given order. Raises ``ConfigError`` for a bare str or bytes and for anything that is not a
    host, ``DuplicateHostError`` when a name is given twice. Cost: O(n).

    >>> as_hosts(["a", ("b", 2)]) == as_hosts({"a": 1, "b": 2})
    True
    >>> as_hosts("abc")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hashring.errors.ConfigError: hosts must be a list ... did you mean ['abc']?
    """
    if isinstance(hosts, (str, bytes, bytearray)):
        kind = type(hosts).__name__
        raise ConfigError(
            f"hosts must be a list of hosts, got the {kind} {hosts!r}: did you mean [{hosts!r}]?"
        )
    weights = getattr(hosts, "weights", None)
    if isinstance(weights, Mapping) and not isinstance(hosts, Mapping):
        hosts = weights
    if isinstance(hosts, Host):
        raise ConfigError(f"hosts must be a list of hosts, got one Host: did you mean [{hosts!r}]?")
    found = tuple(_each(hosts))
    seen: set[str] = set()
    for host in found:
        if host.name in seen:
            raise DuplicateHostError(
                host.name,
                f"host {host.name!r} is given twice: a name is an identity, so give it once",
            )
        seen.add(host.name)
    return found


def as_names(hosts: Iterable[str | Host], option: str) -> frozenset[str]:
    """The names of several hosts; ``ConfigError`` for a bare str, bytes or ``Host``.

    >>> sorted(as_names([Host("a"), "b"], "exclude"))
    ['a', 'b']
    """
    if isinstance(hosts, (str, bytes, Host)):
        raise ConfigError(
            f"{option} takes several names, got {hosts!r}: did you mean [{hosts!r}]?", option=option
        )
    try:
        return frozenset(host.name if isinstance(host, Host) else host for host in hosts)
    except TypeError:  # not iterable, or an element that cannot be hashed
        raise ConfigError(f"{option} takes names of hosts, got {hosts!r}", option=option) from None


def _each(hosts: HostsLike) -> Iterator[Host]:
    if isinstance(hosts, Mapping):
        for name, weight in hosts.items():
            _check_name(name)
            yield Host(name, weight)
        return
    try:
        given = iter(hosts)
    except TypeError:
        raise ConfigError(
            f"hosts must be a list of hosts or a mapping name -> weight, got {hosts!r}"
        ) from None
    for host in given:
        yield as_host(host)
