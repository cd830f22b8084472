"""hashring: sticky sessions by consistent hashing.

To use it, make a ``LoadBalancer`` of your hosts and call ``pick(client_id)``; use ``lease`` where
load counts, and ``HashRing`` alone for a cache. To add a placement, a strategy, a source or a
command, write one new file in its folder. Imports between the folders point down only
(``tests/test_architecture.py`` has the table).

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["web1", "web2", "web3"])
>>> home = lb.pick("session-42").name            # the same host each time, in every process
>>> lb.register("web4").name                     # one client in four moves, all of them to web4
'web4'
>>> lb.unregister("web4").name                   # and they are back
'web4'
>>> lb.pick("session-42").name == home
True
>>> lb.pick().name in {"web1", "web2", "web3"}   # no client ID: round robin
True
>>> with lb.lease("session-42") as lease:        # counts as load while it lasts
...     lease.host.name == home
True
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; `typing` itself is not imported here
if TYPE_CHECKING:
    from hashring.balancer import Decision, DrainReport, Event, Lease, LoadBalancer, Plan
    from hashring.errors import (
        ConfigError,
        DiscoveryError,
        DuplicateHostError,
        HashringError,
        InvalidKeyError,
        InvalidWeightError,
        NoCapacityError,
        NoHostsError,
        PoolFullError,
        SessionUnavailableError,
        TokenError,
        UnknownHostError,
    )
    from hashring.hosts import Host
    from hashring.ring import Diff, HashRing

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Decision",
    "Diff",
    "DiscoveryError",
    "DrainReport",
    "DuplicateHostError",
    "Event",
    "HashRing",
    "HashringError",
    "Host",
    "InvalidKeyError",
    "InvalidWeightError",
    "Lease",
    "LoadBalancer",
    "NoCapacityError",
    "NoHostsError",
    "Plan",
    "PoolFullError",
    "SessionUnavailableError",
    "TokenError",
    "UnknownHostError",
    "__version__",
]

# Each name is imported at its first use (PEP 562), so that a program that needs only the errors or
# the version does not pay for the rest.  Names that are not listed here come from `errors`.
_MODULES = {
    "Decision": "balancer",
    "Diff": "ring",
    "DrainReport": "balancer",
    "Event": "balancer",
    "HashRing": "ring",
    "Host": "hosts",
    "Lease": "balancer",
    "LoadBalancer": "balancer",
    "Plan": "balancer",
}
# `import hashring` alone makes these available as `hashring.errors` and so on.
_ROOMS = frozenset({"balancer", "errors", "hosts", "placement", "ring", "strategies"})


def __getattr__(name: str) -> object:
    """Import a public name or room at its first use; later uses find it in the module."""
    from importlib import import_module

    value: object
    if name in _ROOMS:
        value = import_module(f"{__name__}.{name}")
    elif name in __all__:
        value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
