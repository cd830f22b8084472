"""The admin API: ``/v1`` on the admin listener, JSON in and out.

GET reads: ``status``, ``hosts``, ``where`` (the host of a client ID or cookie, and why),
``events``, ``view`` (all of it in one, for the dashboard), ``stream`` (a view every second as
server-sent events) and ``ring`` (who owns which part of the circle). POST ``plan`` computes what a
change of the pool would move. POST acts on one host (``hosts/NAME/drain``, ``resume``, ``down``,
``up``, ``weight``) or on one session (``sessions/assign``, ``sessions/forget``). Every action is
logged with its reason, returns the new epoch, and with ``?dry_run=1`` changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, unquote

from hashring.balancer import Event, LoadBalancer
from hashring.balancer.reports import Movement
from hashring.discovery import Discovery
from hashring.errors import ConfigError, HashringError, InvalidWeightError, UnknownHostError
from hashring.gateway.app import Gateway
from hashring.gateway.counts import BUCKETS
from hashring.gateway.openapi import openapi_document
from hashring.gateway.operator_marks import ACTIONS, OPERATOR, HostAction, OperatorMarks
from hashring.hosts import as_weight
from hashring.ring import RingTable
from hashring.validators import SECONDS_OR_ZERO, TEXT, TEXTS

SCHEMA = 1
"""The version of ``/state`` and ``/v1``. A key may be added under one number, never changed."""

_KEPT = 1000  # events
_MOST_STREAMS = 20
_VIEW_EVERY = 1.0  # seconds
_CELLS = 720  # parts of the circle: half a degree, as much as a picture can show
_EXACT_HOSTS = 64  # with more hosts, the moved fraction of an event costs too much on the loop
_LONGEST_WAIT = 30.0  # seconds of one request for events
_KEEP = "surrogateescape"

_log = logging.getLogger("hashring")


def state(gateway: Gateway) -> dict[str, Any]:
    """The contents of ``/state``, ready for JSON. Cost: O(hosts).

    >>> from hashring import LoadBalancer
    >>> from hashring.gateway import Gateway
    >>> state(Gateway(LoadBalancer(["a"])))["hosts"][0]["state"]
    'up'
    """
    lb = gateway.lb
    snapshot = lb.snapshot
    table = snapshot.table
    return {
        "schema": SCHEMA,
        "time": time.time(),
        "ready": gateway.ready,
        "fingerprint": lb.fingerprint,
        "epoch": snapshot.epoch,
        "placement": _placement(gateway, table),
        "hosts": [_host_state(gateway, name) for name in snapshot.members if name in lb],
        "discovery": None if gateway.discovery is None else _discovery(gateway.discovery),
        "lifted": None if gateway.health is None else gateway.health.panic_reason,
        "in_flight": gateway.in_flight,
        "stats": {
            **gateway.stats,
            "tokens": None if gateway.tokens is None else dict(gateway.tokens.stats),
            "health": None if gateway.health is None else dict(gateway.health.stats),
        },
    }


def _placement(gateway: Gateway, table: Any) -> dict[str, Any] | None:
    """A placement's kind and options, without its secret, which would let a client choose."""
    if gateway.placement is None and table is None:
        return None
    kind, given = gateway.placement or (_kind(table), {})
    shown = {
        name: getattr(table, name)
        for name in ("vnodes", "seed", "layout")
        if isinstance(getattr(table, name, None), (int, float, str, bool))
    }
    keyed = getattr(table, "key_check", None) is not None
    return {"kind": kind, "options": {**given, **shown}, "keyed": keyed}


def _kind(table: Any) -> str:
    if isinstance(table, RingTable):
        return "ring"
    return type(table).__module__.rpartition(".")[2]


def _discovery(discovery: Discovery) -> dict[str, Any]:
    membership, held = discovery.membership, discovery.held
    return {
        "source": str(discovery.source),
        "revision": None if membership is None else membership.revision,
        "last_error": discovery.last_error,
        "held": None if held is None else [host.name for host in held.hosts],
        "stats": dict(discovery.stats),
    }


def _host_state(gateway: Gateway, name: str) -> dict[str, Any]:
    """One host: its marks, drains and load."""
    lb = gateway.lb
    member = lb.snapshot.members[name]
    load = lb.load(name)
    return {
        "name": name,
        "address": member.host.address,
        "weight": member.host.weight,
        "id": member.host.id,
        "guid": member.host.guid,
        "state": lb.state(name),
        "down": dict(member.down),
        "drains": sorted(member.drains),
        "in_flight": load.in_flight,
        "pending": load.pending,
        "outstanding": round(load.outstanding, 3),
        "ok": load.ok,
        "failed": load.failed,
        "latency": round(load.latency, 6),
    }


class ApiError(Exception):
    """A request that is refused: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The resources under ``/v1`` of one gateway. Actions wait for no host and no client."""

    def __init__(self, gateway: Gateway, marks: OperatorMarks | None = None) -> None:
        self._gateway = gateway
        self._marks = marks
        self._started = time.time()
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._count = 0
        self._arrived: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lb: LoadBalancer | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._streams = 0
        self._follow(gateway.lb)
        gateway.reloaded.subscribe(self._follow)

    async def get(self, path: str, query: bytes) -> dict[str, Any]:
        """The resource at ``path``, without ``/v1/``. Raises ``ApiError``."""
        given = _parameters(query)
        if path == "status":
            return self._status()
        if path == "hosts":
            return {"epoch": self._balancer.snapshot.epoch, "hosts": self._hosts()}
        if path == "where":
            return self._where(given)
        if path == "events":
            return await self._events_after(given)
        if path == "view":
            return await self._view(given)
        if path == "ring":
            return self._ring()
        if path == "openapi.json":
            return openapi_document()
        raise ApiError(404, "the resources are listed at /v1/openapi.json")

    async def post(self, path: str, query: bytes, body: bytes) -> dict[str, Any]:
        """The result of an action. Raises ``ApiError``."""
        dry = _parameters(query).get("dry_run") in ("1", "true")
        values = _object(body)
        kind, _, rest = path.partition("/")
        try:
            if kind == "hosts":
                name, _, action = rest.rpartition("/")
                return await asyncio.to_thread(self._act, unquote(name), action, values, dry)
            if kind == "sessions":
                return await self._session(rest, values, dry)
            if path == "plan":
                return await asyncio.to_thread(self._plan, values)
        except UnknownHostError as error:
            raise ApiError(404, str(error)) from None
        except (ConfigError, InvalidWeightError) as error:
            raise ApiError(400, str(error)) from None
        except HashringError as error:
            raise ApiError(409, str(error)) from None
        raise ApiError(404, "the actions are hosts/NAME/ACTION, sessions/ACTION and plan")

    async def delete_session(self, client_id: str, query: bytes) -> dict[str, Any]:
        """End the session of a client ID, percent-encoded; as ``sessions/forget``."""
        body = json.dumps({"client_id": unquote(client_id)}).encode()
        return await self.post("sessions/forget", query, body)

    # -- reading ----------------------------------------------------------------------------------

    @property
    def _balancer(self) -> LoadBalancer:
        return self._gateway.lb

    def _status(self) -> dict[str, Any]:
        lb, gateway = self._balancer, self._gateway
        states = [lb.state(host) for host in lb.hosts]
        return {
            "schema": SCHEMA,
            "ready": gateway.ready,
            "epoch": lb.snapshot.epoch,
            "fingerprint": lb.fingerprint,
            "placement": _placement(gateway, lb.snapshot.table),
            "in_flight": gateway.in_flight,
            "hosts": {name: states.count(name) for name in ("up", "draining", "down")},
            "stats": dict(gateway.stats),
            "uptime": round(time.time() - self._started, 3),
        }

    def _hosts(self) -> list[dict[str, Any]]:
        lb = self._balancer
        table = lb.snapshot.usable_table
        shares = table.shares() if isinstance(table, RingTable) else {}
        return [self._host(host.name, shares) for host in lb.hosts]

    def _host(self, name: str, shares: Mapping[str, float]) -> dict[str, Any]:
        lb = self._balancer
        member, now = lb.snapshot.members[name], time.monotonic()
        found = _host_state(self._gateway, name)
        found["drains"] = [
            {"by": by, "seconds_left": None if end is None else max(0.0, round(end - now, 1))}
            for by, end in sorted(member.drains.items())
        ]
        pins = self._gateway.pins
        found["sessions"] = None if pins is None else pins.count(name)
        known = isinstance(lb.snapshot.usable_table, RingTable)
        found["share"] = round(shares.get(name, 0.0), 6) if known else None
        return found

    async def _view(self, given: Mapping[str, str]) -> dict[str, Any]:
        """State, hosts, counts and the events after a number, in one answer."""
        gateway, counts = self._gateway, self._gateway.counts
        by_host: dict[str, dict[str, int]] = {}
        for (host, status), number in counts.requests.items():
            by_host.setdefault(host, {})[status] = number
        durations = {
            host: {str(place): number for place, number in enumerate(each) if number}
            for host, (each, _) in counts.durations.items()
        }
        view = state(gateway)
        view["stats"] |= {
            "reasons": dict(counts.reasons),
            "moved": dict(counts.moved),
            "requests_by_host": by_host,
            "durations_by_host": durations,
        }
        events = await self._events_after({**given, "wait": "0"})
        return (
            view
            | events
            | {
                "hosts": self._hosts(),
                "buckets": list(BUCKETS),
                "uptime": round(time.time() - self._started, 3),
            }
        )

    def _ring(self) -> dict[str, Any]:
        """The owner of each of ``_CELLS`` equal parts of the circle, at its middle."""
        table = self._balancer.snapshot.usable_table
        if not isinstance(table, RingTable) or not table.counts:
            return {"hosts": [], "cells": []}
        index = table.index
        size = 1 << index.bits
        owners = [
            index.labels[index.find((2 * n + 1) * size // (2 * _CELLS))] for n in range(_CELLS)
        ]
        names = sorted(set(owners))
        places = {name: place for place, name in enumerate(names)}
        return {"hosts": names, "cells": [places[owner] for owner in owners]}

    def _plan(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a change would move: ``add`` and ``remove`` are names, ``weights`` by name."""
        lb = self._balancer
        add, remove = (TEXTS(values.get(key, []), key) for key in ("add", "remove"))
        weights = values.get("weights", {})
        if not isinstance(weights, dict):
            raise ConfigError("weights must be an object of weights by host name", option="weights")
        plan = lb.plan(add=add, remove=remove, weights=weights or None)
        return {
            "moved": round(plan.moved, 6),
            "flows": [
                {"from": old, "to": new, "share": round(part, 6)}
                for (old, new), part in sorted(plan.flows.items(), key=lambda item: -item[1])
            ],
            "keeps_sessions": self._keeps_sessions,
            "epoch": lb.snapshot.epoch,
        }

    @property
    def _keeps_sessions(self) -> bool:
        return self._gateway.tokens is not None or self._balancer.pins is not None

    def _where(self, given: Mapping[str, str]) -> dict[str, Any]:
        lb, tokens = self._balancer, self._gateway.tokens
        prefer, source = None, "id"
        if given.get("cookie"):
            if tokens is None:
                raise ApiError(409, "this gateway has no tokens: give a client ID")
            cookie = given["cookie"]
            named = cookie.startswith(f"{tokens.cookie}=") or ";" in cookie
            visit = tokens.visit(cookie if named else f"{tokens.cookie}={cookie}")
            if visit.token is None:
                raise ApiError(404, "the cookie has no valid token of this gateway")
            client_id, prefer, source = visit.client_id, visit.prefer, "token"
        elif given.get("id"):
            client_id = given["id"].encode("utf-8", _KEEP)
        else:
            raise ApiError(400, "give id=CLIENT_ID or cookie=VALUE")
        decision, table = lb.explain(client_id, prefer=prefer), lb.snapshot.table
        shown = (
            client_id.decode("utf-8", "backslashreplace")
            if isinstance(client_id, bytes)
            else str(client_id)
        )
        return {
            "client_id": shown,
            "from": source,
            "host": None if decision.host is None else decision.host.name,
            "reason": decision.reason,
            "owner": None if decision.owner is None else decision.owner.name,
            "position": decision.position,
            "skipped": [
                {"host": host.name, "by": by, "why": why} for host, by, why in decision.skipped
            ],
            "walk": [] if table is None else list(islice(table.walk(client_id), 3)),
            "epoch": decision.epoch,
        }

    # -- events -----------------------------------------------------------------------------------

    def _follow(self, lb: LoadBalancer) -> None:
        """Subscribe to ``lb``, which a reload may have made in the place of another."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._keep("reload", lb.snapshot.epoch)
        self._lb, self._unsubscribe = lb, lb.subscribe(self._keep_event)

    def _keep_event(self, event: Event) -> None:
        few = self._lb is not None and len(self._lb) <= _EXACT_HOSTS
        moved = round(event.moved, 6) if few else None
        self._keep(event.kind, event.epoch, event.host.name, event.holder, event.cause, moved)

    def _keep(
        self,
        kind: str,
        epoch: int,
        host: str | None = None,
        holder: str | None = None,
        cause: str | None = None,
        moved: float | None = None,
    ) -> None:
        self._count += 1
        self._events.append(
            {
                "number": self._count,
                "time": round(time.time(), 3),
                "epoch": epoch,
                "kind": kind,
                "host": host,
                "by": holder,
                "why": cause,
                "moved": moved,
            }
        )
        if self._loop is not None and self._arrived is not None:
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def _events_after(self, given: Mapping[str, str]) -> dict[str, Any]:
        try:
            after, wait = int(given.get("after", 0)), float(given.get("wait", 0))
            wait = min(SECONDS_OR_ZERO(wait, "wait"), _LONGEST_WAIT)
        except ValueError as error:
            raise ApiError(400, f"after must be a number and wait seconds: {error}") from None
        if self._count <= after and wait:
            self._loop = asyncio.get_running_loop()
            self._arrived = self._arrived or asyncio.Event()
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                pass
        found = [event for event in list(self._events) if event["number"] > after]
        return {"events": found, "next": self._count}

    async def stream(self, query: bytes) -> AsyncGenerator[bytes]:
        """Server-sent events: ``view`` once a second, with the events that came meanwhile.

        Raises ``ApiError`` above the limit of open streams. It ends with the gateway.
        """
        given = _parameters(query)
        if self._streams >= _MOST_STREAMS:
            raise ApiError(503, f"{_MOST_STREAMS} streams are open already: close one")
        self._streams += 1
        try:
            while not self._gateway.stopping:
                view = await self._view(given)
                given["after"] = str(view["next"])
                yield b"event: view\ndata: %b\n\n" % json.dumps(view).encode()
                await asyncio.sleep(_VIEW_EVERY)
        finally:
            self._streams -= 1

    # -- acting -----------------------------------------------------------------------------------

    def _act(
        self, name: str, action: str, values: Mapping[str, Any], dry_run: bool
    ) -> dict[str, Any]:
        lb = self._balancer
        reason = TEXT(values.get("reason", "an operator"), "reason")
        deadline = values.get("deadline")
        if deadline is not None:
            deadline = SECONDS_OR_ZERO(deadline, "deadline")
        if name not in lb:
            raise UnknownHostError(name, known=[host.name for host in lb.hosts])
        weight = values.get("weight")
        if action == "weight" and (weight != 0 or isinstance(weight, bool)):
            weight = as_weight(weight, name)  # 0 means drain
        if action not in ACTIONS:
            raise ApiError(404, f"the actions on a host are {', '.join(ACTIONS)}")
        if dry_run:
            moved = self._preview(lb, name, action, weight)
        else:
            before = lb.snapshot.usable_table
            done = HostAction(name, action, deadline, reason, weight)
            done.carry_out(self._gateway)
            if self._marks is not None:
                self._marks.record(done)
            moved = Movement(before, lb.snapshot.usable_table).diff.moved
            _log.warning(
                "admin: %s %s: %s (%.1f %% of all keys)", action, name, reason, 100 * moved
            )
        shares = {host["name"]: host["share"] or 0.0 for host in self._hosts()}
        return {
            "epoch": lb.snapshot.epoch,
            "moved": round(moved, 6),
            "dry_run": dry_run,
            "keeps_sessions": self._keeps_sessions,
            "host": self._host(name, shares),
        }

    @staticmethod
    def _preview(lb: LoadBalancer, name: str, action: str, weight: Any) -> float:
        """The fraction of all keys that the action would move."""
        if action == "weight" and weight:
            return lb.plan(weights={name: weight}).moved
        members, table = lb.snapshot.members, lb.snapshot.table
        if table is None:
            return 0.0
        away = {host for host, member in members.items() if not member.takes_new}
        after = set(away)
        if action in ("drain", "down", "weight"):
            after.add(name)
        elif members[name].down.keys() | members[name].drains.keys() <= {OPERATOR}:
            after.discard(name)
        return Movement(table.without(away), table.without(after)).diff.moved

    async def _session(
        self, action: str, values: Mapping[str, Any], dry_run: bool
    ) -> dict[str, Any]:
        lb = self._balancer
        if action not in ("assign", "forget"):
            raise ApiError(404, "the actions on a session are assign and forget")
        client_id = TEXT(values.get("client_id"), "client_id")
        host = TEXT(values.get("host"), "host") if action == "assign" else None
        if host is not None and host not in lb:
            raise UnknownHostError(host, known=[each.name for each in lb.hosts])
        if lb.pins is None:
            raise ApiError(409, "this gateway keeps sessions by tokens: it has no table to change")
        if dry_run:
            held = lb.pins.get(client_id)
            pinned = held if held is None or isinstance(held, str) else await held
            changed = pinned not in (None, host) if host is None else pinned != host
            return {"changed": changed, "dry_run": True, "epoch": lb.snapshot.epoch}
        try:
            if host is not None:
                changed = await lb.apin(client_id, host)
            else:
                changed = await lb.aforget(client_id)
        except ConfigError as error:
            if error.option == "pins":
                raise ApiError(
                    409, "this gateway keeps sessions by tokens: it has no table to change"
                ) from None
            raise
        _log.warning("admin: %s a session", action)
        return {"changed": changed, "dry_run": False, "epoch": lb.snapshot.epoch}


def _parameters(query: bytes) -> dict[str, str]:
    """The parameters of a query; bytes that are not UTF-8 are kept as lone surrogates.

    >>> _parameters(b"id=%C3%A9&wait=1")["id"], _parameters(b"id=%ff")["id"].encode("utf-8", _KEEP)
    ('é', b'\\xff')
    """
    text = query.decode("ascii", "replace")
    return dict(parse_qsl(text, keep_blank_values=True, errors=_KEEP))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body must be a JSON object")
    return found
