"""The owner of a key on a circle: ``HashRing`` changes, ``RingTable`` is one frozen state.

``layout.py`` has the positions of a host's vnodes (layout 1, frozen), ``index.py`` finds the vnode
of a position, ``arcs.py`` measures shares and differences exactly. Nothing here uses health,
locks, clocks or the network.

>>> ring = HashRing(["web1", "web2", "web3"])
>>> ring.lookup("session-42")
'web3'
"""

from __future__ import annotations

from hashring.ring.arcs import Diff
from hashring.ring.ring import HashRing
from hashring.ring.table import RingTable

__all__ = ["Diff", "HashRing", "RingTable"]
