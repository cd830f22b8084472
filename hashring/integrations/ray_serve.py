"""The request router of a Ray Serve deployment: sessions stay on their replica.

Name the class in the deployment's configuration, and let each replica report its slot::

    from ray import serve
    from ray.serve.config import RequestRouterConfig
    from hashring.integrations.ray_serve import slot_metadata

    @serve.deployment(
        num_replicas=4,
        request_router_config=RequestRouterConfig(
            request_router_class="hashring.integrations.ray_serve:StickyRouter",
            request_router_kwargs={"pins": 100_000, "new_sessions": "least-loaded"},
        ),
    )
    class Chat:
        def record_replica_metadata(self):
            return slot_metadata()

A session is the header ``x-session-id`` of an HTTP request, or
``handle.options(session_id="conversation-9")``. A request without one goes to the shorter of two
queues.

Hosts are named by slot, so that a replica that replaces another inherits its sessions and no other
session moves. Each proxy and each handle process has a router of its own: with pins in memory they
agree on a session only while the owner does not change; pins in Redis are shared.

Two limits of Ray Serve 2.60: ``serve.run`` with another ``num_replicas`` replaces every replica, so
scale by the configuration file or by autoscaling; and several calls that one request makes at the
same time share an ID, so give each its own ``session_id`` or make them one after the other.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import Any

from ray import serve
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica
from ray.util import metrics

from hashring.affinity import PinTable, RedisPins
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.strategies import Strategy, View
from hashring.validators import COUNT, is_int

_NAMES = ("slot", "replica")
_NEW_SESSIONS = ("owner", "least-loaded")


def slot_metadata() -> dict[str, int]:
    """What ``record_replica_metadata`` of a deployment returns: the replica's rank as its slot."""
    return {"slot": serve.get_replica_context().rank.rank}


class StickyRouter(RequestRouter):
    """Routes each session to one replica; ``request_router_kwargs`` are those of the set-up.

    Cost: about 10 us a request, plus the store's time where pins are in Redis.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replica_ids: dict[str, ReplicaID] = {}
        self._slots: dict[ReplicaID, str] = {}
        self._in_flight: Counter[str] = Counter()
        self._hosts: dict[str, str] = {}  # of each request in flight, by its internal ID
        self.initialize_state()

    def initialize_state(
        self,
        *,
        placement: str = "ring",
        vnodes: int = 512,
        fallbacks: int | None = 2,
        name_by: str = "slot",
        pins: int | str = 0,
        new_sessions: str = "owner",
        **unknown: Any,
    ) -> None:
        """Take the ``request_router_kwargs``, which Serve requires to be JSON.

        Parameters
        ----------
        placement: a name that ``hashring placements`` lists.
        vnodes: virtual nodes of a replica, for the ring.
        fallbacks: further replicas of the session's walk that are tried while the owner is full;
            None for all.
        name_by: ``"slot"`` names hosts by what ``record_replica_metadata`` returned, ``"replica"``
            by the replica's random ID.
        pins: 0 for none, the number of sessions to remember in this process, or the URL of a Redis.
        new_sessions: with pins, where a session begins: ``"owner"`` by the placement, or
            ``"least-loaded"`` on the replica with the shortest queue.

        Raises
        ------
        ConfigError: a value is not valid, or an option is unknown.
        """
        if unknown:
            raise ConfigError(f"unknown request_router_kwargs: {', '.join(sorted(unknown))}")
        for option, value, accepted in (
            ("name_by", name_by, _NAMES),
            ("new_sessions", new_sessions, _NEW_SESSIONS),
        ):
            if value not in accepted:
                words = " or ".join(map(repr, accepted))
                raise ConfigError(f"{option} must be {words}, got {value!r}", option=option)
        if fallbacks is not None and (not is_int(fallbacks) or fallbacks < 0):
            raise ConfigError(
                f"fallbacks must be an int of at least 0, or None for all, got {fallbacks!r}",
                option="fallbacks",
            )
        if new_sessions == "least-loaded" and not pins:
            raise ConfigError(
                "new_sessions='least-loaded' needs pins, because such a session is found again "
                "only by memory: give the number of sessions, such as pins=100_000",
                option="pins",
            )
        self._fallbacks = fallbacks
        self._by_slot = name_by == "slot"
        least_loaded = new_sessions == "least-loaded"
        self._balancer = LoadBalancer(
            placement=HashRing(vnodes=vnodes) if placement == "ring" else placement,
            pins=_pins_of(pins),
            new_clients="fallback" if least_loaded else "walk",
            fallback=_ShortestQueue(self) if least_loaded else None,
        )
        self._routed = metrics.Counter(
            "hashring_requests_routed",
            "Requests routed, by the place in the session's walk ('none' without a session).",
            ("application", "place"),
        )

    # -- the replicas ------------------------------------------------------------------------------

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take the replicas that run now; known slots keep their sessions."""
        names: dict[str, ReplicaID] = {}
        for replica in sorted(replicas, key=lambda each: each.replica_id.unique_id):
            unique = replica.replica_id.unique_id
            slot = replica.replica_metadata.get("slot") if self._by_slot else None
            name = unique if slot is None else f"slot-{slot}"
            if name in names:  # during a rolling update two replicas report one slot
                name = f"{name}~{unique}"
            names[name] = replica.replica_id
        # another replica behind a known name is a new address, which moves no session
        hosts = [Host(name, address=names[name].unique_id) for name in sorted(names)]
        self._balancer.set_hosts(hosts)
        self._replica_ids = names
        self._slots = {replica_id: name for name, replica_id in names.items()}
        for name in [name for name in self._in_flight if name not in names]:
            if not self._in_flight[name]:
                del self._in_flight[name]
        super().update_replicas(replicas)  # last, because it may start to route

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Skip the replica until Serve replaces it."""
        super().on_replica_actor_died(replica_id)
        name = self._slots.get(replica_id)
        if name is not None:
            # a mark by "probe" ends when another replica takes the name
            self._balancer.mark_down(name, "its actor died", by="probe")

    # -- one request -------------------------------------------------------------------------------

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The session's walk, one replica in each rank; two at random without a session."""
        if not candidate_replicas or pending_request is None:
            return [candidate_replicas] if candidate_replicas else []
        # without it a full pool is asked again and again without a pause
        pending_request.routing_context.should_backoff = True
        session = pending_request.metadata.session_id
        if not session:
            # Serve asks all replicas of a rank and takes the shortest queue
            return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))]
        walk = await self._walk(session)
        request = pending_request.metadata.internal_request_id
        if walk and request not in self._hosts:
            # counted from here on, so that requests that are placed next see it
            self._count_on(request, walk[0])
            pending_request.future.add_done_callback(
                lambda future: self._count_off(request) if future.cancelled() else None
            )
        ranks = []
        for name in walk:
            replica = self.curr_replicas.get(self._replica_ids[name])
            if replica is not None:
                ranks.append([replica])
        return ranks

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Count the request on its replica, which may be another than the one chosen first."""
        super().on_request_routed(pending_request, replica_id, result)
        request = pending_request.metadata.internal_request_id
        chosen = self._count_off(request)
        name = self._slots.get(replica_id)
        if name is None:
            return
        self._count_on(request, name)
        session = pending_request.metadata.session_id
        place = ("owner" if name == chosen else "successor") if session else "none"
        self._routed.inc(tags={"application": self.app_name, "place": place})

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Take the request off again."""
        super().on_request_completed(replica_id, internal_request_id)
        self._count_off(internal_request_id)

    def _count_on(self, request: str, name: str) -> None:
        self._hosts[request] = name
        self._in_flight[name] += 1

    def _count_off(self, request: str) -> str | None:
        name = self._hosts.pop(request, None)
        if name is not None:
            self._in_flight[name] -= 1
        return name

    async def _walk(self, session: str) -> list[str]:
        """The names of the session's host and its successors that can be used."""
        names: list[str] = []
        most = len(self._replica_ids) if self._fallbacks is None else 1 + self._fallbacks
        try:
            names.append((await self._balancer.apick(session)).name)
            while len(names) < most:
                names.append(self._balancer.pick(session, exclude=names).name)
        except NoHostsError:
            pass  # every replica of the walk is in the list
        return names

    def queue_length(self, name: str) -> tuple[int, int]:
        """Requests on the host ``name``: those of this router, then those that Serve knows of.

        Serve's number counts every router's requests and is a moment old; alone it would send all
        new sessions of that moment to one replica.
        """
        known = self.replica_queue_len_cache.get(self._replica_ids[name])
        return self._in_flight[name], known or 0


class _ShortestQueue(Strategy):
    """The replica with the shortest queue, then with the fewest sessions placed, in rotation."""

    def __init__(self, router: StickyRouter) -> None:
        super().__init__()
        self._router = router
        self._turns = count()
        self._placed: Counter[str] = Counter()

    def choose(self, view: View) -> Host:
        """The host with the fewest requests. Cost: O(replicas)."""
        start = next(self._turns) % len(view.hosts)
        hosts = view.hosts[start:] + view.hosts[:start]
        host = min(hosts, key=self._load)
        self._placed[host.name] += 1
        return host

    def _load(self, host: Host) -> tuple[int, int, int]:
        return *self._router.queue_length(host.name), self._placed[host.name]


def _pins_of(pins: int | str) -> PinTable | RedisPins | None:
    if isinstance(pins, str):
        return RedisPins(pins)
    return PinTable(COUNT(pins, "pins")) if pins else None
