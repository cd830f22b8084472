"""What would happen if ...?  Logs in, frozen reports out; nothing here prints or draws.

A report is made in three steps: read who came (``read_clients``, or ``read_arrivals`` with their
times), say who serves (``PlacedHosts``), ask (``spread``, ``plan``, ``compare``, ``simulate``;
``advise`` needs no log; ``read_trace`` and ``serve`` compare routing policies on LLM
traces). Every report has ``to_dict()``, ``tables()`` (tables of text), ``sentence()`` and shows
itself on a rich console. ``plots`` draws reports and ``page`` makes them
one page; both are imported separately, because they need matplotlib.

>>> who = {b"ann": 3, b"bob": 1}
>>> before = PlacedHosts.of(["web1", "web2"])
>>> spread(who, before).requests
4
"""

from __future__ import annotations

from hashring.analysis._sources import LogError
from hashring.analysis.advise import Advice, advise
from hashring.analysis.arrivals import Arrivals, read_arrivals
from hashring.analysis.bad_lines import BadLines
from hashring.analysis.bench import BenchReport, BenchRow, bench
from hashring.analysis.change import Change
from hashring.analysis.compare import compare
from hashring.analysis.comparison import Comparison
from hashring.analysis.logs import Clients, read_clients
from hashring.analysis.model_host import Engine
from hashring.analysis.outcomes import Simulation
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.plan import plan
from hashring.analysis.planned import PlanReport
from hashring.analysis.reports import Report
from hashring.analysis.sample import sample_log
from hashring.analysis.scenarios import Scenario, ServiceTime, scenarios
from hashring.analysis.serving import Serving, serve
from hashring.analysis.simulate import simulate
from hashring.analysis.spread import Spread, spread
from hashring.analysis.tables import ReportTable
from hashring.analysis.traces import Trace, TraceRequest, read_trace

__all__ = [
    "Advice",
    "Arrivals",
    "BadLines",
    "BenchReport",
    "BenchRow",
    "Change",
    "Clients",
    "Comparison",
    "Engine",
    "LogError",
    "PlacedHosts",
    "PlanReport",
    "Report",
    "ReportTable",
    "Scenario",
    "ServiceTime",
    "Serving",
    "Simulation",
    "Spread",
    "Trace",
    "TraceRequest",
    "advise",
    "bench",
    "compare",
    "plan",
    "read_arrivals",
    "read_clients",
    "read_trace",
    "sample_log",
    "scenarios",
    "serve",
    "simulate",
    "spread",
]
