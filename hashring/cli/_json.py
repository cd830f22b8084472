"""What does ``--json`` print?  One object on stdout, in ASCII; everything else goes to stderr.

Every command: ``schema`` (1), ``command``, ``fingerprint``, ``placement``, ``options``. Shares are
fractions of 1; a name that is null is what the placement leaves to the fallback; an ``arc`` is an
exact share of all possible keys, null where the placement has no circle.

``route``   ``keys``: ``key, host, position, vnode, walk`` (the first three hosts).
``spread``  ``log``; ``clients, requests, unrouted_clients, unrouted_requests``; ``hosts``: ``host,
            weight, clients, requests, client_share, request_share, fair, arc``;
            ``client_balance, request_balance, arc_balance``: ``peak, cov``;
            ``hottest``: ``client, requests, share, host``.
``plan``    ``fingerprint_after``; ``change``: ``add, remove, weights``; ``log``; ``clients,
            requests, minimum, arc``; ``moved, modulo``: ``clients, requests, client_share,
            request_share``; ``hosts``: ``host`` and ``weight, clients, requests, share, fair, arc``
            each with ``_before`` and ``_after``; ``flows``: ``origin, target, clients, requests,
            arc``.

``placements`` has no pool, so only ``schema``, ``command`` and ``placements``: ``name, guarantees,
            exports, cost, source, options``.

``discover`` prints one line for each membership: ``source, revision, fingerprint, problems``;
            ``hosts``: ``name, address, weight, draining``. No placement, no options.
``doctor``  ``source``; ``findings``: ``level`` (``ok``, ``warning``, ``error``), ``text``.

``log`` is ``clients, requests, format, lines, used, unreadable, first_unreadable,
first_unreadable_in, sources, warnings``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from hashring.cli._options import Pool

__all__ = ["SCHEMA", "emit"]

SCHEMA = 1  # grows when a key goes or changes its meaning, not when one comes


def emit(command: str, pool: Pool | None, *parts: Mapping[str, Any]) -> None:
    """Print one report, its ``parts`` side by side; ``pool`` None is a report about no hosts."""
    report: dict[str, Any] = {"schema": SCHEMA, "command": command}
    if pool is not None:
        report |= {"placement": pool.placement, "options": pool.settings()}
    for part in parts:
        report |= part
    click.echo(json.dumps(report, indent=2))
