"""Kubernetes as a source (experimental): the endpoints of a service, listed, then watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from hashring.discovery import _http, _kube_access
from hashring.discovery._kube_access import Access
from hashring.discovery._kube_api import ExpiredError, KubeClient, Slices
from hashring.discovery._membership import Entry, Finding, Membership, gather
from hashring.discovery._url import SourceUrl
from hashring.errors import ConfigError, DiscoveryError
from hashring.validators import SECONDS

LASTING = 30.0
"""Seconds of one watch. An API that froze is noticed after as many; each end costs one request,
less than a pod's own probes do."""

TIMEOUT = 5.0
"""Seconds for an answer: a list that reads the newest state waits for etcd's."""

LEAST = 1.0
"""Seconds from one list or watch to the next at least, so that an API that ends each at once is
not asked in a busy loop."""

_FAMILIES = ("IPv4", "IPv6", "FQDN")  # a pod that has several is reached by the first


def parse(payload: Mapping[str, Any], *, port: str | None = None) -> Membership:
    """The hosts of an ``EndpointSliceList`` of ``discovery.k8s.io/v1``.

    A host's name is that of its pod, or ``ip:port`` of an endpoint that is not a pod. ``port`` is
    the name of a port, or a number, which need not be one of the service's; None is the only one
    there is. Ready endpoints are in; one that is terminating drains while it serves; others are
    out. One that is in several slices (it moves from one to the other, or has two address families)
    counts once, the best of them: ready before draining, then IPv4 before IPv6.

    >>> def endpoint(ip, pod, **conditions):
    ...     target = {"kind": "Pod", "name": pod}
    ...     return {"addresses": [ip], "conditions": conditions, "targetRef": target}
    >>> endpoints = [
    ...     endpoint("10.0.0.1", "web-0", ready=True),
    ...     endpoint("10.0.0.2", "web-1", ready=False, serving=True, terminating=True),
    ...     endpoint("10.0.0.3", "web-2", ready=False),
    ... ]
    >>> piece = {"metadata": {"name": "web-x"}, "addressType": "IPv4", "endpoints": endpoints,
    ...          "ports": [{"name": "http", "port": 8080}]}
    >>> found = parse({"metadata": {"resourceVersion": "7"}, "items": [piece]})
    >>> found.hosts[1], sorted(found.draining), found.revision
    (Host('web-1', address='10.0.0.2:8080'), ['web-1'], '7')
    """
    best: dict[str, tuple[tuple[bool, int, str], Entry]] = {}
    problems: set[str] = set()
    for item, endpoint in _endpoints(payload):
        try:
            if (entry := _entry(item, endpoint, port)) is None:
                continue
            family = _FAMILIES.index(item.get("addressType", "IPv4"))
            rank = (entry.drain, family, entry.address or "")
            known = best.get(entry.name)
            if known is None or rank < known[0]:
                best[entry.name] = (rank, entry)
        except ConfigError as error:
            problems.add(str(error))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            problems.add(f"an endpoint cannot be read: {error!r}")
    revision = str(payload.get("metadata", {}).get("resourceVersion", ""))
    return gather((entry for _, entry in best.values()), revision, problems=sorted(problems))


def _endpoints(payload: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Each endpoint with its slice; another object is an endpoint that cannot be read."""
    for item in payload.get("items") or ():
        ends = item.get("endpoints") or [] if isinstance(item, Mapping) else [item]
        for endpoint in ends if isinstance(ends, list) else [ends]:
            yield item, endpoint


def _entry(
    item: Mapping[str, Any], endpoint: Mapping[str, Any], wanted: str | None
) -> Entry | None:
    if (state := _state(endpoint)) not in ("ready", "draining"):
        return None
    ip, port = endpoint["addresses"][0], _port(item, wanted)  # the addresses are all one host's
    place = f"[{ip}]" if ":" in ip else ip
    address = place if port is None else f"{place}:{port}"
    target = endpoint.get("targetRef") or {}
    name = target["name"] if target.get("kind") == "Pod" else address
    return Entry(name, address, drain=state == "draining")


def _state(endpoint: Mapping[str, Any]) -> str:
    """``ready``, ``draining``, ``terminating`` or ``unready``.

    A missing condition has the default of the API: ready, serving if ready, not terminating.
    """
    conditions = endpoint.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    if conditions.get("terminating"):
        # a service that publishes unready addresses marks terminating ones ready too
        return "draining" if (ready if serving is None else serving) else "terminating"
    return "ready" if ready else "unready"


def _port(item: Mapping[str, Any], wanted: str | None) -> int | None:
    if wanted is not None and wanted.isdigit():
        return int(wanted)
    ports = item.get("ports") or ()
    found = [port for port in ports if wanted is None or port.get("name") == wanted]
    if len(found) == 1 or not (found or wanted):
        number: int | None = found[0].get("port") if found else None
        return number
    names = ", ".join(repr(port.get("name") or "") for port in ports) or "none"
    why = "has several ports" if wanted is None else f"has no port {wanted!r}"
    raise ConfigError(
        f"slice {item['metadata']['name']!r} {why}: port is one of {names}, or a number",
        option="port",
    )


class KubernetesSource:
    """The endpoints of ``service``, by the EndpointSlices that Kubernetes 1.21 or later keeps.

    Identity: the pod's name. The pods of a StatefulSet keep theirs, so that a pod that is replaced
    moves no key; those of a Deployment are new hosts each time. An endpoint that is not a pod is
    called ``ip:port``. Lists are sorted by name; every host weighs 1. ``namespace`` None is that of
    ``access``.

    It lists, then watches from that version, moved on by bookmarks; a version that the API has
    forgotten (410 Gone) makes it list again. It was tested with an API server made for the tests,
    which kubectl and the official Python client read too; never with a live cluster, so it is
    experimental.

    Raises ``ConfigError`` without httpx2 and for bad options.
    """

    def __init__(
        self,
        service: str,
        namespace: str | None = None,
        *,
        access: Access | None = None,
        port: str | None = None,
        lasting: float = LASTING,
        timeout: float = TIMEOUT,
    ) -> None:
        _http.library("kubernetes")
        SECONDS(lasting, "lasting")
        SECONDS(timeout, "timeout")
        self._access = access or _kube_access.usual()
        self._service, self._namespace = service, namespace or self._access.namespace
        for name in (self._service, self._namespace):
            if not name.replace("-", "").replace(".", "").isalnum():  # it becomes part of a path
                raise ConfigError(
                    f"kubernetes:namespace/service is of DNS names, got {name!r}", option="source"
                )
        self._port, self._lasting, self._timeout = port, lasting, timeout

    async def watch(self) -> AsyncGenerator[Membership, None]:
        """Memberships as slices change. Raises ``DiscoveryError``."""
        told: Membership | None = None
        async with self._client() as client, aclosing(self._states(client)) as states:
            async for slices in states:
                found = parse(slices.payload(), port=self._port)
                if not found.same(told):
                    told = found
                    yield found

    def _client(self) -> KubeClient:
        return KubeClient(self._access, self._namespace, self._service, self._timeout)

    async def _states(self, client: KubeClient) -> AsyncGenerator[Slices, None]:
        """The slices after each list and each change."""
        slices: Slices | None = None
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                if slices is None:
                    slices = Slices(await client.list())
                    yield slices
                async with aclosing(client.watch(slices.version, self._lasting)) as events:
                    async for event in events:
                        if slices.apply(event):
                            yield slices
            except ExpiredError:
                slices = None
            except (AttributeError, KeyError, TypeError) as error:  # an object of another kind
                text = f"{client.name} gave an object that is not an EndpointSlice: {error!r}"
                raise DiscoveryError(text, source=client.name) from error
            await asyncio.sleep(max(0.0, began + LEAST - clock()))

    async def examine(self) -> list[Finding]:
        """What is listed, in which state, whether it may be watched, and the API's clock."""
        async with self._client() as client:
            try:
                listed = await client.list()
                said = self._count(listed)
                said += _http.clock_findings(client.name, client.date)
                async with aclosing(client.watch(Slices(listed).version, 1)) as events:
                    async for _ in events:
                        break
            except DiscoveryError as error:
                return [Finding("error", str(error))]
        return said

    def _count(self, listed: Mapping[str, Any]) -> list[Finding]:
        items = listed["items"]
        if not items:
            text = f"{self}: there is no EndpointSlice of such a service in that namespace"
            return [Finding("warning", text)]
        counts = Counter(_state(endpoint) for _, endpoint in _endpoints(listed))
        shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
        version = listed["metadata"]["resourceVersion"]
        text = f"{self}: resourceVersion {version}, {len(items)} slices, endpoints: {shown}"
        return [Finding("ok", text)]

    def __str__(self) -> str:
        place = self._access.url.partition("://")[2]
        return f"kubernetes://{place}/{self._namespace}/{self._service}"


_OPTIONS = {**_kube_access.OPTIONS, "port": str, "lasting": float, "timeout": float}


def from_url(url: str, **options: Any) -> KubernetesSource:
    """The source of ``kubernetes:[namespace/]service`` or ``kubernetes://api[:port]/...``.

    The first form uses the pod's own account, or outside a cluster the ``kubeconfig`` and
    ``context`` (kubectl's own). The second one is given its ``token`` or ``token_file``, ``ca``,
    ``cert`` and ``key`` (files); ``tls=false`` is for ``kubectl proxy``. Further options: ``port``
    (its name or number), ``lasting`` and ``timeout`` (seconds).

    >>> str(from_url("kubernetes://127.0.0.1:8001/shop/web?tls=false&port=http"))
    'kubernetes://127.0.0.1:8001/shop/web'
    """
    parts = SourceUrl.of(url)
    known = parts.options(_OPTIONS, options)
    namespace, _, service = parts.path.rpartition("/")
    access = _kube_access.of_url(parts, known)
    return KubernetesSource(service, namespace or None, access=access, **known)
