"""Draws the pictures of the guide: ``python docs/pictures/make.py``."""

from __future__ import annotations

from pathlib import Path

from hashring import HashRing
from hashring.analysis import Change, Membership, plan, sample_log, spread
from hashring.analysis.plots import Picture, circle, flows, save, shares

HERE = Path(__file__).parent
HOSTS = ["web1", "web2", "web3", "web4"]


def pictures() -> dict[str, Picture]:
    """Each picture by its file name."""
    counts: dict[bytes, int] = {}
    for line in sample_log():
        client = line.split(b" ", 1)[0]
        counts[client] = counts.get(client, 0) + 1
    now = Membership.of(HOSTS)
    then = now.after(Change(add=["web5"]))
    ring = HashRing(HOSTS[:3], vnodes=8)
    return {
        "circle.svg": Picture("The ring", lambda ax: circle(ax, ring), 3.6, 3.6),
        "shares.svg": Picture("Shares", lambda ax: shares(ax, spread(counts, now)), 2.6),
        "flows.svg": Picture("Flows", lambda ax: flows(ax, plan(counts, now, then)), 3.6),
    }


def main(where: Path = HERE) -> None:
    """Write all of them."""
    for name, picture in pictures().items():
        save(picture, where / name)


if __name__ == "__main__":
    main()
