"""A ``hasher`` for pymemcache's ``HashClient``: keys go where a placement of hashring sends them.

>>> from functools import partial
>>> hasher = Hasher()
>>> hasher.add_node("10.0.0.1:11211"); hasher.add_node("10.0.0.2:11211")
>>> hasher.get_node("user:0")
'10.0.0.1:11211'

``HashClient(servers, hasher=Hasher)`` uses the ring, and ``hasher=partial(Hasher, "ketama")`` the
placement of another client, so that both find the same keys. Needs no extra.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

from hashring.hosts import Host
from hashring.keys import Key
from hashring.placement import recipe


class Hasher:
    """The nodes of a ``HashClient``, in the order in which they were first added.

    ``HashClient`` removes a server that fails and adds it again later; it then gets its old place,
    so a placement that counts the order of hosts returns to what it was. A change publishes a
    whole table, so other threads see the nodes before or after it. Raises ``ConfigError`` for an
    unknown placement or option.
    """

    def __init__(self, placement: str = "ring", **options: Any) -> None:
        self._recipe = recipe(placement, **options)
        self._lock = RLock()
        self._known: dict[str, bool] = {}  # every node so far, and whether it is in
        self._table = self._recipe(())

    @property
    def nodes(self) -> list[str]:
        """The nodes that are in, in their order."""
        return [node for node, present in self._known.items() if present]

    def add_node(self, node: str) -> None:
        """Add a node; nothing happens if it is there."""
        self._set(node, present=True)

    def remove_node(self, node: str) -> None:
        """Remove a node. Raises ``ValueError`` if it is not there."""
        with self._lock:
            if not self._known.get(node, False):
                raise ValueError(f"no such node {node!r} to remove")
            self._set(node, present=False)

    def _set(self, node: str, *, present: bool) -> None:
        with self._lock:
            if self._known.get(node, False) == present:
                return
            known = {**self._known, node: present}
            self._table = self._recipe(tuple(Host(name) for name, there in known.items() if there))
            self._known = known

    def get_node(self, key: Key) -> str | None:
        """The node of a key; None without nodes. Cost: one look-up of the placement."""
        return self._table.lookup(key)
