"""Which hosts are up?  Probes, and how leases end; a pure machine decides, a monitor acts.

``machine.py`` judges a host by its probes and ``outlier.py`` by its requests, both pure;
``verdicts.py`` makes one decision of them for the whole pool, still without clock or I/O.
``watch.py`` runs the probes (``probes/``) and ``marks.py`` tells the balancer; ``monitor.py`` is
the shell. ``slow_start.py`` lets a host that has just come up warm before it gets its share.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["web1:80", "web2:80"])
>>> monitor = HealthMonitor(lb, HttpProbe("/healthz"), Rules(interval=2, fast=0.5))
>>> monitor.stats["probes"]     # use it: `with monitor:`, or `async with monitor:`
0
"""

from __future__ import annotations

from hashring.health.machine import Change, Health, Rules
from hashring.health.monitor import HealthMonitor
from hashring.health.outlier import OutlierRules, Record
from hashring.health.probes import HttpProbe, Probe, TcpProbe
from hashring.health.slow_start import SlowStart

__all__ = [
    "Change",
    "Health",
    "HealthMonitor",
    "HttpProbe",
    "OutlierRules",
    "Probe",
    "Record",
    "Rules",
    "SlowStart",
    "TcpProbe",
]
