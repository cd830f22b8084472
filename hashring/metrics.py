"""Prometheus metrics of a balancer, read at each scrape: no request costs more because of them.

>>> from hashring import LoadBalancer
>>> from prometheus_client import CollectorRegistry, generate_latest
>>> registry = CollectorRegistry()
>>> registry.register(BalancerCollector(LoadBalancer(["web1", "web2"])))
>>> b'hashring_hosts{state="up"} 2.0' in generate_latest(registry)
True

It needs the ``metrics`` extra: ``pip install "sticky-hashring[metrics]"``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hashring.balancer import LoadBalancer
from hashring.errors import requires_extra
from hashring.ring import RingTable

with requires_extra("metrics", "metrics"):
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES = ("up", "draining", "down")


class BalancerCollector(Collector):
    """Hosts, load and shares of ``lb``. Labels are host names and states, never client IDs."""

    def __init__(self, lb: LoadBalancer) -> None:
        self._lb = lb

    def collect(self) -> Iterator[Metric]:
        """The metrics now. Cost: O(hosts)."""
        lb = self._lb
        snapshot = lb.snapshot
        names = [name for name in snapshot.members if name in lb]
        states: dict[str, str] = {name: lb.state(name) for name in names}
        counts = Counter(states.values())
        yield gauge("hosts", "Hosts by state.", "state", {s: counts[s] for s in STATES})
        yield gauge(
            "host_up",
            "1 if the host serves known clients (up or draining), else 0.",
            "host",
            {name: state != "down" for name, state in states.items()},
        )
        yield gauge(
            "host_weight",
            "Weight of the host.",
            "host",
            {name: snapshot.members[name].host.weight for name in names},
        )
        loads = {name: lb.load(name) for name in names}
        yield gauge(
            "host_requests_in_flight",
            "Requests that have begun and not ended.",
            "host",
            {name: load.in_flight for name, load in loads.items()},
        )
        yield gauge(
            "host_outstanding_cost",
            "Cost of the requests whose response has not begun, in average requests.",
            "host",
            {name: load.outstanding for name, load in loads.items()},
        )
        ended = CounterMetricFamily(
            "hashring_host_requests", "Ended requests by result.", labels=("host", "result")
        )
        for name, load in loads.items():
            ended.add_metric((name, "ok"), load.ok)
            ended.add_metric((name, "failed"), load.failed)
        yield ended
        yield gauge("snapshot_epoch", "Epoch of the pool.", "", {"": snapshot.epoch})
        yield from _shares(snapshot.usable_table)


def _shares(table: Any) -> Iterator[Metric]:
    if not isinstance(table, RingTable):
        return
    shares = table.shares()
    yield gauge("host_share", "Fraction of all keys that the host owns.", "host", shares)
    if shares:
        peak = max(shares.values()) * len(shares)
        yield gauge(
            "share_peak_to_mean", "Largest share as a multiple of the mean.", "", {"": peak}
        )


def gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A gauge ``hashring_NAME`` with one value for each value of ``label``."""
    family = GaugeMetricFamily(f"hashring_{name}", text, labels=(label,) if label else ())
    for value, number in values.items():
        family.add_metric((value,) if label else (), float(number))
    return family


def counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter ``hashring_NAME_total`` with one value for each value of ``label``."""
    family = CounterMetricFamily(f"hashring_{name}", text, labels=(label,) if label else ())
    for value, number in values.items():
        family.add_metric((value,) if label else (), float(number))
    return family
