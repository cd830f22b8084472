"""The output of ``--json``: one object on stdout, in ASCII; everything else goes to stderr.

Every command: ``schema`` (1), ``command``; those of one placement also ``fingerprint``,
``placement``, ``options``. Shares are
fractions of 1; a host that is null stands for the fallback; an ``arc`` is an exact share of all
possible keys, null where the placement has no circle.

``route``   ``keys``: ``key, host, position, vnode, walk`` (the first three hosts).
``spread``  ``log``; ``clients, requests, unrouted_clients, unrouted_requests``; ``hosts``: ``host,
            weight, clients, requests, client_share, request_share, fair, arc, band`` (the 99 %
            band of such an arc: lowest, highest); ``client_balance, request_balance,
            arc_balance``: ``peak, cov, gini``; ``chi2, placement_variance``; ``hottest``:
            ``client, requests, share, host``.
``plan``    ``fingerprint_after``; ``change``: ``add, remove, weights``; ``log``; ``clients,
            requests, minimum, arc``; ``moved, collateral, modulo``: ``clients, requests,
            client_share, request_share``; ``hosts``: ``host`` and ``weight, clients, requests,
            share, fair, arc`` each with ``_before`` and ``_after``; ``flows``: ``origin, target,
            clients, requests, arc``; ``steps``: ``change, hosts, moved, collateral, moved_so_far,
            minimum, arc, request_balance, fingerprint``.
``compare`` ``change, log, clients, requests, hosts, minimum, lost``; ``candidates``: ``placement,
            options, guarantees, client_balance, request_balance, request_balance_after, moved,
            collateral, loss, unrouted, fingerprint, refusal``; ``loss``: ``heirs, largest_heir,
            largest_heir_share, surge, collateral``.
``simulate`` ``change, log, requests, clients, seconds, session_gap, service, hosts, changes,
            bin_seconds``; ``outcomes``: ``scenario, requests, sessions, broken, switches, reasons,
            peak_in_flight, p99_in_flight, in_flight``.
``advise``  ``hosts, peak, export, minimum``; ``choices``: ``placement, options, weight, points,
            peak, reaches, moved, collateral, why``.

``placements`` has no pool, so only ``schema``, ``command`` and ``placements``: ``name, guarantees,
            exports, cost, source, options``.

``check``   ``file`` and ``problems``: ``where, line, key, what``, of which none leaves the other
            parts out; with ``--against`` also ``against, fingerprint_there, equal, moved,
            moved_now`` and ``differences``: ``part, ours, theirs``.
``discover`` prints a line for each membership: ``source, revision, fingerprint, problems`` and
            ``hosts``: ``name, address, weight, draining``.
``doctor``  ``source`` and ``findings``: ``level, text``.

``log`` is ``clients, requests, format, lines, used, unreadable, first_unreadable,
first_unreadable_in, kinds, sources, warnings``; its ``kinds`` have ``kind, lines, first, source``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from hashring.cli._options import PoolOptions

SCHEMA = 1  # grows when a key is removed or changes its meaning, not when one is added


def emit(command: str, pool: PoolOptions | None, *parts: Mapping[str, Any]) -> None:
    """Print one report, its ``parts`` side by side; ``pool`` is None for a report without hosts."""
    report: dict[str, Any] = {"schema": SCHEMA, "command": command}
    if pool is not None:
        report |= {"placement": pool.placement, "options": pool.settings()}
    for part in parts:
        report |= part
    click.echo(json.dumps(report, indent=2))
