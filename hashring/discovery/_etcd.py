"""How is etcd asked?  Its v3 API as JSON over HTTP: range, watch, and a login where need be."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from hashring.discovery import _http
from hashring.errors import DiscoveryError

if TYPE_CHECKING:
    import httpx2

_UNAUTHENTICATED = 16  # the gRPC code of a token that is missing, unknown or has run out


@dataclass(frozen=True)
class Login:
    """A user of etcd and the password, which no text shows."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


@dataclass(frozen=True)
class Ranged:
    """The answer to a range: the store's revision, its pairs, and how many there are in all."""

    revision: int
    kvs: tuple[Mapping[str, Any], ...]
    count: int
    date: str | None


class EtcdState:
    """The pairs under the prefix as of one revision."""

    def __init__(self, found: Ranged) -> None:
        self.adopt(found)

    def adopt(self, found: Ranged) -> None:
        """Be what a range answered; events up to its revision are in it."""
        self.revision = found.revision
        self._kvs: dict[str, Mapping[str, Any]] = {pair["key"]: pair for pair in found.kvs}

    def apply(self, response: Mapping[str, Any]) -> bool:
        """Follow a watch response; whether it changed anything."""
        changed = False
        newest = self.revision
        for event in response.get("events", ()):
            pair = event["kv"]
            revision = int(pair.get("mod_revision", 0))
            if revision <= self.revision:
                continue  # a range has returned it before
            newest, changed = max(newest, revision), True
            if event.get("type") == "DELETE":
                self._kvs.pop(pair["key"], None)
            else:
                self._kvs[pair["key"]] = pair
        self.revision = newest
        return changed

    def payload(self) -> dict[str, Any]:
        """The state as a range would answer it: the keys in etcd's order."""
        kvs = sorted(self._kvs.values(), key=lambda pair: b64decode(pair["key"]))
        return {"header": {"revision": str(self.revision)}, "kvs": kvs}

    def __len__(self) -> int:
        return len(self._kvs)


class EtcdClient:
    """One endpoint, asked for the keys that begin with ``prefix``.

    Every method raises ``DiscoveryError``. The JSON gateway has the paths ``/v3/...`` since etcd
    3.4; keys and values are base64, and 64-bit numbers are strings.
    """

    def __init__(
        self,
        endpoint: str,
        prefix: bytes,
        login: Login | None,
        context: SSLContext | None,
        timeout: float,
    ) -> None:
        scheme = "https" if context is not None else "http"
        self.name = f"etcd {endpoint}"
        self._login = login
        self._reach = {
            "key": b64encode(prefix).decode(),
            # the first key after all that begin with the prefix; etcd reads \0 as "to the end"
            "range_end": b64encode(_after(prefix)).decode(),
        }
        self._http = _http.client(
            "etcd", f"{scheme}://{endpoint}", timeout=timeout, context=context
        )
        self._ready = False

    async def __aenter__(self) -> EtcdClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._http.__aexit__(*exc)

    async def range(self, since: int = 0, *, values: bool = True) -> Ranged:
        """Every pair; with ``since`` only those that changed at that revision or later.

        ``count`` is that of all pairs in either case. The read is linearizable: a member that has
        lost its leader does not answer it.
        """
        asked = {**self._reach, "min_mod_revision": str(since), "keys_only": not values}
        answer, date = await self._call("/v3/kv/range", asked)
        try:
            revision = int(answer["header"]["revision"])
            return Ranged(revision, tuple(answer.get("kvs", ())), int(answer.get("count", 0)), date)
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(answer) from error

    async def watch(self, since: int) -> AsyncGenerator[Mapping[str, Any], None]:
        """Watch responses from revision ``since`` on, as etcd writes them."""
        await self._log_in()
        create = {"create_request": {**self._reach, "start_revision": str(since)}}
        timeout = {**self._http.timeout.as_dict(), "read": None}  # silence is asked about elsewhere
        with _http.raise_discovery_errors("etcd", self.name):
            async with self._http.stream(
                "POST", "/v3/watch", json=create, timeout=_timeout(timeout)
            ) as response:
                _http.refuse_compressed(response)
                if response.status_code != 200:
                    await response.aread()
                    self._check(response)
                async for line in response.aiter_lines():
                    answer = self._decode(line)
                    if "result" not in answer:
                        raise self._refusal(answer.get("error"))
                    yield answer["result"]
        raise DiscoveryError(f"{self.name} ended the watch", source=self.name)

    # -- one exchange -----------------------------------------------------------------------------

    async def _call(self, path: str, body: Mapping[str, Any]) -> tuple[Any, str | None]:
        fresh = not self._ready
        await self._log_in()
        response = await self._post(path, body)
        if self._login is not None and not fresh and self._is_denied(response):
            self._ready = False  # tokens run out, and a restarted server forgets them
            await self._log_in()
            response = await self._post(path, body)
        self._check(response)
        return self._decode(response.text), response.headers.get("date")

    async def _log_in(self) -> None:
        if self._login is not None and not self._ready:
            self._http.headers.pop("Authorization", None)
            body = {"name": self._login.user, "password": self._login.password}
            response = await self._post("/v3/auth/authenticate", body)
            self._check(response)
            self._http.headers["Authorization"] = str(self._decode(response.text).get("token"))
        self._ready = True

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        with _http.raise_discovery_errors("etcd", self.name):
            return await _http.fetch(self._http, "POST", path, json=body)

    def _is_denied(self, response: httpx2.Response) -> bool:
        return response.status_code != 200 and (
            response.status_code == 401 or f'"code":{_UNAUTHENTICATED}' in response.text
        )

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code != 200:
            raise self._refusal(response.text[:300] or f"status {response.status_code}")

    def _decode(self, text: str) -> Any:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._strange(text[:100]) from error
        if not isinstance(answer, dict):
            raise self._strange(answer)
        return answer

    def _strange(self, answer: object) -> DiscoveryError:
        return DiscoveryError(
            f"{self.name} gave no answer of etcd's v3 API: {answer!r}", source=self.name
        )

    def _refusal(self, answer: object) -> DiscoveryError:
        said = answer
        if isinstance(answer, str) and answer.startswith("{"):
            said = self._decode(answer)
        if isinstance(said, Mapping):
            said = said.get("message") or said.get("error") or said
        return DiscoveryError(f"{self.name} refuses: {said}", source=self.name)


def _after(prefix: bytes) -> bytes:
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else b"\0"


def _timeout(parts: Mapping[str, float | None]) -> Any:
    return _http.library("etcd").Timeout(**parts)
