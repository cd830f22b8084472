"""The model of a host that serves an LLM: a queue, prefill, decode, and a cache of prefix blocks.

Requests wait in one queue. ``lanes`` of them are in prefill together, each with its part of
``prefill`` tokens a second, and then decode ``decode`` tokens a second each, up to ``slots``
requests in all. With ``chunk`` prefill and decode share steps of that many tokens, so that each
slows the other down; with ``sharing`` the requests in prefill have the whole speed among them, so
that one alone is as fast as a host of one lane. A host keeps the last ``blocks`` prefix blocks; a
request skips the prefill of the blocks it finds, up to the first that is missing. **Limits:** no
batching effects, no eviction in the middle of a request, no network, no preemption.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hashring.analysis.traces import TraceRequest
from hashring.balancer import Lease
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.text import bounded_repr, suggestion
from hashring.validators import COUNT, SECONDS

_ROUNDING: Final = 1e-6  # tokens: two floats that mean one moment
_CHUNK: Final = 2048  # tokens of a step: 0.256 s of prefill, in which all decodes advance by one
_SHARERS: Final = 64  # requests that one CPU shares; more wait
_WORKERS: Final = 8  # processes of a host, each with its part of the speed

KINDS: Final[dict[str, dict[str, Any]]] = {
    "line": {},
    "chunked": {"chunk": _CHUNK},
    "workers": {"lanes": _WORKERS, "blocks": 0},
    "sharing": {"lanes": _SHARERS, "sharing": True, "blocks": 0},
}
"""Kinds of hosts and their options of ``Engine``: one prefill after the other; prefill in chunks
beside decode; workers, or one CPU that all requests share, without a cache."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How a host works; see the module. ``prefill`` and ``decode`` are tokens a second."""

    prefill: float = 8000.0
    decode: float = 40.0
    lanes: int = 1
    slots: int = 256
    blocks: int = 2048
    chunk: int | None = None
    sharing: bool = False

    def __post_init__(self) -> None:
        for option in ("prefill", "decode"):
            SECONDS(getattr(self, option), option)
        for option in ("lanes", "slots"):
            COUNT(getattr(self, option), option)
        if self.chunk is not None:
            COUNT(self.chunk, "chunk")
            if self.lanes != 1:
                raise ConfigError("chunk and lanes exclude each other: give one", option="chunk")
            if self.sharing:
                raise ConfigError("chunk and sharing exclude each other", option="chunk")
        if self.blocks < 0:
            raise ConfigError(f"blocks must be at least 0, got {self.blocks!r}", option="blocks")

    @classmethod
    def of(cls, kind: str, **options: Any) -> Engine:
        """A host of one of the ``KINDS``; ``options`` replace those of the kind.

        Raises ``ConfigError``.

        >>> Engine.of("workers", lanes=4).lanes
        4
        """
        if kind not in KINDS:
            raise ConfigError(
                f"there is no engine {bounded_repr(kind)}: {suggestion(kind, KINDS)}",
                option="engine",
            )
        return cls(**{**KINDS[kind], **options})

    def __str__(self) -> str:
        way = f"chunks of {self.chunk:,}" if self.chunk else f"lanes {self.lanes}"
        if self.sharing:
            way = f"shared by up to {self.lanes}"
        return (
            f"prefill {self.prefill:,.0f} tokens/s ({way}), decode {self.decode:g} tokens/s a "
            f"request, cache {self.blocks:,} blocks"
        )


class ServedTurn:
    """A request on its way: where it is, and since when."""

    __slots__ = ("at", "begun", "cost", "first", "group", "key", "lease", "number", "request",
                 "router", "todo")  # fmt: skip

    def __init__(self, number: int, request: TraceRequest, at: float) -> None:
        self.number, self.request, self.at = number, request, at
        self.key = f"session-{request.session}"
        self.cost: float | None = None
        self.group: str | None = None
        self.router = 0
        self.lease: Lease | None = None
        self.first = -1.0
        self.begun = False
        self.todo = 0


class ModelHost:
    """A host as the module describes it. Its two clocks count tokens of one lane and one decode."""

    def __init__(self, host: Host, engine: Engine, block: int) -> None:
        self.name, self.weight, self.engine, self.block = host.name, host.weight, engine, block
        self.speed = host.weight
        self.time = self.work = 0.0
        self.version = 0  # of the next wake-up; an older one is ignored
        self.clear()

    def clear(self) -> None:
        """Forget all requests and the cache."""
        self.queue: deque[ServedTurn] = deque()
        self.prefilling: list[tuple[float, int, ServedTurn]] = []  # (end on the prefill clock, ...)
        self.decoding: list[tuple[float, int, ServedTurn]] = []  # (end on the decode clock, ...)
        self.prefill_clock = self.decode_clock = 0.0
        self.cache: OrderedDict[int, None] = OrderedDict()

    @property
    def prefill(self) -> float:
        """Tokens a second of the whole host."""
        return self.engine.prefill * self.speed

    def _rates(self) -> tuple[float, float]:
        """Tokens a second of one lane and of one decode: constant between two events."""
        prefill, decode = self.prefill, self.engine.decode * self.speed
        if self.engine.chunk and self.prefilling:
            # a step holds one token of each decode, and prefill in the rest of it
            left = max(0.05, 1 - len(self.decoding) / self.engine.chunk)
            return prefill * left, min(decode, prefill / self.engine.chunk)
        sharers = max(1, len(self.prefilling)) if self.engine.sharing else self.engine.lanes
        return prefill / sharers, decode

    def advance(self, now: float) -> None:
        """Let time pass up to ``now``."""
        prefill, decode = self._rates()
        passed = now - self.time
        self.prefill_clock += prefill * passed
        self.decode_clock += decode * passed
        self.time = now

    def wakes(self) -> float:
        """When the next request has its first token or its last."""
        prefill, decode = self._rates()
        ends = [math.inf]
        if self.prefilling:
            ends.append((self.prefilling[0][0] - self.prefill_clock) / prefill)
        if self.decoding:
            ends.append((self.decoding[0][0] - self.decode_clock) / decode)
        return self.time + max(0.0, min(ends))

    def found(self, request: TraceRequest) -> int:
        """Blocks of the prompt that are in the cache, up to the first that is not."""
        cache = self.cache
        for number, block in enumerate(request.blocks):
            if block not in cache:
                return number
        return len(request.blocks)

    def missing(self, request: TraceRequest) -> int:
        """Tokens that must be computed."""
        return max(0, request.input_tokens - self.block * self.found(request))

    def backlog(self) -> float:
        """Seconds of prefill ahead of a request that comes now."""
        ahead = sum(end - self.prefill_clock for end, _, _ in self.prefilling)
        ahead += sum(self.missing(turn.request) for turn in self.queue)
        return ahead / self.prefill

    def admit(self) -> Iterator[tuple[int, int]]:
        """Begin the requests that there is room for; (blocks found, blocks) of each."""
        engine = self.engine
        while (
            self.queue
            and len(self.prefilling) < engine.lanes
            and len(self.prefilling) + len(self.decoding) < engine.slots
        ):
            turn = self.queue.popleft()
            found = self.found(turn.request)
            turn.todo = max(0, turn.request.input_tokens - self.block * found)
            if engine.blocks:
                for block in turn.request.blocks:
                    self.cache[block] = None
                    self.cache.move_to_end(block)
                while len(self.cache) > engine.blocks:
                    self.cache.popitem(last=False)
            self.work += turn.todo
            heapq.heappush(self.prefilling, (self.prefill_clock + turn.todo, turn.number, turn))
            yield found, len(turn.request.blocks)

    def first_tokens(self) -> Iterator[ServedTurn]:
        """The requests whose prefill has ended; they decode from now on."""
        while self.prefilling and self.prefilling[0][0] <= self.prefill_clock + _ROUNDING:
            turn = heapq.heappop(self.prefilling)[2]
            end = self.decode_clock + turn.request.output_tokens
            heapq.heappush(self.decoding, (end, turn.number, turn))
            yield turn

    def pop_ended(self) -> Iterator[ServedTurn]:
        """The requests that have their last token."""
        while self.decoding and self.decoding[0][0] <= self.decode_clock + _ROUNDING:
            yield heapq.heappop(self.decoding)[2]

    def lose_all(self) -> list[ServedTurn]:
        """Every request here, in order of arrival; the host is empty afterwards."""
        running = [turn for _, _, turn in (*self.prefilling, *self.decoding)]
        lost = sorted((*self.queue, *running), key=lambda turn: turn.number)
        self.clear()
        return lost
