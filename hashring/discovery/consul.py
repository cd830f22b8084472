"""Consul as a source (experimental): a service's instances and their health."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

from hashring.discovery import _http
from hashring.discovery._consul import ConsulClient, ConsulResponse
from hashring.discovery._membership import Entry, Finding, Membership, gather, weight_from
from hashring.discovery._url import SourceUrl, with_port
from hashring.errors import ConfigError, DiscoveryError
from hashring.validators import ABOVE_0, SECONDS

WAIT = 10.0
"""Seconds a query blocks while nothing changes. Consul's own is 300, but an agent that froze looks
the same for as long; a query each ten seconds is a negligible load."""

TIMEOUT = 2.0
"""Seconds for an answer beyond ``WAIT``: Consul elects a new leader within one or two."""

LEAST = 0.05
"""Seconds from one question to the next at least, so that a service that never rests, or an index
that never blocks, makes 20 queries a second and no busy loop."""

_PORT = 8500  # Consul's own
_WEIGHT = "weight="  # the beginning of the tag
_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")  # the check that `consul maint` makes


def parse(
    payload: Sequence[Mapping[str, Any]],
    revision: str = "",
    *,
    weight_unit: float = 1.0,
    with_node: bool = False,
) -> Membership:
    """The hosts of an answer of ``/v1/health/service/NAME``.

    A host's name is its service ID (``with_node``: ``node/ID``), its address that of the service or
    else of the node. The weight is a tag ``weight=2.5``, where 0 is a drain, or else
    ``Weights.Passing`` in units of ``weight_unit``. Instances that pass or warn are in; one that
    warns keeps its weight, so that a flap moves no key, and drains if its ``Weights.Warning`` is 0.
    One in maintenance drains; one with any other critical check is out.

    >>> def instance(name, *states, **more):
    ...     service = {"ID": name, "Address": "", "Port": 80, **more}
    ...     checks = [{"CheckID": "c", "Status": state} for state in states]
    ...     return {"Node": {"Address": "10.0.0.1"}, "Service": service, "Checks": checks}
    >>> found = parse([
    ...     instance("a", "passing", Weights={"Passing": 2, "Warning": 1}),
    ...     instance("b", "passing", "critical"),
    ...     instance("c", "warning", Weights={"Passing": 1, "Warning": 0}),
    ... ], "7")
    >>> found.hosts, sorted(found.draining)
    ((Host('a', 2.0, address='10.0.0.1:80'), Host('c', address='10.0.0.1:80')), ['c'])
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for number, instance in enumerate(payload):
        try:
            state = _state(instance)
            if state != "critical":
                entries.append(_entry(instance, state, weight_unit, with_node))
        except ConfigError as error:
            problems.append(str(error))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append(f"entry {number} is not an instance of a service: {error!r}")
    return gather(entries, revision, problems=problems)


def _state(instance: Mapping[str, Any]) -> str:
    """The worst of its checks: ``passing``, ``warning``, ``maintenance`` or ``critical``."""
    states = set()
    for check in instance.get("Checks") or ():
        maintained = check["CheckID"].startswith(_MAINTENANCE)
        states.add("maintenance" if maintained else check["Status"])
    for state in ("critical", "maintenance", "warning"):
        if state in states:
            return state
    return "passing"  # Consul too takes a service without checks for healthy


def _entry(instance: Mapping[str, Any], state: str, unit: float, with_node: bool) -> Entry:
    node, service = instance["Node"], instance["Service"]
    name = f"{node['Node']}/{service['ID']}" if with_node else service["ID"]
    if not isinstance(name, str):
        raise ConfigError(f"a service ID is text, got {name!r}")
    place, port = service.get("Address") or node["Address"], service.get("Port")
    if port:
        bare = ":" in place and not place.startswith("[")
        place = f"[{place}]:{port}" if bare else f"{place}:{port}"
    weights = service.get("Weights") or {}
    tagged = [tag for tag in service.get("Tags") or () if tag.startswith(_WEIGHT)]
    if tagged:
        weight = weight_from(tagged[0].removeprefix(_WEIGHT), name)
    else:
        weight = weight_from(weights.get("Passing"), name) / unit
    drain = state == "maintenance" or (state == "warning" and weights.get("Warning") == 0)
    return Entry(name, place, weight, drain)


class ConsulSource:
    """The healthy instances of ``service``, asked of the agent at ``endpoint``.

    Identity: the service ID. Consul keeps it unique on one node only: where every node gives its
    instance the same ID, use other IDs, or name them ``node/ID`` by ``with_node``. Of two equal IDs
    the first counts. Lists are sorted by name. ``tags`` are those that an instance must have, all
    of them.

    Each query blocks until the service's index passes that of the last answer, or ``wait`` seconds
    have passed. An index that goes backwards (a restored snapshot, another server) is forgotten and
    the state read again. An answer in which access control hides everything is a
    ``DiscoveryError``: a token that lost its rights does not mean a service without instances. It
    was tested with a server made after Consul's documentation, so it is experimental.

    Raises ``ConfigError`` without httpx2 and for bad options.
    """

    def __init__(
        self,
        service: str,
        endpoint: str = "127.0.0.1",
        *,
        tags: Iterable[str] = (),
        datacenter: str | None = None,
        token: str | None = None,
        context: Any = None,
        weight_unit: float = 1.0,
        with_node: bool = False,
        wait: float = WAIT,
        timeout: float = TIMEOUT,
    ) -> None:
        _http.library("consul")
        ABOVE_0(weight_unit, "weight_unit")
        SECONDS(wait, "wait")
        SECONDS(timeout, "timeout")
        if not service:
            raise ConfigError("a service has a name: consul://host:port/web", option="source")
        self._service = service
        self._endpoint = with_port(endpoint, _PORT)
        self._query: dict[str, Any] = {"tag": list(tags)}
        if datacenter is not None:
            self._query["dc"] = datacenter
        self._token, self._context = token, context
        self._unit, self._with_node = weight_unit, with_node
        self._wait, self._timeout = wait, timeout

    async def watch(self) -> AsyncGenerator[Membership, None]:
        """Memberships as the service changes. Raises ``DiscoveryError``."""
        told: Membership | None = None
        index = 0  # never blocks
        clock = asyncio.get_running_loop().time
        async with self._client() as client:
            while True:
                began = clock()
                answer = await client.ask(index, self._wait)
                if answer.index < index:
                    index = 0  # its state may be older than the one returned before: ask for all
                else:
                    index = max(answer.index, 1)  # 0 would never block
                    found = self._parse(answer)
                    if not found.same(told):
                        told = found
                        yield found
                await asyncio.sleep(max(0.0, began + LEAST - clock()))

    def _client(self) -> ConsulClient:
        return ConsulClient(
            str(self),
            self._endpoint,
            self._service,
            self._query,
            token=self._token,
            context=self._context,
            timeout=self._timeout,
        )

    def _parse(self, answer: ConsulResponse) -> Membership:
        if answer.hidden and not answer.instances:
            text = f"{self}: access control hides all instances; its token needs"
            raise DiscoveryError(f"{text} service:read and node:read", source=str(self))
        return parse(
            answer.instances,
            str(answer.index),
            weight_unit=self._unit,
            with_node=self._with_node,
        )

    async def examine(self) -> list[Finding]:
        """What the agent answers, in which health, whether all may be read, and its clock."""
        async with self._client() as client:
            try:
                answer = await client.ask(0, self._wait)
                found = self._parse(answer)
            except DiscoveryError as error:
                return [Finding("error", str(error))]
        counts = Counter(map(_state_or_odd, answer.instances))
        shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
        said = [Finding("ok", f"{self}: index {answer.index}, instances: {shown}")]
        if answer.hidden:
            said.append(Finding("warning", "access control hides some instances from this token"))
        if not self._with_node and any("given twice" in problem for problem in found.problems):
            hint = "instances of several nodes share a service ID: use ?with_node=true"
            said.append(Finding("warning", hint))
        return [*said, *_http.clock_findings(str(self), answer.date)]

    def __str__(self) -> str:
        tags = ",".join(self._query["tag"])
        return f"consul://{self._endpoint}/{self._service}{f'?tags={tags}' if tags else ''}"


def _state_or_odd(instance: Mapping[str, Any]) -> str:
    try:
        return _state(instance)
    except (AttributeError, KeyError, TypeError):
        return "unreadable"


_OPTIONS = {
    "tags": str,
    "dc": str,
    "token": str,
    "weight_unit": float,
    "with_node": bool,
    "tls": bool,
    "ca": str,
    "cert": str,
    "key": str,
    "wait": float,
    "timeout": float,
}


def from_url(url: str, **options: Any) -> ConsulSource:
    """The source of ``consul://host[:port]/service?option=value``, or ``consul:service``.

    Options: ``tags`` (with commas), ``dc`` (datacenter), ``token``, ``weight_unit``, ``with_node``,
    ``wait`` and ``timeout`` (seconds). ``ca``, ``cert`` and ``key`` (files) or ``tls=true`` switch
    TLS on.

    >>> str(from_url("consul://10.0.0.5/web?tags=blue,v2&token=secret"))
    'consul://10.0.0.5:8500/web?tags=blue,v2'
    """
    parts = SourceUrl.of(url)
    known = parts.options(_OPTIONS, options)
    if len(parts.endpoints) > 1:
        raise ConfigError(
            f"{parts.shown}: name one agent, which finds the servers by itself", option="source"
        )
    files = {name: known.pop(name, None) for name in ("ca", "cert", "key")}
    context = _http.tls_context(**files) if known.pop("tls", False) or any(files.values()) else None
    tags = [tag for tag in known.pop("tags", "").split(",") if tag]
    datacenter = known.pop("dc", None)
    endpoint = parts.endpoints[0] if parts.endpoints else "127.0.0.1"
    return ConsulSource(
        parts.path, endpoint, tags=tags, datacenter=datacenter, context=context, **known
    )
