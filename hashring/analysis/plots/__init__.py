"""What does a report look like as a picture?  Every function draws on an ``ax`` and returns it.

The colours are Okabe and Ito's, which people with any kind of colour blindness tell apart. Names
are never read as formulas, whatever characters they hold. ``figure`` makes a figure without
pyplot's global state, ``pictures`` the pictures of a report, ``save`` a file of them. Needs the
extra: ``pip install "sticky-hashring[plots]"``.

>>> from hashring.analysis import PlacedHosts, plots, spread
>>> report = spread({b"ann": 3, b"bob": 1}, PlacedHosts.of(["web1", "web2"]))
>>> fig = plots.figure(height=2.0)
>>> ax = plots.shares(fig.subplots(), report)
>>> [label.get_text() for label in ax.get_yticklabels()]
['web1', 'web2']
"""

from __future__ import annotations

from hashring.analysis.plots._circle import circle
from hashring.analysis.plots._clients import client_cdf
from hashring.analysis.plots._comparison import comparison
from hashring.analysis.plots._flows import flows
from hashring.analysis.plots._load import load_over_time
from hashring.analysis.plots._pictures import Picture, kind_of, pictures, save, svg
from hashring.analysis.plots._serving import first_tokens, work_over_time
from hashring.analysis.plots._shares import shares
from hashring.analysis.plots._style import COLOURS, figure
from hashring.analysis.plots._vnodes import peak_by_vnodes

__all__ = [
    "COLOURS",
    "Picture",
    "circle",
    "client_cdf",
    "comparison",
    "figure",
    "first_tokens",
    "flows",
    "kind_of",
    "load_over_time",
    "peak_by_vnodes",
    "pictures",
    "save",
    "shares",
    "svg",
    "work_over_time",
]
