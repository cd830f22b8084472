"""The admin listener of several workers: one page for all of them, actions on each."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.operator_marks import HostAction, read_action

_PATIENCE = 40.0  # seconds for an answer: a request for events waits 30 s
_LARGEST = 64 << 20  # bytes of one answer
_LARGEST_BODY = 64 * 1024  # bytes of an action
_MERGED = frozenset({"/state", "/metrics", "/readyz", "/v1/view"})
_SUMMED = re.compile(r"_(in_flight|pending|outstanding|sessions|connections)$")
"""Gauges that add up; of any other one the largest value is shown."""

_HOST_COUNTS = ("in_flight", "pending", "outstanding", "ok", "failed")

_Reply = tuple[int, list[tuple[bytes, bytes]], bytes]


class WorkerAddress(Protocol):
    """A worker as the admin listener needs it."""

    @property
    def admin(self) -> str:
        """The path of its Unix socket."""


class WorkerGroup(Protocol):
    """The supervisor as the admin listener needs it."""

    reports: list[dict[str, Any]]

    @property
    def active(self) -> Sequence[WorkerAddress]:
        """The workers that are ready."""

    def record(self, done: HostAction, asked: Sequence[WorkerAddress], /) -> None:
        """Keep an action that the workers ``asked`` have carried out, for all others."""


class WorkersAdmin:
    """An ASGI application that asks the workers and adds up what they answer.

    Pages are the first worker's, who also checks access; ``/state``, ``/metrics`` and ``/readyz``
    are merged; an action (POST) is carried out by each.
    """

    def __init__(self, group: WorkerGroup) -> None:
        self._group = group

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, headers, body = await self._answer(scope, await _body_of(receive))
        headers = [pair for pair in headers if pair[0] not in (b"content-length", b"connection")]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})

    async def _answer(self, scope: Scope, body: bytes | None) -> _Reply:
        if body is None:
            return _text(413, f"the body has more than {_LARGEST_BODY} bytes")
        workers = list(self._group.active)
        if not workers:
            return _text(503, "no worker is ready")
        path: str = scope["path"]
        if path == "/v1/stream":  # the dashboard then asks for /v1/view every second
            return _text(404, "several workers have no stream: ask for /v1/view")
        asked = workers if scope["method"] == "POST" or path in _MERGED else workers[:1]
        request = _request(scope, body)
        replies = await asyncio.gather(
            *(_ask(worker.admin, request) for worker in asked), return_exceptions=True
        )
        good = [reply for reply in replies if not isinstance(reply, BaseException)]
        if not good:
            return _text(503, "no worker answered")
        first = good[0]
        done = None
        if first[0] == 200:
            done = read_action(scope["method"], path, scope["query_string"], body)
        if done is not None:
            self._group.record(done, asked)
        if path not in _MERGED or scope["method"] == "POST":
            return first
        return self._merge(path, first, good)

    def _merge(self, path: str, first: _Reply, replies: list[_Reply]) -> _Reply:
        if path == "/readyz":
            return next((reply for reply in replies if reply[0] == 200), first)
        if first[0] != 200:
            return first
        bodies = [body for status, _, body in replies if status == 200]
        ended = self._group.reports
        if path == "/metrics":
            texts = [body.decode() for body in bodies]
            return 200, first[1], merge_metrics(texts, [r.get("metrics", "") for r in ended])
        states = [json.loads(body) for body in bodies]
        merged = merge_states(states, [report.get("stats", {}) for report in ended])
        return 200, first[1], json.dumps(merged, indent=2).encode() + b"\n"


def merge_metrics(texts: Sequence[str], ended: Sequence[str]) -> bytes:
    """One exposition of those of the workers; of ``ended`` ones only what counts.

    >>> one = "# TYPE a_total counter\\na_total 1.0\\n# TYPE b gauge\\nb 1.0\\n"
    >>> merge_metrics([one, one], [one]).splitlines()
    [b'# TYPE a_total counter', b'a_total 3.0', b'# TYPE b gauge', b'b 1.0']
    """
    heads: dict[str, list[str]] = {}
    values: dict[str, dict[str, float]] = {}
    for place, text in enumerate([*texts, *ended]):
        family, kind = "", ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                if line.startswith("# TYPE"):
                    kind = line.rpartition(" ")[2]
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
                continue
            name, _, value = line.rpartition(" ")
            if kind == "gauge" and place >= len(texts):
                continue
            samples = values.setdefault(family, {})
            adds_up = kind != "gauge" or _SUMMED.search(family)
            before = samples.get(name, 0.0)
            samples[name] = before + float(value) if adds_up else max(before, float(value))
    lines = []
    for family, head in heads.items():
        lines += head
        lines += [f"{name} {value!r}" for name, value in values.get(family, {}).items()]
    return ("\n".join(lines) + "\n").encode()


def merge_states(
    states: Sequence[dict[str, Any]], ended: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The first state, with the counts of all; ``workers`` has each one's own.

    >>> one = {"ready": True, "in_flight": 1, "stats": {"requests": 2}, "hosts": []}
    >>> merged = merge_states([one, {**one, "ready": False}], [{"requests": 5}])
    >>> merged["in_flight"], merged["stats"], merged["ready"]
    (2, {'requests': 9}, True)
    """
    merged = dict(states[0])
    merged["ready"] = any(state["ready"] for state in states)
    merged["in_flight"] = sum(state["in_flight"] for state in states)
    merged["stats"] = _sum([*(state["stats"] for state in states), *ended])
    by_name = [{host["name"]: host for host in state["hosts"]} for state in states]
    merged["hosts"] = [
        _add_counts(host, [hosts[host["name"]] for hosts in by_name if host["name"] in hosts])
        for host in states[0]["hosts"]
    ]
    merged["workers"] = [
        {"ready": state["ready"], "in_flight": state["in_flight"], "stats": state["stats"]}
        for state in states
    ]
    return merged


def _add_counts(host: dict[str, Any], all_of_it: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [count for count in _HOST_COUNTS if count in host]
    return host | {count: sum(each.get(count, 0) for each in all_of_it) for count in counts}


def _sum(stats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of numbers, and of numbers in mappings."""
    total: dict[str, Any] = {}
    for each in stats:
        for name, value in each.items():
            if isinstance(value, Mapping):
                total[name] = _sum([total.get(name) or {}, value])
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                total[name] = (total.get(name) or 0) + value
            else:
                total.setdefault(name, value)
    return total


def _text(status: int, message: str) -> _Reply:
    body = json.dumps({"error": message}).encode() + b"\n"
    return status, [(b"content-type", b"application/json")], body


def _request(scope: Scope, body: bytes) -> bytes:
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), target)]
    lines += [
        b"%b: %b" % pair
        for pair in scope["headers"]
        if pair[0] not in (b"connection", b"content-length", b"transfer-encoding", b"expect")
    ]
    lines += [b"connection: close", b"content-length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


async def _ask(path: str, request: bytes) -> _Reply:
    """One request to a worker, whose responses are those of our own server."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_unix_connection(path, limit=_LARGEST)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
            length = int(dict(pairs).get(b"content-length", b"0"))
            is_head = request.startswith(b"HEAD ")
            body = b"" if is_head else await reader.readexactly(min(length, _LARGEST))
        finally:
            writer.close()
        return int(first.split(b" ")[1]), pairs, body


async def _body_of(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return body
