"""One request -> one host: ``LoadBalancer``, its leases, and what it says about its decisions.

``choosing.py`` holds the order of one request, ``lease.py`` one request in flight, ``events.py``
who hears of a change, ``reports.py`` what calls answer, ``pins.py`` what a store of known clients
is, ``seating.py`` the order of a request that asks one, and ``balancer.py`` the shell around them
that publishes one immutable state after the other.

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
