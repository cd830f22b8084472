"""uhashring's ``HashRing``: the same names and the same placement, for any number of threads.

One changed import moves no key::

    from hashring.integrations.uhashring import HashRing  # instead of uhashring

Keys, points and the results of all methods are those of uhashring 2.5. What differs: a change
publishes a whole new state, so a look-up in another thread sees the ring before or after it, never
in between; ``sync_nodes`` follows a list of nodes that is read again for each request; rings can
be pickled. Its monkey patch for python-memcached is not here. Needs no extra.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView
from hashlib import md5
from threading import RLock
from typing import Any, NamedTuple, TypeAlias

Conf: TypeAlias = dict[str, Any]
"""``hostname``, ``instance``, ``nodename``, ``port``, ``vnodes`` and ``weight`` of a node."""

_NO_NODES: list[str] = []
_MOVES_KEYS = ("nodename", "vnodes", "weight")  # a change of these makes the ring again


_REMEMBERED = 8192  # keys whose nodes are remembered: some 1 MB


class _Nodes(NamedTuple):
    """One whole state of a ring. Nothing in it changes but the values of a node's ``Conf``."""

    nodes: dict[str, Conf]
    points: dict[str, list[int]]  # by node, in the order of their making
    ring: dict[int, str]
    keys: list[int]
    owners: list[str]  # of the keys, and the first one again for the end of the circle
    names: frozenset[str]


def _state(
    nodes: dict[str, Conf], points: dict[str, list[int]], ring: dict[int, str], keys: list[int]
) -> _Nodes:
    owners = [ring[key] for key in keys]
    return _Nodes(nodes, points, ring, keys, owners + owners[:1], frozenset(nodes))


def _md5_128(key: object) -> int:
    return int.from_bytes(md5(str(key).encode(), usedforsecurity=False).digest(), "big")


def _ketama(key: object, replica: int = 0) -> int:
    digest = md5(str(key).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[4 * replica : 4 * replica + 4], "little")


class _Continuum(ABC):
    """How nodes become points; ``hashi`` returns the position of a key."""

    hashi: Callable[..., int]

    @abstractmethod
    def change(self, old: _Nodes, nodes: dict[str, Conf], names: Iterable[str]) -> _Nodes:
        """The state over ``nodes``, of which ``names`` are new, changed or gone."""


class _Md5(_Continuum):
    """Points by the 128 bits of MD5, or by another function; a node's points are its own."""

    def __init__(self, hash_fn: Callable[..., int] | None) -> None:
        self.hashi = hash_fn or _md5_128

    def change(self, old: _Nodes, nodes: dict[str, Conf], names: Iterable[str]) -> _Nodes:
        ring, points = dict(old.ring), dict(old.points)
        for name in names:
            for point in points.pop(name, ()):
                if ring.get(point) == name:  # of equal points the last one made has it
                    del ring[point]
            if name in nodes:
                count = nodes[name]["vnodes"] * nodes[name]["weight"]
                points[name] = [self.hashi(f"{name}-{i}") for i in range(count)]
                ring.update(dict.fromkeys(points[name], name))
        return _state(nodes, points, ring, sorted(ring))


class _Ketama(_Continuum):
    """Points by parts of MD5; each node's number of points depends on all weights."""

    def __init__(self, replicas: int) -> None:
        self.hashi = _ketama
        self._replicas = replicas

    def change(self, old: _Nodes, nodes: dict[str, Conf], names: Iterable[str]) -> _Nodes:
        total = sum(conf["weight"] for conf in nodes.values())
        points = {
            name: [
                self.hashi(f"{name}-{group}", replica)
                for group in range(conf["vnodes"] * len(nodes) * conf["weight"] // total)
                for replica in range(self._replicas)
            ]
            for name, conf in nodes.items()
        }
        ring = {point: name for name, own in points.items() for point in own}
        keys = sorted(point for own in points.values() for point in own)
        return _state(nodes, points, ring, keys)


class HashRing:
    """A consistent-hash ring with the interface of ``uhashring.HashRing``.

    ``nodes`` is a name, a list of names, or a dict of name -> weight or configuration. ``hash_fn``
    is None (MD5), ``"ketama"`` or a function from a key to an int; ``vnodes`` is per unit of
    weight (160, ketama 40); ``replicas`` counts points of a ketama group; ``weight_fn`` returns a
    node's weight from its configuration. Raises ``ValueError`` for other nodes and ``TypeError``
    for a function that cannot be called, as uhashring does.

    >>> ring = HashRing(["node1", "node2", "node3"])
    >>> ring.get_node("coconut"), ring.size
    ('node2', 480)
    """

    def __init__(
        self,
        nodes: str | list[str] | dict[str, Any] = _NO_NODES,
        *,
        hash_fn: str | Callable[[Any], int] | None = None,
        vnodes: int | None = None,
        weight_fn: Callable[..., int] | None = None,
        replicas: int = 4,
        **_unknown: Any,  # uhashring ignores them
    ) -> None:
        ketama = hash_fn == "ketama"
        for option, function in (
            ("hash_fn", None if ketama else hash_fn),
            ("weight_fn", weight_fn),
        ):
            if function and not callable(function):
                raise TypeError(f"{option} should be a callable function")
        custom = hash_fn if callable(hash_fn) else None
        self.runtime: _Continuum = _Ketama(replicas) if ketama else _Md5(custom)
        self.hashi = self.runtime.hashi
        self._default_vnodes = vnodes if vnodes is not None else 40 if ketama else 160
        self._weight_fn = weight_fn
        self._lock = RLock()
        self._state = _state({}, {}, {}, [])
        self._synced: tuple[_Nodes, list[str]] = self._state, []  # the last list of sync_nodes
        self._recent: tuple[_Nodes, dict[str, str]] = self._state, {}  # nodes of keys, by state
        self._configure(nodes)

    # -- changes ----------------------------------------------------------------------------------

    def _configure(self, given: object, *, all_again: bool = False) -> None:
        """Put the nodes of ``given`` in; publish the new state by one assignment."""
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, (dict, list)):
            raise ValueError(  # noqa: TRY004  # as uhashring
                f"nodes configuration should be a list or a dict, got {type(given)}"
            )
        with self._lock:
            old = self._state
            nodes = dict(old.nodes)
            changed = []
            for name in given:
                conf, moves = self._conf_of(name, given, old.nodes.get(name, {}))
                nodes[name] = conf
                if moves or all_again:
                    changed.append(name)
            if changed:
                self._state = self.runtime.change(old, nodes, changed)
            else:
                self._state = old._replace(nodes=nodes)

    def _conf_of(
        self, name: str, given: dict[str, Any] | list[str], current: Conf
    ) -> tuple[Conf, bool]:
        """The configuration of a node, and whether it moves keys."""
        conf: Conf = {
            "hostname": name,
            "instance": None,
            "nodename": name,
            "port": None,
            "vnodes": self._default_vnodes,
            "weight": 1,
        }
        own = given[name] if isinstance(given, dict) else {}
        if isinstance(own, int):
            own = {"weight": own}
        elif not isinstance(own, dict):
            raise ValueError(  # noqa: TRY004  # as uhashring
                f"node configuration should be a dict or an int, got {type(own)}"
            )
        conf.update((option, value) for option, value in own.items() if option in conf)
        if self._weight_fn:
            conf["weight"] = self._weight_fn(**conf)
        stated = [option for option in _MOVES_KEYS if option in own or option == "weight"]
        return conf, not current or any(current.get(o) != conf[o] for o in stated)

    def __setitem__(self, nodename: str, conf: Any = None) -> None:
        """Add a node with its configuration, or change that of a known one."""
        self._configure({nodename: {"weight": 1} if conf is None else conf})

    add_node = __setitem__

    def __delitem__(self, nodename: str) -> None:
        """Remove a node. Raises ``KeyError`` for an unknown one."""
        with self._lock:
            old = self._state
            if nodename not in old.nodes:
                raise KeyError(f"node '{nodename}' not found, available nodes: {old.nodes.keys()}")
            nodes = {name: conf for name, conf in old.nodes.items() if name != nodename}
            self._state = self.runtime.change(old, nodes, [nodename])

    remove_node = __delitem__

    def sync_nodes(self, nodes: Iterable[str]) -> None:
        """Make ``nodes`` the members: those that are not listed go, new ones are added.

        For routers that read the list of endpoints again for each request. A list that is equal to
        that of the last call costs a comparison, another order of the same nodes a set: 0.2 us
        and 1 us for 32 nodes. Nodes that stay keep their configuration.

        >>> ring = HashRing(["a", "b"])
        >>> ring.sync_nodes(["b", "c"]); sorted(ring.get_nodes())
        ['b', 'c']
        """
        state = self._state
        synced, known = self._synced
        if synced is state and known == nodes:
            return
        listed = list(nodes)
        names = frozenset(listed)
        if names == state.names:
            self._synced = state, listed
            return
        with self._lock:
            old = self._state
            kept = {name: conf for name, conf in old.nodes.items() if name in names}
            added = [name for name in dict.fromkeys(listed) if name not in kept]
            nodes_now = {**kept, **{name: self._conf_of(name, [], {})[0] for name in added}}
            gone = old.nodes.keys() - names
            self._state = self.runtime.change(old, nodes_now, [*gone, *added])
            self._synced = self._state, listed

    def regenerate(self) -> None:
        """Call ``weight_fn`` for every node again and make the ring again."""
        self._configure(dict(self._state.nodes), all_again=True)

    # -- look-ups ---------------------------------------------------------------------------------

    def get_node(self, key: object) -> str | None:
        """The name of the node of ``key``; None on an empty ring.

        Cost: one hash and 0.4 us; 0.15 us for one of the last keys, of which 8,192 are remembered.
        """
        state = self._state
        made_for, recent = self._recent
        if made_for is not state:
            recent = {}
            self._recent = state, recent
        is_text = key.__class__ is str
        if is_text:
            known = recent.get(key)  # type: ignore[call-overload]  # a str
            if known is not None:
                return known  # type: ignore[no-any-return]  # as above
        if not state.keys:
            return None
        node = state.owners[bisect(state.keys, self.hashi(key))]
        if is_text:
            if len(recent) >= _REMEMBERED:
                recent.clear()
            recent[key] = node  # type: ignore[index]  # a str
        return node

    def _found(self, key: object) -> tuple[_Nodes, int] | None:
        """The state and the number of the key's point; None on an empty ring."""
        state = self._state
        if not state.keys:
            return None
        return state, bisect(state.keys, self.hashi(key)) % len(state.keys)

    def get(self, key: object) -> Conf | None:
        """The configuration of the node of ``key``."""
        found = self._found(key)
        return found and found[0].nodes[found[0].owners[found[1]]]

    def _of_node(self, key: object, option: str) -> Any:
        conf = self.get(key)
        return None if conf is None else conf[option]

    def __getitem__(self, key: object) -> Any:
        """The instance of the node of ``key``."""
        return self._of_node(key, "instance")

    get_node_instance = __getitem__

    def get_node_hostname(self, key: object) -> Any:
        """The hostname of the node of ``key``."""
        return self._of_node(key, "hostname")

    def get_node_port(self, key: object) -> Any:
        """The port of the node of ``key``."""
        return self._of_node(key, "port")

    def get_node_weight(self, key: object) -> Any:
        """The weight of the node of ``key``."""
        return self._of_node(key, "weight")

    def get_node_pos(self, key: object) -> int | None:
        """The number of the point of ``key``, from 0."""
        found = self._found(key)
        return None if found is None else found[1]

    def get_server(self, key: object) -> tuple[int, str] | None:
        """The point of ``key`` and its node, as ketama returns them."""
        found = self._found(key)
        return found and (found[0].keys[found[1]], found[0].owners[found[1]])

    def get_key(self, key: object) -> int:
        """The position of ``key``."""
        return self.hashi(key)

    def range(self, key: object, size: int | None = None, unique: bool = True) -> Iterator[Conf]:
        """The configurations of at most ``size`` nodes from the point of ``key`` on.

        With ``unique`` each node once, else one for each point.
        """
        found = self._found(key)
        if found is None:
            return
        state, start = found
        turn = state.owners[start:-1] + state.owners[:start]
        names = list(dict.fromkeys(turn)) if unique else turn
        for name in names[: size or None]:
            yield state.nodes[name]

    def iterate_nodes(self, key: object, distinct: bool = True) -> Iterator[str | None]:
        """The names of the nodes from the point of ``key`` on; one None on an empty ring."""
        if not self._state.ring:
            yield None
        for conf in self.range(key, unique=distinct):
            yield conf["nodename"]

    # -- state ------------------------------------------------------------------------------------

    def get_nodes(self) -> KeysView[str]:
        """The names of all nodes."""
        return self._state.nodes.keys()

    def get_instances(self) -> list[Any]:
        """The instances of the nodes that have one."""
        return [conf["instance"] for conf in self._state.nodes.values() if conf["instance"]]

    def get_points(self) -> list[tuple[int, str]]:
        """All (position, node) in order."""
        state = self._state
        return list(zip(state.keys, state.owners, strict=False))

    def print_continuum(self) -> None:
        """Print all points, as ketama does."""
        points = self.get_points()
        lines = [f"Numpoints in continuum: {len(points)}" if points else "Continuum empty"]
        lines += [f"{node} ({point})" for point, node in points]
        print("\n".join(lines))  # noqa: T201  # what the method is for

    @property
    def conf(self) -> dict[str, Conf]:
        """The configuration of each node."""
        return self._state.nodes

    nodes = _nodes = conf

    @property
    def ring(self) -> dict[int, str]:
        """Position -> node."""
        return self._state.ring

    continuum = _ring = ring

    @property
    def _keys(self) -> list[int]:
        return self._state.keys

    @property
    def distribution(self) -> Counter[str]:
        """How many points each node has."""
        return Counter({name: len(own) for name, own in self._state.points.items()})

    @property
    def size(self) -> int:
        """The number of positions that hold a point."""
        return len(self._state.ring)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"], state["hashi"], state["_recent"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=RLock(), hashi=state["runtime"].hashi)
        self._recent = self._state, {}
