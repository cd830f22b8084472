"""Draws the pictures of the guide: ``python docs/pictures/make.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hashring import HashRing
from hashring.analysis import Change, PlacedHosts, plan, sample_log, spread
from hashring.analysis.plots import COLOURS, Picture, circle, flows, save, shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
HOSTS = ["web1", "web2", "web3", "web4"]


def policies(ax: Axes) -> Axes:
    """The mean time to first token of each policy at three rates, from `trace.json`."""
    found = json.loads((HERE / "trace.json").read_text(encoding="utf-8"))
    names = [*found][::-1]
    for number, name in enumerate(names):
        times = [found[name][rate]["mean"] for rate in ("x1", "x1.4", "x1.8")]
        ax.plot(times, [number] * 3, color="0.8", lw=1.5, zorder=1)
    for rate, marker, colour in (("x1", "o", 0), ("x1.4", "s", 1), ("x1.8", "^", 2)):
        times = [found[name][rate]["mean"] for name in names]
        label = f"{rate.removeprefix('x')} times the recorded rate"
        ax.scatter(times, range(len(names)), marker=marker, color=COLOURS[colour], label=label)
    ax.set_xscale("log")
    ticks = (1, 2, 5, 10, 20, 50, 100)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("mean time to first token, seconds")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    return ax


def pictures() -> dict[str, Picture]:
    """Each picture by its file name."""
    counts: dict[bytes, int] = {}
    for line in sample_log():
        client = line.split(b" ", 1)[0]
        counts[client] = counts.get(client, 0) + 1
    now = PlacedHosts.of(HOSTS)
    then = now.after(Change(add=["web5"]))
    ring = HashRing(HOSTS[:3], vnodes=8)
    return {
        "circle.svg": Picture("The ring", lambda ax: circle(ax, ring), 3.6, 3.6),
        "policies.svg": Picture("Policies", policies, 3.8, 6.4),
        "shares.svg": Picture("Shares", lambda ax: shares(ax, spread(counts, now)), 2.6),
        "flows.svg": Picture("Flows", lambda ax: flows(ax, plan(counts, now, then)), 3.6),
    }


def main(where: Path = HERE) -> None:
    """Write all of them."""
    for name, picture in pictures().items():
        save(picture, where / name)


if __name__ == "__main__":
    main()
