"""The outlier state of one host.  A pure function: state, outcome, time -> state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hashring.errors import ConfigError
from hashring.health.probe_state import HealthChange
from hashring.validators import COUNT, FRACTION, SECONDS, STATUSES, check_options, option


@dataclass(frozen=True, slots=True)
class OutlierRules:
    """When a host is ejected, and for how long.

    ``failures`` in a row eject a host for ``base`` seconds times the number of its ejections, at
    most ``cap``; each ``base`` seconds in which it stays in make that number one less. At most
    ``max(1, share * hosts)`` are ejected at a time. The defaults are Envoy's (5, 30 s, 300 s,
    10 %), but for ``statuses``, the statuses of responses that count as failures: none, because
    any client can ask for a page that responds with 503. Raises ``ConfigError``.

    >>> OutlierRules().most(9), OutlierRules().most(40)
    (1, 4)
    """

    failures: int = option(
        5, check=COUNT, help="Failed requests in a row after which a host is ejected."
    )
    base: float = option(
        30.0,
        check=SECONDS,
        help="Seconds of the first ejection; each further one lasts that much longer.",
    )
    cap: float = option(300.0, check=SECONDS, help="Maximum ejection time in seconds.")
    share: float = option(
        0.1,
        check=FRACTION,
        help="Fraction of the hosts that may be ejected at the same time; one always may.",
    )

    statuses: tuple[int, ...] = option(
        (),
        check=STATUSES,
        help="Statuses of responses that count as failures of the host, such as [502, 503]. Empty "
        "means none: a client can cause them.",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.cap < self.base:
            raise ConfigError(f"cap must be at least base, got {self.cap} s", option="cap")

    def most(self, hosts: int) -> int:
        """How many of ``hosts`` hosts may be ejected at the same time."""
        return max(1, int(self.share * hosts))

    def times(self, state: OutlierState, now: float) -> int:
        """The number of ejections that still count."""
        return max(0, state.times - int((now - state.since) // self.base))


@dataclass(frozen=True, slots=True)
class OutlierState:
    """What the requests on one host say.

    ``run`` counts its failures in a row, ``times`` its ejections, and ``until`` is when the present
    one ends (None: it is in). ``since`` is when it was ejected or came back. An ejected host keeps
    its known clients, unless it is ``unreachable``: no connection could be made.
    """

    host: str
    run: int = 0
    times: int = 0
    until: float | None = None
    since: float = 0.0
    why: str = ""
    unreachable: bool = False


def judge_response(
    state: OutlierState,
    why: str | None,
    began: float,
    now: float,
    rules: OutlierRules,
    *,
    room: bool,
    unreachable: bool = False,
) -> tuple[OutlierState, tuple[HealthChange, ...]]:
    """The state after a request that ``began`` then; ``why`` is None if it was a success.

    ``room``: whether one more host may be ejected; without room the run goes on, and each
    ``failures`` more ask again. Requests that began before an ejection are not counted: a long
    timeout must not eject a host that has just come back. During an ejection only connections
    that failed count (``unreachable``), and ``failures`` of them in a row make the host
    unreachable. Cost: O(1).

    >>> state, rules = OutlierState("a", run=4), OutlierRules()
    >>> state, changes = judge_response(state, "timeout", 5.0, 7.0, rules, room=True)
    >>> state.until, str(changes[0])
    (37.0, 'ejected a: 5 requests in a row failed, the last: timeout; for 30 s')
    """
    if state.times and began < state.since:
        return state, ()
    if why is None:
        return (replace(state, run=0) if state.run else state), ()
    if state.until is not None:
        if state.unreachable or not unreachable:
            return state, ()
        lost = state.run + 1 >= rules.failures
        return replace(state, run=0 if lost else state.run + 1, unreachable=lost), ()
    run = state.run + 1
    if run % rules.failures or not room:
        return replace(state, run=run), ()
    # repeats above the cap add no time, so they need no decay either
    times = min(rules.times(state, now) + 1, math.ceil(rules.cap / rules.base))
    span = min(rules.base * times, rules.cap)
    text = f"{run} requests in a row failed, the last: {why}; for {span:g} s"
    ejected = OutlierState(state.host, 0, times, now + span, now, text, unreachable)
    return ejected, (HealthChange("ejected", state.host, text, now),)


def may_return(state: OutlierState, began: float, now: float, rules: OutlierRules) -> str | None:
    """Why an ejected host may come back now; None if it may not.

    ``began`` is when a probe began that has just passed, ``-inf`` for none. It ends an ejection
    once ``base`` is over, never before: a host whose probe passes while its requests fail would
    otherwise flap as fast as it is probed.

    >>> state, rules = OutlierState("a", times=2, until=60.0, since=0.0), OutlierRules()
    >>> may_return(state, 31.0, 32.0, rules), may_return(state, 29.0, 32.0, rules)
    ('a probe passed', None)
    """
    if state.until is None:
        return None
    if now >= state.until:
        return "its time is over"
    return "a probe passed" if began >= state.since + rules.base else None


def return_host(
    state: OutlierState, why: str, now: float
) -> tuple[OutlierState, tuple[HealthChange, ...]]:
    """The state of an ejected host that comes back, and the change.

    >>> return_host(OutlierState("a", times=1, until=30.0), "its time is over", 30.0)[0]
    OutlierState(host='a', run=0, times=1, until=None, since=30.0, why='', unreachable=False)
    """
    back = OutlierState(state.host, 0, state.times, None, now)
    return back, (HealthChange("returned", state.host, why, now),)
