"""What would happen if ...?  Logs in, frozen reports out; nothing here prints or draws.

A report is made in three steps: read who came (``read_clients``), say who serves (``Membership``),
ask (``spread`` or ``plan``). Every report has ``to_dict()``.

>>> who = {b"ann": 3, b"bob": 1}
>>> before = Membership.of(["web1", "web2"])
>>> spread(who, before).requests
4
"""

from __future__ import annotations

from hashring.analysis.change import Change
from hashring.analysis.logs import Clients, LogError, read_clients
from hashring.analysis.membership import Membership
from hashring.analysis.plan import Plan, plan
from hashring.analysis.sample import sample_log
from hashring.analysis.spread import Spread, spread

__all__ = [
    "Change",
    "Clients",
    "LogError",
    "Membership",
    "Plan",
    "Spread",
    "plan",
    "read_clients",
    "sample_log",
    "spread",
]
