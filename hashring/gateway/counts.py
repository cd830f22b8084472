"""Counts of a gateway's requests since its start, over all changes of its settings."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from hashring.gateway.access import AccessEntry

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds in seconds. Few, because each is a line for each host: 100 hosts fit in 200 KB."""

_CLASSES = tuple(f"{number}xx" for number in range(10))
_MOST_HOSTS = 10_000  # names that are counted apart; a pool that changes for months has no more


class RequestCounts:
    """Requests by host and status, picks by reason, durations by host, moved sessions by cause.

    Cost: about 1 us a request.

    >>> counts = RequestCounts()
    >>> counts.add(AccessEntry("GET", "/", "192.0.2.1", host="web1", reason="owner", status=200))
    >>> counts.requests["web1", "2xx"], counts.reasons["owner"]
    (1, 1)
    """

    __slots__ = ("durations", "moved", "reasons", "requests", "seconds")

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.moved: Counter[str] = Counter()
        self.durations: dict[str, list[int]] = {}
        self.seconds: dict[str, float] = {}

    def add(self, entry: AccessEntry) -> None:
        """Count an ended request."""
        host = entry.host
        durations = self.durations.get(host)
        if durations is None:
            if len(self.durations) >= _MOST_HOSTS:
                host = "other"
            durations = self.durations.setdefault(host, [0] * (len(BUCKETS) + 1))
        self.requests[host, _CLASSES[entry.status // 100]] += 1
        if entry.reason:
            self.reasons[entry.reason] += 1
        if entry.moved:
            self.moved[entry.moved] += 1
        durations[bisect_left(BUCKETS, entry.seconds)] += 1
        self.seconds[host] = self.seconds.get(host, 0.0) + entry.seconds
