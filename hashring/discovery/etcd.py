"""etcd as a source: one key for each host under a prefix, read once and then watched."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64decode
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from hashring.discovery import _http
from hashring.discovery._etcd import EtcdClient, EtcdState, Login
from hashring.discovery._membership import Entry, Finding, Membership, gather, weight_from
from hashring.discovery._url import SourceUrl, with_port
from hashring.errors import ConfigError, DiscoveryError
from hashring.strategies import Rng
from hashring.validators import FLAG, SECONDS

HEARTBEAT = 2.0
"""Seconds of silence after which etcd is asked whether it lives: a lease rarely lasts under 10."""

TIMEOUT = 2.0
"""Seconds for an answer: etcd elects a new leader within one or two."""

_PORT = 2379  # etcd's own


def parse(payload: Mapping[str, Any]) -> Membership:
    """The hosts of a range answer, ``{"header": {"revision": ...}, "kvs": [...]}``.

    A host's name is the last segment of its key. Its value is ``host:port``, or JSON with
    ``address``, ``weight`` (0: drain) and ``drain``, whose other fields are ignored; empty
    is a host whose address is its name. Any other pair is one of ``problems``.

    >>> from base64 import b64encode
    >>> def pair(key, value):
    ...     return {"key": b64encode(key).decode(), "value": b64encode(value).decode()}
    >>> kvs = [pair(b"/web/a", b"10.0.0.1:80"), pair(b"/web/b", b'{"weight": 2}'), pair(b"/", b"")]
    >>> found = parse({"header": {"revision": "7"}, "kvs": kvs})
    >>> found.hosts, found.revision, len(found.problems)
    ((Host('a', address='10.0.0.1:80'), Host('b', 2.0)), '7', 1)
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for pair in payload.get("kvs", ()):
        key = b64decode(pair.get("key", "")).decode("utf-8", "backslashreplace")
        try:
            entries.append(_entry(key, b64decode(pair.get("value", "")).decode()))
        except (ValueError, RecursionError) as error:  # all that decoders and ConfigError raise
            problems.append(f"key {key!r}: {error}")
    revision = str(payload.get("header", {}).get("revision", ""))
    return gather(entries, revision, problems=problems)


def _entry(key: str, value: str) -> Entry:
    name, said = key.rpartition("/")[2], value.strip()
    if not said.startswith("{"):
        if any(letter.isspace() for letter in said):
            raise ConfigError(f"its value must be host:port or a JSON object, got {value[:80]!r}")
        return Entry(name, said or None)
    fields = json.loads(said)
    drain = fields.get("drain", False)
    FLAG(drain, "drain")
    return Entry(name, fields.get("address"), weight_from(fields.get("weight"), name), drain)


class EtcdSource:
    """The keys under ``prefix`` in etcd 3.4 or later, by its JSON gateway.

    Identity: the last segment of the key; two keys with one last segment are one host, of which
    the first key counts. Lists are sorted by name. A lease that expires is a host that goes.

    It ranges, then watches from that revision; a compaction meanwhile makes it range again. Of
    several ``endpoints`` it uses one at a time, the next one when that fails. ``heartbeat`` seconds
    of silence make it ask what changed since: a member that froze or lost its leader is left, and a
    watch that lost an event is noticed. ``context`` is for TLS.

    Raises ``ConfigError`` without httpx2 and for bad options.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        prefix: str,
        *,
        login: Login | None = None,
        context: Any = None,
        heartbeat: float = HEARTBEAT,
        timeout: float = TIMEOUT,
        rng: Rng | None = None,
    ) -> None:
        _http.library("etcd")
        named = ([endpoints] if isinstance(endpoints, str) else list(endpoints)) or ["127.0.0.1"]
        self._endpoints = [with_port(each, _PORT) for each in named]
        self._prefix = prefix if prefix.endswith("/") else f"{prefix}/"
        SECONDS(heartbeat, "heartbeat")
        SECONDS(timeout, "timeout")
        self._login, self._context = login, context
        self._heartbeat, self._timeout = heartbeat, timeout
        self._turn = (rng or random).randrange(len(self._endpoints))  # else all ask the first one

    async def watch(self) -> AsyncGenerator[Membership, None]:
        """Memberships from the next endpoint that answers. Raises ``DiscoveryError``."""
        for last in range(len(self._endpoints))[::-1]:
            answered = False
            try:
                async with self._client() as client, aclosing(self._follow(client)) as told:
                    async for membership in told:
                        answered = True
                        yield membership
            except DiscoveryError:
                self._turn += 1
                if answered or not last:
                    raise

    def _client(self) -> EtcdClient:
        endpoint = self._endpoints[self._turn % len(self._endpoints)]
        prefix = self._prefix.encode()
        return EtcdClient(endpoint, prefix, self._login, self._context, self._timeout)

    async def _follow(self, client: EtcdClient) -> AsyncGenerator[Membership, None]:
        """The memberships of one endpoint, until its ``DiscoveryError``."""
        told: Membership | None = None
        try:
            while True:  # once for each compaction
                state = EtcdState(await client.range())
                found = parse(state.payload())
                if not found.same(told):
                    told = found
                    yield found
                async with aclosing(self._changes(client, state)) as changes:
                    async for found in changes:
                        if not found.same(told):
                            told = found
                            yield found
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # of an odd answer
            text = f"{client.name} gave no answer of etcd's v3 API: {error!r}"
            raise DiscoveryError(text, source=client.name) from error

    async def _changes(
        self, client: EtcdClient, state: EtcdState
    ) -> AsyncGenerator[Membership, None]:
        """Memberships after each change to ``state``, until etcd has compacted what comes next."""
        async with aclosing(client.watch(state.revision + 1)) as responses:
            coming: asyncio.Future[Mapping[str, Any]] | None = None
            try:
                while True:
                    coming = coming or asyncio.ensure_future(anext(responses))
                    # a wait, no timeout: cancelling a read would end the stream
                    await asyncio.wait((coming,), timeout=self._heartbeat)
                    if coming.done():
                        response, coming = coming.result(), None
                        if _is_compacted(client, response):
                            return
                        changed = state.apply(response)
                    else:
                        changed = await self._beat(client, state)
                    if changed:
                        yield parse(state.payload())
            finally:
                if coming is not None:
                    coming.cancel()
                    with suppress(asyncio.CancelledError, DiscoveryError, StopAsyncIteration):
                        await coming

    async def _beat(self, client: EtcdClient, state: EtcdState) -> bool:
        """Ask whether the watch has missed anything; catch up if so."""
        since = await client.range(state.revision + 1, values=False)
        if not since.kvs and since.count == len(state):
            return False
        state.adopt(await client.range())
        return True

    async def examine(self) -> list[Finding]:
        """What each endpoint answers, whether it may be read, and how far its clock is off."""
        said: list[Finding] = []
        for _ in self._endpoints:
            async with self._client() as client:
                try:
                    found = await client.range()
                except DiscoveryError as error:
                    said.append(Finding("error", str(error)))
                else:
                    text = f"{client.name}: revision {found.revision}, {found.count} keys under"
                    said.append(Finding("ok", f"{text} {self._prefix}"))
                    said.extend(_http.clock_findings(client.name, found.date))
            self._turn += 1
        if said and not any(finding.level == "ok" for finding in said):
            return said
        return [*said, *(() if self._login else await self._strip_slashes())]

    async def _strip_slashes(self) -> list[Finding]:
        """A prefix that was meant without its leading slash is the usual reason for no hosts."""
        bare = EtcdSource(self._endpoints, self._prefix.lstrip("/") or "/", context=self._context)
        async with bare._client() as client:
            with suppress(DiscoveryError):
                found = await client.range()
                if found.count and self._prefix.startswith("/") and bare._prefix != "/":
                    hint = f"there are {found.count} keys under {bare._prefix!r}, without a slash"
                    return [Finding("warning", f"{hint}: ?prefix={bare._prefix} reads those")]
        return []

    def __str__(self) -> str:
        return (
            f"etcd://{','.join(self._endpoints)}{'' if self._prefix[0] == '/' else '/?prefix='}"
            + (self._prefix.rstrip("/"))
        )


def _is_compacted(client: EtcdClient, response: Mapping[str, Any]) -> bool:
    if not response.get("canceled"):
        return False
    if int(response.get("compact_revision", 0)):
        return True
    why = response.get("cancel_reason") or "it gave no reason"
    raise DiscoveryError(f"{client.name} ended the watch: {why}", source=client.name)


_OPTIONS = {
    "prefix": str,
    "user": str,
    "password": str,
    "tls": bool,
    "ca": str,
    "cert": str,
    "key": str,
    "heartbeat": float,
    "timeout": float,
}


def from_url(url: str, **options: Any) -> EtcdSource:
    """The source of ``etcd://[user:password@]host[:port],.../prefix?option=value``.

    The prefix is the URL's path with its leading slash; ``prefix`` gives another. ``ca``, ``cert``
    and ``key`` (files) or ``tls=true`` switch TLS on. Further options: ``user``, ``password``,
    ``heartbeat``, ``timeout`` (seconds).

    >>> str(from_url("etcd://ann:secret@e1,e2:2380/services/web"))
    'etcd://e1:2379,e2:2380/services/web'
    """
    parts = SourceUrl.of(url)
    known = parts.options(_OPTIONS, options)
    user = known.pop("user", parts.user)
    password = known.pop("password", parts.password)
    if (user is None) != (password is None):
        raise ConfigError(f"{parts.shown}: user and password go together", option="user")
    files = {name: known.pop(name, None) for name in ("ca", "cert", "key")}
    context = _http.tls_context(**files) if known.pop("tls", False) or any(files.values()) else None
    prefix = known.pop("prefix", f"/{parts.path}")
    if not prefix.strip("/"):
        raise ConfigError(
            f"{parts.shown} names no prefix: write etcd://host:port/services/web", option="prefix"
        )
    login = Login(user, password) if user is not None and password is not None else None
    return EtcdSource(parts.endpoints, prefix, login=login, context=context, **known)
