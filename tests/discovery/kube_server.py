"""The part of a Kubernetes API that serves EndpointSlices, in the hands of a test.

Made after the documentation ("Kubernetes API Concepts": lists in chunks, watches, bookmarks, 410
Gone), and read by kubectl and by the official Python client in test_kubernetes_clients.py. It is no
cluster: nothing makes slices but the test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.discovery.http_server import LOOK, Killable, left
from tests.discovery.kube_objects import DISCOVERY, GROUP, PREFIX, bookmark, matches, status, typed

BOOKMARK = 60.0  # seconds from one bookmark to the next; one more comes at the end of a watch


class KubeServer(Killable):
    """``with KubeServer() as server``: slices of the namespace ``shop``, which a test puts.

    ``rights`` are the verbs of each token; empty lets everybody do all. ``page`` bounds the slices
    of one answer. ``asked`` are (verb, query) so far.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.url = f"kubernetes://{self.endpoint}/shop/web?tls=false"
        self.slices: dict[str, dict[str, Any]] = {}
        self.version, self.oldest = 100, 100
        self.rights: dict[str, set[str]] = {}
        self.page: int | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.bookmarks = 0  # how many a test asked for

    def put(self, given: dict[str, Any]) -> None:
        """Create a slice or replace one."""
        name = given["metadata"]["name"]
        with self.changed:
            self._tell("MODIFIED" if name in self.slices else "ADDED", given)

    def remove(self, name: str) -> None:
        """Delete a slice."""
        with self.changed:
            self._tell("DELETED", self.slices[name])

    def _tell(self, kind: str, given: dict[str, Any]) -> None:
        self.version += 1
        now = {**given, "metadata": {**given["metadata"], "resourceVersion": str(self.version)}}
        self.slices.pop(now["metadata"]["name"], None)
        if kind != "DELETED":
            self.slices[now["metadata"]["name"]] = now
        self.events.append((self.version, kind, now))
        self.changed.notify_all()

    def compact(self) -> None:
        """Forget all events; other objects than these slices have moved the version on."""
        with self.changed:
            self.version += 1000
            self.oldest = self.version
            self.events.clear()

    def bookmark(self) -> None:
        """Tell every watcher the version, which other objects have moved on."""
        with self.changed:
            self.version += 1
            self.bookmarks += 1
            self.changed.notify_all()

    def selected(self, query: Mapping[str, str], namespace: str | None) -> list[dict[str, Any]]:
        """The slices that a query selects, by name. The caller holds ``changed``."""
        return [
            self.slices[name]
            for name in sorted(self.slices)
            if matches(self.slices[name], query, namespace)
        ]


class _Handler(BaseHTTPRequestHandler):
    world: KubeServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path in DISCOVERY:
            self._say(HTTPStatus.OK, DISCOVERY[parts.path])
            return
        words = parts.path.removeprefix(PREFIX).strip("/").split("/")
        namespace = words[1] if words[0] == "namespaces" and len(words) == 3 else None
        if not parts.path.startswith(PREFIX) or words[-1] != "endpointslices":
            text = "the server could not find the requested resource"
            self._fail(HTTPStatus.NOT_FOUND, "NotFound", text)
            return
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        verb = "watch" if query.get("watch") in ("true", "1", "True") else "list"
        with self.world.changed:
            self.world.asked.append((verb, query))
        if self._allowed(verb, namespace):
            (self._watch if verb == "watch" else self._list)(query, namespace)

    def _allowed(self, verb: str, namespace: str | None) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        rights = self.world.rights
        if not rights or verb in rights.get(token, ()):
            return True
        if token not in rights:
            self._fail(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")
            return False
        text = (
            f'endpointslices.{GROUP} is forbidden: User "system:serviceaccount:shop:router" cannot '
            f'{verb} resource "endpointslices" in API group "{GROUP}" in the namespace '
            f'"{namespace}"'
        )
        self._fail(HTTPStatus.FORBIDDEN, "Forbidden", text)
        return False

    def _list(self, query: Mapping[str, str], namespace: str | None) -> None:
        world = self.world
        with world.changed:
            found = world.selected(query, namespace)
            version, start = world.version, 0
            if further := query.get("continue"):
                version, start = (int(word) for word in further.split("."))
                if version < world.oldest:
                    text = "The provided continue parameter is too old to display a consistent list"
                    self._fail(HTTPStatus.GONE, "Expired", text)
                    return
        limit = min(int(query.get("limit", "0")) or len(found), world.page or len(found))
        page, rest = found[start : start + limit], len(found) - start - limit
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if rest > 0:
            metadata["continue"] = f"{version}.{start + limit}"
            if not query.get("labelSelector"):  # the API does not count what a selector leaves
                metadata["remainingItemCount"] = rest
        kind = {"kind": "EndpointSliceList", "apiVersion": f"{GROUP}/v1"}
        self._say(HTTPStatus.OK, {**kind, "metadata": metadata, "items": page})

    def _watch(self, query: Mapping[str, str], namespace: str | None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self._events(query, namespace):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if self.world.alive:  # a killed one does not say that this is the end
            self.wfile.write(b"0\r\n\r\n")

    def _events(self, query: Mapping[str, str], namespace: str | None) -> Iterator[dict[str, Any]]:
        world = self.world
        until = time.monotonic() + float(query.get("timeoutSeconds", "1800"))
        bookmarks = query.get("allowWatchBookmarks") in ("true", "1", "True")
        seen, marked, due = int(query.get("resourceVersion") or 0), 0, time.monotonic() + BOOKMARK
        with world.changed:
            marked = world.bookmarks
            if seen == 0:  # "any version": the state as events, then what changes
                seen = world.version
                first = [
                    {"type": "ADDED", "object": typed(i)} for i in world.selected(query, namespace)
                ]
            else:
                first = []
        yield from first
        while True:
            with world.changed:
                if seen < world.oldest:
                    text = f"too old resource version: {seen} ({world.oldest})"
                    gone = status(HTTPStatus.GONE, "Expired", text)
                    fresh = [{"type": "ERROR", "object": gone}]
                    ended = True
                else:
                    fresh = [
                        {"type": kind, "object": typed(item)}
                        for version, kind, item in world.events
                        if version > seen and matches(item, query, namespace)
                    ]
                    now = time.monotonic()
                    ended = now >= until or not world.alive or left(self.connection)
                    seen = max(seen, world.events[-1][0]) if world.events else seen
                    if (
                        bookmarks
                        and world.alive
                        and (ended or now >= due or world.bookmarks > marked)
                    ):
                        marked, due, seen = world.bookmarks, now + BOOKMARK, world.version
                        fresh.append({"type": "BOOKMARK", "object": bookmark(seen)})
                    if not fresh and not ended:
                        world.changed.wait(LOOK)
            yield from fresh
            if ended:
                return

    def _fail(self, code: HTTPStatus, reason: str, message: str) -> None:
        self._say(code, status(code, reason, message))

    def _say(self, code: HTTPStatus, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
