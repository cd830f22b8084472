"""One request -> one host: ``LoadBalancer``, its leases, events and reports.

``balancer.py`` composes three objects: the state of the pool (``state.py``), the picker that
chooses a host from it (``picker.py``) and the flow of a request through a store of pins
(``pin_flow.py``). ``lease.py`` is one request in flight.

>>> lb = LoadBalancer(["web1", "web2", "web3"])
>>> lb.pick("session-42").name
'web3'
"""

from __future__ import annotations

from hashring.balancer.balancer import LoadBalancer
from hashring.balancer.events import Event
from hashring.balancer.lease import Lease
from hashring.balancer.pins import AsyncPinStore, PinStore
from hashring.balancer.reports import Decision, DrainReport, Plan, Reason

__all__ = [
    "AsyncPinStore",
    "Decision",
    "DrainReport",
    "Event",
    "Lease",
    "LoadBalancer",
    "PinStore",
    "Plan",
    "Reason",
]
