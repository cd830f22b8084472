"""How is Consul asked?  Its health endpoint over HTTP, by queries that may block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hashring.discovery import _http
from hashring.errors import DiscoveryError

if TYPE_CHECKING:
    import httpx2

_JITTER = 1 / 16  # of the wait, which Consul adds so that queries do not end in one moment


@dataclass(frozen=True)
class ConsulResponse:
    """The instances as of ``index``; whether access control hides some; the agent's clock."""

    instances: Sequence[Mapping[str, Any]]
    index: int
    hidden: bool
    date: str | None


class ConsulClient:
    """One agent, asked for the instances of one service; use it with ``async with``.

    ``name`` is what errors call it, ``query`` the part of each query that stays.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        service: str,
        query: Mapping[str, Any],
        *,
        token: str | None,
        context: SSLContext | None,
        timeout: float,
    ) -> None:
        self.name = name
        self._path = f"/v1/health/service/{quote(service, safe='')}"
        self._query, self._timeout = query, timeout
        self._http = _http.client(
            "consul",
            f"{'http' if context is None else 'https'}://{endpoint}",
            timeout=timeout,
            context=context,
            headers={} if token is None else {"X-Consul-Token": token},
        )

    async def __aenter__(self) -> ConsulClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._http.__aexit__(*exc)

    async def ask(self, index: int, wait: float) -> ConsulResponse:
        """One query. Raises ``DiscoveryError``.

        It blocks for ``wait`` seconds at most while ``index`` is the newest, and never if that
        is 0.
        """
        query: dict[str, Any] = {**self._query}
        patience = self._timeout
        if index:
            query |= {"index": index, "wait": f"{max(1, round(wait * 1000))}ms"}
            patience += wait * (1 + _JITTER)
        timeout = _http.library("consul").Timeout(self._timeout, read=patience)
        with _http.raise_discovery_errors("consul", self.name):
            response = await _http.fetch(
                self._http, "GET", self._path, params=query, timeout=timeout
            )
        return self._answer(response)

    def _answer(self, response: httpx2.Response) -> ConsulResponse:
        if response.status_code != HTTPStatus.OK:
            said = response.text.strip()[:300] or f"status {response.status_code}"
            raise DiscoveryError(f"{self.name} refuses: {said}", source=self.name)
        headers = response.headers
        try:
            instances = json.loads(response.text)
            index = int(headers["X-Consul-Index"])
        except (KeyError, ValueError, RecursionError):
            instances = index = None
        if not isinstance(instances, list) or index is None:
            text = f"{self.name} gave no answer of Consul's health API: {response.text[:100]!r}"
            raise DiscoveryError(text, source=self.name)
        # sent since Consul 1.11; before that, a token without rights reads as an empty service
        hidden = headers.get("X-Consul-Results-Filtered-By-ACLs") == "true"
        return ConsulResponse(instances, index, hidden, headers.get("Date"))
