"""How is a Kubernetes API asked?  A list in pages, and a watch from its version, over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hashring.discovery import _http
from hashring.discovery._kube_access import Access
from hashring.errors import DiscoveryError

if TYPE_CHECKING:
    import httpx2

_PAGE = 500
"""Slices in one page, as kubectl asks for: with 100 endpoints each, one page nearly always."""


class ExpiredError(DiscoveryError):
    """The API has forgotten what came after a version, or the rest of a list (410 Gone)."""


class Slices:
    """The slices of a service as of one version."""

    def __init__(self, listed: Mapping[str, Any]) -> None:
        self.version: str = listed["metadata"]["resourceVersion"]
        self._items: dict[str, Mapping[str, Any]] = {
            item["metadata"]["name"]: item for item in listed.get("items") or ()
        }

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Follow an event of a watch; whether it may have changed anything."""
        item = event["object"]
        self.version = item["metadata"]["resourceVersion"]
        if event["type"] == "DELETED":
            return self._items.pop(item["metadata"]["name"], None) is not None
        if event["type"] in ("ADDED", "MODIFIED"):
            self._items[item["metadata"]["name"]] = item
            return True
        return False  # a bookmark has only the version

    def payload(self) -> dict[str, Any]:
        """The state as a list would answer it."""
        items = list(self._items.values())
        return {"metadata": {"resourceVersion": self.version}, "items": items}


class KubeClient:
    """The EndpointSlices of one service, asked of one API; use it with ``async with``.

    Every method raises ``DiscoveryError``, and ``ExpiredError`` when a list must be made again.
    """

    def __init__(self, access: Access, namespace: str, service: str, timeout: float) -> None:
        self.name = f"kubernetes {access.url}"
        self._access, self._timeout = access, timeout
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._select = {"labelSelector": f"kubernetes.io/service-name={service}"}
        self._http = _http.client("kubernetes", access.url, timeout=timeout, context=access.context)
        self.date: str | None = None  # of the last list

    async def __aenter__(self) -> KubeClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._http.__aexit__(*exc)

    async def list(self) -> dict[str, Any]:
        """All slices.

        Asked without a version, the API answers the newest state, never an older one of a cache.
        """
        items: list[Any] = []
        query: dict[str, Any] = {**self._select, "limit": _PAGE}
        while True:
            with _http.raise_discovery_errors("kubernetes", self.name):
                response = await _http.fetch(
                    self._http, "GET", self._path, params=query, headers=self._access.headers()
                )
            self._check(response)
            self.date = response.headers.get("Date")
            page = self._decode(response.text, "metadata")
            items += page.get("items") or ()
            if not (further := page["metadata"].get("continue")):
                return {"metadata": page["metadata"], "items": items}
            query["continue"] = further

    async def watch(self, version: str, lasting: float) -> AsyncGenerator[Mapping[str, Any], None]:
        """Events after ``version``; the API ends them after ``lasting`` seconds.

        That end is the heartbeat: one that has not come is the silence of an API that froze.
        """
        seconds = max(1, round(lasting))
        query: dict[str, Any] = {
            **self._select,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": seconds,
        }
        patience = _http.library("kubernetes").Timeout(self._timeout, read=seconds + self._timeout)
        with _http.raise_discovery_errors("kubernetes", self.name):
            async with self._http.stream(
                "GET", self._path, params=query, headers=self._access.headers(), timeout=patience
            ) as response:
                _http.refuse_compressed(response)
                if response.status_code != HTTPStatus.OK:
                    await response.aread()
                    self._check(response)
                async for line in response.aiter_lines():
                    event = self._decode(line, "object")
                    if event.get("type") == "ERROR":
                        raise self._refusal(event["object"])
                    yield event

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code != HTTPStatus.OK:
            try:
                status = json.loads(response.text)
            except (ValueError, RecursionError):
                status = None
            if not isinstance(status, dict):  # a proxy before the API answers in its own words
                status = {"message": response.text[:300]}
            raise self._refusal({"code": response.status_code, **status})

    def _refusal(self, status: Mapping[str, Any]) -> DiscoveryError:
        kind = ExpiredError if status.get("code") == HTTPStatus.GONE else DiscoveryError
        said = status.get("message") or status.get("reason") or f"status {status.get('code')}"
        hint = ""
        if status.get("code") == HTTPStatus.FORBIDDEN:
            hint = "; it needs a Role with list and watch of endpointslices"
        return kind(f"{self.name} refuses: {said}{hint}", source=self.name)

    def _decode(self, text: str, field: str) -> Any:
        """``text`` as an object that has the object ``field``."""
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get(field), dict):
            said = f"{self.name} gave no answer of the Kubernetes API: {text[:100]!r}"
            raise DiscoveryError(said, source=self.name)
        return answer
