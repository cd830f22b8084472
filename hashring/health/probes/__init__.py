"""How is one host asked whether it is up?  One file per kind; any async callable is one more.

A probe is ``async (host) -> object``: it passes unless it returns ``False`` or raises. The monitor
gives it its time; when that is over, it is cancelled and has failed.

>>> import asyncio
>>> from hashring.hosts import Host
>>> async def answers(host):
...     return host.name == "web1"
>>> asyncio.run(ask(answers, Host("web2"), within=1.0))
'the probe returned False'
"""

from __future__ import annotations

from hashring.health.probes._base import Probe, Void, ask
from hashring.health.probes.http import HttpProbe
from hashring.health.probes.tcp import TcpProbe

__all__ = ["HttpProbe", "Probe", "TcpProbe", "Void", "ask"]
