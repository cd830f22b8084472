"""The demo: a gateway, hosts and clients while the pool changes, with sessions counted.

``backend.py`` is one host, a process of its own; ``hosts.py`` starts and kills them; ``clients.py``
are the clients; ``scenario.py`` has the events and their costs; ``runner.py`` runs all of it.
"""

from __future__ import annotations

from hashring.gateway.demo.runner import DemoRunner, demo_runner
from hashring.gateway.demo.scenario import DemoScenario, EventOutcome

__all__ = ["DemoRunner", "DemoScenario", "EventOutcome", "demo_runner"]
