"""Which hosts are up?  Probes, and how leases end; a pure machine decides, a monitor acts.

``probe_state.py`` judges a host by its probes and ``outlier.py`` by its requests, both pure;
``table.py`` makes one decision of them for the whole pool, still without clock or I/O.
``runner.py`` runs the probes (``probes/``) and marks hosts in the balancer; ``monitor.py`` is the
shell. ``slow_start.py`` lets a host that has just come up warm before it gets its share.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["web1:80", "web2:80"])
>>> monitor = HealthMonitor(lb, HttpProbe("/healthz"), ProbeRules(interval=2, fast=0.5))
>>> monitor.stats["probes"]     # use it: `with monitor:`, or `async with monitor:`
0
"""

from __future__ import annotations

from hashring.health.monitor import HealthMonitor
from hashring.health.outlier import OutlierRules, OutlierState
from hashring.health.probe_state import HealthChange, ProbeRules, ProbeState
from hashring.health.probes import HttpProbe, Probe, TcpProbe
from hashring.health.slow_start import SlowStart

__all__ = [
    "HealthChange",
    "HealthMonitor",
    "HttpProbe",
    "OutlierRules",
    "OutlierState",
    "Probe",
    "ProbeRules",
    "ProbeState",
    "SlowStart",
    "TcpProbe",
]
