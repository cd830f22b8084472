"""The first requests of a browser, which it sends at the same time, before it has its cookie."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from hashring.affinity.identity import TrustedProxies, header
from hashring.affinity.identity._request import Request
from hashring.validators import COUNT, SECONDS

_SIZE = 10_000  # browsers that are remembered: some 2 MB
_user_agent = header("user-agent")


class FirstVisits:
    """Remembers for ``seconds`` on which host a browser without a cookie was placed.

    A browser is known by its address (see ``TrustedProxies``) and user agent. Others behind the
    same address with the same user agent go to that host too, for as long, so it is for short
    times. At most ``size`` browsers are remembered, the first ones go. ``clock`` reads seconds that
    never run backwards. Raises ``ConfigError``.

    >>> visits = FirstVisits(2)
    >>> browser = visits.key({"client": ("192.0.2.7", 4711), "headers": {"User-Agent": "Moz"}})
    >>> visits.remember(browser, "web1"); visits.find(browser)
    'web1'
    """

    def __init__(
        self,
        seconds: float,
        trusted: TrustedProxies | None = None,
        *,
        size: int = _SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = SECONDS(seconds, "seconds")
        self._size = COUNT(size, "size")
        self._proxies = TrustedProxies([]) if trusted is None else trusted
        self._clock = clock
        self._seen: OrderedDict[bytes, tuple[float, str]] = OrderedDict()  # end, host

    def key(self, request: Request) -> bytes:
        """What the browser of ``request`` is known by. Cost: about 3 us."""
        parts = self._proxies.client(request) or "", _user_agent(request) or ""
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return blake2b(text, digest_size=16).digest()

    def find(self, browser: bytes) -> str | None:
        """The name of the host on which the browser was placed; None after ``seconds``."""
        end, host = self._seen.get(browser, (0.0, None))
        return host if host is not None and self._clock() < end else None

    def remember(self, browser: bytes, host: str) -> None:
        """The browser was placed on ``host``; an earlier host stays until its time is over."""
        now = self._clock()
        if self.find(browser) is None:
            self._seen[browser] = now + self._seconds, host
            self._seen.move_to_end(browser)
        while len(self._seen) > self._size or next(iter(self._seen.values()))[0] <= now:
            self._seen.popitem(last=False)
