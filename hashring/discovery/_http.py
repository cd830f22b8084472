"""HTTP requests to a registry: one client for each watch, errors in one line."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hashring.discovery._membership import Finding
from hashring.errors import ConfigError, DiscoveryError, requires_extra

if TYPE_CHECKING:
    import httpx2

LARGEST = 64 << 20
"""Bytes of a response: 100,000 hosts of 600 bytes."""

SKEW = 5.0
"""Seconds that two clocks may differ before ``doctor`` warns: a certificate or token that was made
this moment is refused by a clock that is behind."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def library(extra: str) -> Any:
    """The module ``httpx2``; ``ConfigError`` names the ``extra`` that brings it."""
    with requires_extra(extra, f"{extra} sources", option="source"):
        import httpx2
    return httpx2


def client(
    extra: str,
    base_url: str,
    *,
    timeout: float,
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> httpx2.AsyncClient:
    """A client of its own for one watch; ``timeout`` seconds for each step of an exchange.

    Proxies and credentials of the environment are not used: a registry is asked directly, by what
    the source was given. Use it with ``async with``, so that no socket outlives the watch.
    """
    made: httpx2.AsyncClient = library(extra).AsyncClient(
        base_url=base_url,
        # compressed, a small response could become any size in memory
        headers={"User-Agent": "hashring-discovery", "Accept-Encoding": "identity", **headers},
        timeout=timeout,
        trust_env=False,
        verify=context or (True if base_url.startswith("https:") else _trusts_nobody()),
    )
    return made


def _trusts_nobody() -> ssl.SSLContext:
    # for plain HTTP: to read the system's authorities would hold the event loop for some 20 ms,
    # at each reconnection, and should TLS be met all the same, no certificate is good
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tls_context(
    ca: str | None = None, cert: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """What verifies a server, by the authorities in ``ca`` (None: the system's).

    ``cert`` and ``key`` identify this client to a server that asks. All are files; raises
    ``ConfigError`` for one that does not exist.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"TLS files (ca={ca}, cert={cert}, key={key}) cannot be used: {error}", option="ca"
        ) from error
    return context


async def fetch(
    client: httpx2.AsyncClient, method: str, path: str, **options: Any
) -> httpx2.Response:
    """A whole response of at most ``LARGEST`` bytes. Raises ``DiscoveryError`` for a larger one."""
    async with client.stream(method, path, **options) as response:
        refuse_compressed(response)
        parts, size = [], 0
        async for part in response.aiter_raw():
            size += len(part)
            if size > LARGEST:
                raise DiscoveryError(f"a response of more than {LARGEST >> 20} MiB")
            parts.append(part)
    whole: httpx2.Response = type(response)(
        response.status_code,
        headers=response.headers,
        content=b"".join(parts),
        request=response.request,
    )
    return whole


def refuse_compressed(response: httpx2.Response) -> None:
    """Raises ``DiscoveryError`` for a response that is compressed although none was asked for."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise DiscoveryError(f"a response with the content coding {coding[:40]!r}")


@contextmanager
def raise_discovery_errors(extra: str, source: str) -> Iterator[None]:
    """Inside, what fails in HTTP is a ``DiscoveryError`` that names ``source``."""
    httpx = library(extra)
    try:
        yield
    except DiscoveryError as error:
        if error.source is not None:
            raise
        raise DiscoveryError(f"{source}: {error}", source=source) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        why = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            why = f"no answer in time ({type(error).__name__})"
        raise DiscoveryError(f"{source}: {why}", source=source) from error


def clock_findings(name: str, date: str | None, now: float | None = None) -> list[Finding]:
    """A warning if the ``Date`` header of ``name`` is far from ``now``, this machine's time.

    >>> clock_findings("etcd", "Thu, 01 Jan 1970 00:01:00 GMT", now=0.0)[0].text
    'etcd: its clock is +60 s off ours'
    """
    try:
        there = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return []
    off = there - (time.time() if now is None else now)
    if abs(off) <= SKEW:
        return []
    return [Finding("warning", f"{name}: its clock is {off:+.0f} s off ours")]
