"""The order of one request where clients are remembered.

Ask the store for the pin. If its host can serve the client, that is all. Otherwise choose a host
and write it down: with ``claim`` for a client without a pin, with ``replace`` for one whose host is
down, gone or too busy. The request goes to the host that has the client afterwards, because
another router may have been first.

This order is written once, as a generator that yields the questions for the store. ``ask`` puts
them to a plain store, ``ask_async`` to one that must be awaited.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from mmh3 import mmh3_32_uintdigest

from hashring.balancer.lease import Lease
from hashring.balancer.picker import NO_NAMES, Picker, is_anonymous, preferred_host
from hashring.balancer.pins import AsyncPinStore, PinStore, is_async
from hashring.balancer.reports import Reason
from hashring.balancer.state import BalancerState
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes
from hashring.load import LoadTracker, TrackedRequest
from hashring.locks import GUARD

T = TypeVar("T")
Questions: TypeAlias = Generator[tuple[Any, ...], Any, T]
"""Yields (method, client ID, arguments ...) for a store and is sent what it returns."""

HostChoice: TypeAlias = tuple[Host, Reason]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A lasting pin: ``host`` is a name; a ``strict`` one is served by no other host.

    >>> Assignment("web1").strict
    False
    """

    host: str
    strict: bool = False


_TRIES = 16  # an operator's pin against claims of one client at the same time: a lost race is a try


def ask(store: Any, questions: Questions[T]) -> T:
    """Put ``questions`` to a plain store; what the generator returns."""
    try:
        method, *given = next(questions)
        while True:
            try:
                answer = getattr(store, method)(*given)
            except BaseException as error:
                method, *given = questions.throw(error)
            else:
                method, *given = questions.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's value has no type here


async def ask_async(store: Any, questions: Questions[T]) -> T:
    """Put ``questions`` to a store that must be awaited; what the generator returns."""
    try:
        method, *given = next(questions)
        while True:
            try:
                answer = await getattr(store, method)(*given)
            except BaseException as error:
                method, *given = questions.throw(error)
            else:
                method, *given = questions.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # as in ask()


class PinFlow:
    """Takes one request through its store of pins, the picker and the load tracker."""

    def __init__(
        self,
        state: BalancerState,
        picker: Picker,
        tracker: LoadTracker,
        pins: PinStore | AsyncPinStore | None,
        failures: tuple[type[BaseException], ...],
    ) -> None:
        awaits = pins is not None and is_async(pins)
        self.store: PinStore | None = None if awaits else cast("PinStore | None", pins)
        self.awaited = cast("AsyncPinStore", pins) if awaits else None
        self.tracker = tracker
        self.failures = failures
        self._asks_store = pins is not None
        self._state = state
        self._picker = picker
        self.assigned: dict[bytes, Assignment] = {}  # replaced as a whole, never edited

    # -- a pick -----------------------------------------------------------------------------------

    def pick_pinned(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Host:
        """``LoadBalancer.pick`` with a plain store of pins; the common cases inlined."""
        active = self._state.active
        store: Any = self.store  # not None, or this would not be called
        plain = client_id.__class__ is str and client_id and prefer is None and not exclude
        if plain and not self.assigned:
            try:
                key = client_id.encode()  # type: ignore[union-attr]  # a str, as just seen
                name = store.get(key)
                if name is not None:
                    return active.serving[name]
                index = active.new_index
                if index is not None:
                    # a copy of Index.find: a call would cost a third of the whole pick
                    position = mmh3_32_uintdigest(key, index.seed)
                    code = index.cells[position >> index.shift]
                    if code < 0:
                        packed = index.packed
                        at = index.starts[position >> index.block] + ~code
                        position <<= 24  # layout.CODE_BITS
                        while packed[at] < position:
                            at += 1
                        code = packed[at] & 0xFFFFFF
                    host = index.labels[code]
                    if store.claim(key, host.name) == host.name:
                        return host
            except OSError:  # the store cannot answer: it is not asked a second time
                return self._picker.choose(active, client_id, None, NO_NAMES, remembered=False)[0]
            except (KeyError, UnicodeEncodeError):  # a host with a deadline or away; a surrogate
                pass
        if client_id is None and prefer is None and not exclude and active.view is not None:
            return self._picker.choose(active, None, None, NO_NAMES)[0]
        return self.pick(client_id, prefer, exclude)

    def pick(
        self, client_id: Key | None, prefer: str | Host | None, exclude: Iterable[str | Host]
    ) -> Host:
        """Slow path of ``LoadBalancer.pick``: retries, preferences, pins, non-str IDs."""
        excluded = as_names(exclude, "exclude") if exclude else NO_NAMES
        if self.assigned:
            choice = self._place_assigned(None, client_id, prefer, excluded)
            if choice is not None:
                return choice[0]
        if self._must_ask(client_id, prefer, excluded):
            return ask(self.store, self._steps(client_id, prefer, excluded))[0]
        return self._picker.choose(self._state.active, client_id, prefer, excluded)[0]

    async def pick_async(
        self, client_id: Key | None, prefer: str | Host | None, exclude: Iterable[str | Host]
    ) -> Host:
        """As ``pick``, with a store that must be awaited."""
        excluded = as_names(exclude, "exclude") if exclude else NO_NAMES
        if self.assigned:
            choice = self._place_assigned(None, client_id, prefer, excluded)
            if choice is not None:
                return choice[0]
        if not self._must_ask(client_id, prefer, excluded, awaits=True):
            return self._picker.choose(self._state.active, client_id, prefer, excluded)[0]
        steps = self._steps(client_id, prefer, excluded)
        return (await ask_async(self.awaited, steps))[0]

    # -- a lease ----------------------------------------------------------------------------------

    def enter(self, lease: Lease) -> None:
        """Choose a host for ``lease`` and count it there."""
        exclude, client_id, prefer = lease._exclude, lease._client_id, lease._prefer
        excluded = as_names(exclude, "exclude") if exclude else NO_NAMES
        if self.assigned and self._place_assigned(lease, client_id, prefer, excluded):
            return
        asks = self._asks_store and lease._remembers
        if not asks or not self._must_ask(client_id, prefer, excluded):
            self._place(lease, client_id, prefer, excluded, None, True)
            return
        store: Any = self.store
        key = _pin_key(client_id)
        try:  # the first half of _steps(), without a generator
            pin = store.get(key)
        except OSError:
            self._place(lease, client_id, prefer, excluded, None, False)
            return
        choice = self._place(lease, client_id, prefer, excluded, pin, True)
        if choice[1] != "pinned" and not excluded and not self._is_lent(pin):
            ask(store, self._write_steps(key, pin, choice, client_id, prefer, lease))

    async def enter_async(self, lease: Lease) -> None:
        """As ``enter``, with a store that must be awaited."""
        client_id, prefer = lease._client_id, lease._prefer
        excluded = as_names(lease._exclude, "exclude") if lease._exclude else NO_NAMES
        if self.assigned and self._place_assigned(lease, client_id, prefer, excluded):
            return
        asks = lease._remembers
        if not asks or not self._must_ask(client_id, prefer, excluded, awaits=True):
            self._place(lease, client_id, prefer, excluded, None, True)
            return
        steps = self._steps(client_id, prefer, excluded, lease)
        await ask_async(self.awaited, steps)

    def _must_ask(
        self,
        client_id: object,
        prefer: str | Host | None,
        excluded: frozenset[str],
        *,
        awaits: bool = False,
    ) -> bool:
        """Whether the store decides: a client ID, and no preferred host that can serve it."""
        if not self._asks_store or is_anonymous(client_id):
            return False
        if self.awaited is not None and not awaits:
            self._plain_store("'await lb.apick(...)' or 'async with lb.lease(...)'")
        return prefer is None or preferred_host(self._state.active, prefer, excluded) is None

    def _steps(
        self,
        client_id: Key | None,
        prefer: str | Host | None,
        excluded: frozenset[str],
        lease: Lease | None = None,
    ) -> Questions[HostChoice]:
        """The questions of one request. A retry writes nothing."""
        key = _pin_key(client_id)
        try:
            pin = yield "get", key
        except OSError:
            return self._place(lease, client_id, prefer, excluded, None, False)
        choice = self._place(lease, client_id, prefer, excluded, pin, True)
        if choice[1] == "pinned" or excluded or self._is_lent(pin):
            return choice
        return (yield from self._write_steps(key, pin, choice, client_id, prefer, lease))

    def _is_lent(self, pin: str | None) -> bool:
        return pin is not None and self._picker.is_lent(self._state.active, pin)

    def _write_steps(
        self,
        key: bytes,
        pin: str | None,
        choice: HostChoice,
        client_id: Key | None,
        prefer: str | Host | None,
        lease: Lease | None,
    ) -> Questions[HostChoice]:
        """Write down where the client goes, and go where the store then has it."""
        name = choice[0].name
        try:
            held = yield ("claim", key, name) if pin is None else ("replace", key, pin, name)
            if held is None or held == name:
                return choice
            there = preferred_host(self._state.active, held, NO_NAMES)
            if there is not None:
                return self._move(lease, there)
            yield "replace", key, held, name  # another router's host, which is down here
            return choice
        except OSError:  # no store keeps the choice, so it must be the one that all routers make
            return self._place(lease, client_id, prefer, NO_NAMES, None, False)
        except BaseException:  # cancelled while it waited for the store
            if lease is not None and lease._request is not None:
                GUARD.run(self.tracker.withdraw, lease._request)
            raise

    def _place_assigned(
        self,
        lease: Lease | None,
        client_id: Key | None,
        prefer: str | Host | None,
        excluded: frozenset[str],
    ) -> HostChoice | None:
        """The choice for a client that is assigned to a host; None for any other."""
        if is_anonymous(client_id):
            return None
        assignment = self.assigned.get(_pin_key(client_id))
        if assignment is None:
            return None
        active = self._state.active
        serves = preferred_host(active, prefer, excluded) or preferred_host(
            active, assignment.host, excluded
        )
        if serves is None and assignment.strict:
            member = active.snapshot.members.get(assignment.host)
            holder, why = ("pool", "not a member") if member is None else (None, None)
            if member is not None:
                holder, why = member.why(active.clock()) or ("caller", "excluded")
            reason = assignment.host, str(holder), str(why)
            raise NoHostsError(reasons=[reason], total=1)
        # away from its host the walk serves it, and nothing is written down: it comes back
        return self._place(
            lease, client_id, prefer, excluded, assignment.host, False, assigned=True
        )

    def _place(
        self,
        lease: Lease | None,
        client_id: Key | None,
        prefer: str | Host | None,
        excluded: frozenset[str],
        pin: str | None,
        remembered: bool,
        *,
        assigned: bool = False,
    ) -> HostChoice:
        """Choose a host; count ``lease`` there and no longer where it was."""
        if lease is None:
            active = self._state.active
            return self._picker.choose(
                active, client_id, prefer, excluded, pin=pin, remembered=remembered
            )
        tracker = self.tracker
        request = lease._request
        if request is None:
            try:
                request = tracker.free.pop()
                request.size = 1.0
            except IndexError:
                request = TrackedRequest(tracker)
        request.client_id = client_id
        request.began = tracker.clock()  # before it counts: a clock may fail
        try:
            with tracker.lock:  # chosen and counted in one go, so that bounds hold exactly
                active = self._state.active
                if tracker.loads is not active.loads:  # a change was interrupted there
                    tracker.synchronize(active.loads, active.usable)
                if lease._request is not None:
                    tracker.withdraw(request)
                elif lease._cost is not None:
                    request.size = tracker.size_of(lease._cost)
                lease._request = request
                group = lease._group
                host, reason = lease._host, lease._reason = self._picker.choose(
                    active,
                    client_id,
                    prefer,
                    excluded,
                    pin=pin,
                    lease_size=request.size,
                    assigned=assigned,
                    group=group,
                    remembered=remembered,
                )
                tracker.enter(request, active.loads[host.name])
                if group is not None:
                    tracker.serve_group(group, host.name, request.began)
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
        return host, reason

    def _move(self, lease: Lease | None, host: Host) -> HostChoice:
        """Go to ``host``, which has the client; the request counts there."""
        if lease is not None and lease._request is not None:
            tracker = self.tracker
            try:
                with tracker.lock:
                    load = self._state.active.loads.get(host.name)
                    if load is not None:
                        tracker.withdraw(lease._request)
                        lease._host, lease._reason = host, "pinned"
                        tracker.enter(lease._request, load)
            finally:
                if GUARD.deferred:
                    GUARD.run_deferred()
        return host, "pinned"

    # -- by hand ----------------------------------------------------------------------------------

    def pin(self, client_id: Key, host: str | None) -> bool:
        """Pin a client to ``host`` wherever it was, or forget it; whether that came about."""
        instead = "'await lb.aforget(...)'" if host is None else "'await lb.apin(...)'"
        return ask(self._pin_store(instead), _pin_steps(_pin_key(client_id), host))

    async def pin_async(self, client_id: Key, host: str | None) -> bool:
        """As ``pin``, with any store."""
        if self.awaited is None:
            return self.pin(client_id, host)
        return await ask_async(self.awaited, _pin_steps(_pin_key(client_id), host))

    def clients_in_flight(self) -> set[bytes]:
        """The clients with an open lease. Cost: O(leases)."""
        clients = [each.client_id for each in self.tracker.open_requests()]
        return {_pin_key(client) for client in clients if not is_anonymous(client)}

    def assign(self, client_id: Key, assignment: Assignment | None) -> bool:
        """Assign a client, None to end it; whether it was assigned before."""
        key = _pin_key(client_id)
        was = key in self.assigned

        def change() -> None:
            assigned = {other: each for other, each in self.assigned.items() if other != key}
            if assignment is not None:
                assigned[key] = assignment
            self.assigned = assigned
            self._state.set_inlined(not assigned)

        self._state.update(change)
        return was

    def assigned_host(self, client_id: Key | None) -> str | None:
        """The host that a client is assigned to."""
        if not self.assigned or is_anonymous(client_id):
            return None
        assignment = self.assigned.get(_pin_key(client_id))
        return None if assignment is None else assignment.host

    def pin_of(self, client_id: Key | None) -> str | None:
        """The pin of a client in a plain store; None without a store or an answer."""
        if not self._asks_store or is_anonymous(client_id):
            return None
        try:
            store = self._plain_store("prefer=await store.get(client_id)")
            return store.get(_pin_key(client_id))
        except OSError:
            return None

    def _plain_store(self, instead: str) -> PinStore:
        if self.store is None:
            raise ConfigError(
                f"{type(self.awaited).__name__} must be awaited: use {instead}", option="pins"
            )
        return self.store

    def _pin_store(self, instead: str) -> PinStore:
        if not self._asks_store:
            raise ConfigError(
                "this balancer keeps no pins: make it with pins=PinTable() or another store",
                option="pins",
            )
        return self._plain_store(instead)


def _pin_steps(key: bytes, host: str | None) -> Questions[bool]:
    held = yield ("get", key) if host is None else ("claim", key, host)
    for _ in range(_TRIES):
        if held is None or held == host:
            break
        held = yield "replace", key, held, host
    return bool(held == host)


def _pin_key(client_id: Any) -> bytes:
    if client_id.__class__ is str and client_id:
        try:
            return client_id.encode()
        except UnicodeEncodeError:  # a lone surrogate
            pass
    if is_anonymous(client_id):
        raise ConfigError(f"only a client ID can be pinned, not {client_id!r}")
    return key_bytes(client_id)
