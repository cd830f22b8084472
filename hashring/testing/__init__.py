"""Does what I wrote keep its promises?  Checks, inputs and fakes, for your tests and your CI.

``check_placement`` and ``check_strategy`` run the laws that an object promises, and fail with the
simplest counter-example found; they are hashring's own contract tests. ``laws`` gives them one by
one, and ``BalancerMachine`` is a state machine for a balancer of your own. ``hosts``, ``keys``,
``weights``, ``host_names`` and ``histories`` are Hypothesis strategies for tests of your own;
``FakeClock``, ``FakeView`` and ``seeded_rng`` take the place of time, load and chance;
``assert_bounded_movement`` compares two memberships. ``check_discovery`` runs the laws of a source
of hosts in a ``World`` that you give it. All of it works with any test runner or with none. Needs
``pip install "sticky-hashring[testing]"``.

>>> from hashring import HashRing
>>> check_placement(lambda hosts: HashRing(hosts, vnodes=8).table, {"order_free"}, max_examples=10)
"""

from __future__ import annotations

import hashring.testing._extra  # noqa: F401 - first, to say what to install if it is missing
from hashring.testing._world import World
from hashring.testing.balancer import BalancerMachine
from hashring.testing.clock import FakeClock
from hashring.testing.discovery import check_discovery
from hashring.testing.inputs import histories, host_names, hosts, keys, weights
from hashring.testing.movement import Moves, assert_bounded_movement, moves
from hashring.testing.placement import PlacementLaw, check_placement, laws
from hashring.testing.rng import seeded_rng
from hashring.testing.strategy import check_strategy
from hashring.testing.view import FakeView

__all__ = [
    "BalancerMachine",
    "FakeClock",
    "FakeView",
    "Moves",
    "PlacementLaw",
    "World",
    "assert_bounded_movement",
    "check_discovery",
    "check_placement",
    "check_strategy",
    "histories",
    "host_names",
    "hosts",
    "keys",
    "laws",
    "moves",
    "seeded_rng",
    "weights",
]
