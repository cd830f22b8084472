"""Counts of a gateway's requests since its start, over all changes of its settings."""

from __future__ import annotations

from bisect import bisect_left

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

    __slots__ = ("_hosts", "moved", "reasons")

    def __init__(self) -> None:
        self._hosts: dict[str, _HostCounts] = {}
        self.reasons: dict[str, int] = {}
        self.moved: dict[str, int] = {}

    def add(self, entry: AccessEntry) -> None:
        """Count an ended request."""
        counts = self._hosts.get(entry.host) or self._counts_of(entry.host)
        seconds, reasons, reason = entry.seconds, self.reasons, entry.reason
        counts.classes[entry.status // 100] += 1
        counts.buckets[bisect_left(BUCKETS, seconds)] += 1
        counts.seconds += seconds
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        if entry.moved:
            self.moved[entry.moved] = self.moved.get(entry.moved, 0) + 1

    def _counts_of(self, host: str) -> _HostCounts:
        if len(self._hosts) >= _MOST_HOSTS:
            host = "other"
        return self._hosts.setdefault(host, _HostCounts())

    @property
    def requests(self) -> dict[tuple[str, str], int]:
        """Requests by host and class of their status."""
        return {
            (host, name): number
            for host, counts in list(self._hosts.items())
            for name, number in zip(_CLASSES, counts.classes, strict=True)
            if number
        }

    @property
    def durations(self) -> dict[str, tuple[list[int], float]]:
        """By host: requests in each of ``BUCKETS`` and above, and the sum of their seconds."""
        return {
            host: (list(counts.buckets), counts.seconds)
            for host, counts in list(self._hosts.items())
        }


class _HostCounts:
    """The requests of one host: by class of status, by duration, and their seconds in all."""

    __slots__ = ("buckets", "classes", "seconds")

    def __init__(self) -> None:
        self.classes = [0] * len(_CLASSES)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
