"""Which clients are hot?  The cumulative distribution of clients and of their requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, PALE, bare, need_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def client_cdf(ax: Axes, counts: Mapping[bytes, int]) -> Axes:
    """What part of the clients sends at most x requests, and what part of all requests they send.

    Far apart, the two say that few clients make most of the load. Cost: one pass over ``counts``.
    """
    need_matplotlib()
    found = sorted(Counter(counts.values()).items())
    clients, requests = sum(n for _, n in found), sum(x * n for x, n in found)
    some_clients = some_requests = 0
    xs, of_clients, of_requests = [found[0][0] if found else 1], [0.0], [0.0]
    for each, number in found:
        some_clients += number
        some_requests += each * number
        xs.append(each)
        of_clients.append(100 * some_clients / clients)
        of_requests.append(100 * some_requests / requests)
    ax.step(xs, of_clients, where="post", color=COLOURS[0], lw=1.8, label="clients")
    ax.step(xs, of_requests, where="post", color=COLOURS[5], lw=1.8, ls="--", label="requests")
    bare(
        ax,
        f"{clients:,} clients, {requests:,} requests",
        x="requests of a client, at most",
        y="% of all",
    )
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 1 else "")
    ax.set_ylim(0, 102)
    ax.grid(color=PALE, lw=0.6)
    ax.legend(loc="lower right", fontsize=8, frameon=False)
    return ax
