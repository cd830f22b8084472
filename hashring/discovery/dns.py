"""DNS as a source: the addresses of a name, or the targets of its SRV records."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from hashring.discovery._membership import Entry, Finding, Membership, gather
from hashring.discovery._url import SourceUrl
from hashring.errors import ConfigError, DiscoveryError, requires_extra
from hashring.net import is_ip, parse_address
from hashring.validators import ABOVE_0, PORT, SECONDS

if TYPE_CHECKING:
    import dns.asyncresolver

WEIGHT_UNIT = 100
"""The SRV weight that counts as 1: weights are ratios from 0 to 65,535, and a fixed unit lets one
host's weight change without a change of the others'."""

LEAST = 1.0
"""Seconds between two questions at least: a TTL of 0 means "do not keep", not "never wait"."""

TIMEOUT = 5.0
"""Seconds for an answer, with all retries, as resolvers have it by default."""

_TYPES = ("A", "AAAA", "SRV")
_PORT = 53


def parse(
    payload: Iterable[str],
    *,
    port: int | None = None,
    weight_unit: float = WEIGHT_UNIT,
    with_port: bool = False,
) -> Membership:
    """The hosts of records in their text form: addresses, or ``priority weight port target``.

    An address is its own name, and ``port`` is where to connect. Of SRV records those of the lowest
    priority count. Their weight is in units of ``weight_unit``; 0 is a drain, but where all are 0,
    there is no choice to be made (RFC 2782), and all weigh 1.

    >>> parse(["10.0.0.2", "10.0.0.1"], port=80).hosts
    (Host('10.0.0.1', address='10.0.0.1:80'), Host('10.0.0.2', address='10.0.0.2:80'))
    >>> found = parse(["0 200 80 web1.test.", "0 0 80 web2.test.", "1 100 80 spare.test."])
    >>> [(host.name, host.weight) for host in found.hosts], found.draining
    ([('web1.test', 2.0), ('web2.test', 1.0)], frozenset({'web2.test'}))
    """
    records = sorted(payload)
    entries: list[Entry] = []
    services: list[tuple[int, int, int, str]] = []
    problems: list[str] = []
    for record in records:
        fields = record.split()
        try:
            if len(fields) == 4:
                priority, weight, at, target = fields
                services.append((int(priority), int(weight), int(at), _plain(target)))
            else:
                address = ipaddress.ip_address(record)
                entries.append(Entry(str(address), _at(address, port)))
        except ValueError:
            problems.append(f"{record!r} is neither an address nor an SRV record")
    entries += _services(services, weight_unit, with_port)
    revision = blake2b("\n".join(records).encode(), digest_size=4).hexdigest()
    return gather(entries, revision, problems=problems)


def _plain(target: str) -> str:
    # letters of either case are one name (RFC 4343), and an answer that is compressed may have
    # those of the question
    return target.rstrip(".").lower() or "."


def _at(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None) -> str:
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _services(
    services: list[tuple[int, int, int, str]], unit: float, with_port: bool
) -> Iterable[Entry]:
    # a target of "." means that there is no such service (RFC 2782)
    first = min((priority for priority, _, _, target in services if target != "."), default=None)
    best = [each for each in services if each[0] == first and each[3] != "."]
    weighted = any(weight for _, weight, _, _ in best)
    for _, weight, port, target in sorted(best, key=lambda each: (each[3], each[2])):
        name = f"{target}:{port}" if with_port else target
        yield Entry(name, f"{target}:{port}", weight / unit if weighted else 1.0)


class DnsSource:
    """The hosts of ``name`` in the DNS, asked again whenever the answer's TTL has passed.

    Identity: for A and AAAA the address, so a host that moves is another host; for SRV the
    target's name in small letters, or with ``with_port`` its ``name:port``, where one target
    serves on several. Lists are sorted by name. ``types`` are ``A`` and ``AAAA``, or ``SRV``.
    ``nameservers`` are addresses, with ports where they are not 53; none are the system's. A name
    that does not exist has no hosts; a server that fails or is silent is a ``DiscoveryError``.

    The answer must be complete: a server that returns some of many at a time cannot be a source.
    Raises ``ConfigError`` without dnspython and for bad options.
    """

    def __init__(
        self,
        name: str,
        types: Iterable[str] = ("A",),
        *,
        nameservers: Iterable[str] = (),
        port: int | None = None,
        weight_unit: float = WEIGHT_UNIT,
        with_port: bool = False,
        least: float = LEAST,
        timeout: float = TIMEOUT,
    ) -> None:
        self._name = name
        self._types = tuple(kind.strip().upper() for kind in types)
        if not self._types or set(self._types) - set(_TYPES):
            raise ConfigError(
                f"type is A, AAAA, A,AAAA or SRV, got {','.join(self._types)!r}", option="type"
            )
        ABOVE_0(weight_unit, "weight_unit")
        SECONDS(least, "least")
        SECONDS(timeout, "timeout")
        if port is not None:
            PORT(port, "port")
        self._port, self._unit, self._with_port = port, weight_unit, with_port
        self._least = least
        self._servers = tuple(nameservers)
        self._resolver = _resolver(self._servers, timeout)

    async def watch(self) -> AsyncGenerator[Membership, None]:
        """Memberships as answers change. Raises ``DiscoveryError`` when no server answers."""
        told: Membership | None = None
        while True:
            records, ttl = await self._ask()
            found = parse(
                records, port=self._port, weight_unit=self._unit, with_port=self._with_port
            )
            if not found.same(told):
                told = found
                yield found
            await asyncio.sleep(max(ttl, self._least))

    async def _ask(self) -> tuple[list[str], float]:
        """All records, and for how long they are good."""
        answers = [await self._resolve(kind) for kind in self._types]
        # a name that has A alone is good for as long as they are, not for as long as a "no" is
        ttls = [ttl for texts, ttl in answers if texts] or [self._least]
        return [text for texts, _ in answers for text in texts], min(ttls)

    async def _resolve(self, kind: str) -> tuple[list[str], float]:
        from dns import exception, resolver

        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            answer = await self._resolver.resolve(self._name, kind, raise_on_no_answer=False)
        except resolver.NXDOMAIN:
            return [], self._least  # how long a "no" is good is the resolver's business
        except (exception.DNSException, OSError) as error:
            why = str(error) or type(error).__name__
            raise DiscoveryError(f"{self}: {why}", source=str(self)) from error
        finally:
            # asyncio.wait_for, which dnspython waits by, loses a cancellation that comes in the
            # same moment as the answer; Python 3.12 mended it
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError
        if answer.rrset is None:
            return [], self._least
        ttl = answer.chaining_result.minimum_ttl  # of the aliases on the way too
        return [record.to_text() for record in answer.rrset], float(ttl)

    async def examine(self) -> list[Finding]:
        """Who answers, with how many records, good for how long."""
        try:
            records, ttl = await self._ask()
        except DiscoveryError as error:
            return [Finding("error", str(error))]
        servers = ", ".join(str(server) for server in self._resolver.nameservers)
        said = [Finding("ok", f"{servers}: {len(records)} records, good for {ttl:.0f} s")]
        if records and ttl < self._least:
            said.append(
                Finding("warning", f"a TTL of 0 is read as {self._least:g} s: give it a TTL")
            )
        if ttl > _LONG:
            said.append(
                Finding("warning", f"a change takes up to {ttl:.0f} s to be seen (its TTL)")
            )
        return said

    def __str__(self) -> str:
        servers = f"//{','.join(self._servers)}/" if self._servers else ""
        return f"dns:{servers}{self._name}?type={','.join(self._types)}"


_LONG = 300.0  # seconds a dead host would stay in: worth a word


def _resolver(servers: Iterable[str], timeout: float) -> dns.asyncresolver.Resolver:
    with requires_extra("dns", "DNS sources", option="source"):
        import dns.asyncresolver
        import dns.nameserver
        import dns.resolver
    try:
        made = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise ConfigError(f"no nameserver is configured here: {error}", option="source") from None
    if servers:
        made.nameservers = [dns.nameserver.Do53Nameserver(*_server(each)) for each in servers]
    made.lifetime = timeout
    return made


def _server(given: str) -> tuple[str, int]:
    if is_ip(given):  # IPv6 without brackets too
        return given, _PORT
    host, port = parse_address(given, default_port=_PORT, what="a nameserver", option="source")
    if not is_ip(host):
        raise ConfigError(f"a nameserver must be an IP address, got {given!r}", option="source")
    return host, port


_OPTIONS = {
    "type": str,
    "port": int,
    "weight_unit": float,
    "with_port": bool,
    "least": float,
    "timeout": float,
}


def from_url(url: str, **options: Any) -> DnsSource:
    """The source of ``dns:name`` or ``dns://nameserver[:port]/name`` (RFC 4501).

    Options: ``type`` (A; SRV for a name that begins with an underscore), ``port`` (of A and AAAA),
    ``weight_unit`` and ``with_port`` (of SRV), ``least`` and ``timeout`` (seconds).

    >>> str(from_url("dns://127.0.0.1:5353/_http._tcp.web.internal"))
    'dns://127.0.0.1:5353/_http._tcp.web.internal?type=SRV'
    """
    parts = SourceUrl.of(url)
    known = parts.options(_OPTIONS, options)
    if not parts.path:
        raise ConfigError(
            f"{parts.shown} names nothing to look up: write dns:name", option="source"
        )
    usual = "SRV" if parts.path.startswith("_") else "A"
    types = known.pop("type", usual).split(",")
    return DnsSource(parts.path, types, nameservers=parts.endpoints, **known)
