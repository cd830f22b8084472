"""What must a store of pins do?  Three methods, plain or asynchronous; and how one is asked.

What is asked, and what follows from the answer, is written once, as a generator of questions
(``seating.py``). ``ask`` puts them to a store that answers at once, ``ask_async`` to one that
must be awaited.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, Protocol, TypeAlias, TypeVar

from hashring.errors import ConfigError
from hashring.keys import Key

__all__ = ["AsyncPinStore", "PinStore", "Questions", "ask", "ask_async", "is_async", "pinned_to"]

Answer = TypeVar("Answer")
Questions: TypeAlias = Generator[tuple[Any, ...], str | None, Answer]
"""Yields (method, client ID, arguments ...) for a store and is sent what it answers."""

_METHODS = ("get", "claim", "replace")
_TRIES = 16  # an operator's word against claims of one client at once: each lost race is one try


class PinStore(Protocol):
    """Remembers a host's name for a client ID; shared by any number of threads.

    The balancer gives the client ID as its canonical bytes (``hashring.keys.key_bytes``), so that
    ``"a"`` and ``b"a"`` are one client. A store that cannot answer raises an ``OSError``
    (``ConnectionError`` and ``TimeoutError`` are such): the balancer then places the client as if
    it had no pin and writes none. It waits for a plain store inside ``pick``.
    """

    def get(self, client_id: Key, /) -> str | None:
        """The host that holds the client; None when it has no pin."""

    def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that holds it now. The first writer wins."""

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; the host that holds the client now.

        A client whose pin is gone meanwhile gets ``new``. ``new`` None forgets the client.
        """


class AsyncPinStore(Protocol):
    """A ``PinStore`` whose methods are coroutines, as a store on the network has them."""

    async def get(self, client_id: Key, /) -> str | None:
        """The host that holds the client; None when it has no pin."""

    async def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that holds it now. The first writer wins."""

    async def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; the host that holds the client now."""


def is_async(store: PinStore | AsyncPinStore) -> bool:
    """Whether a store must be awaited. Raises ``ConfigError`` for what is no store.

    >>> is_async("redis://127.0.0.1")
    Traceback (most recent call last):
    hashring.errors.ConfigError: pins must be a store with get, claim and replace, all plain or \
all 'async def', got 'redis://127.0.0.1'
    """
    methods = [getattr(store, name, None) for name in _METHODS]
    kinds = {inspect.iscoroutinefunction(method) for method in methods}
    if isinstance(store, type) or not all(map(callable, methods)) or len(kinds) != 1:
        raise ConfigError(
            "pins must be a store with get, claim and replace, all plain or all 'async def', "
            f"got {store!r}",
            option="pins",
        )
    return kinds.pop()


def ask(store: Any, questions: Questions[Answer]) -> Answer:
    """Put ``questions`` to a plain store; what they come to."""
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


async def ask_async(store: Any, questions: Questions[Answer]) -> Answer:
    """Put ``questions`` to a store that must be awaited; what they come to."""
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


def pinned_to(key: bytes, host: str | None) -> Questions[bool]:
    """Pin a client to ``host`` whoever holds it now, or to nobody; whether that came about."""
    held = yield ("get", key) if host is None else ("claim", key, host)
    for _ in range(_TRIES):
        if held is None or held == host:
            break
        held = yield "replace", key, held, host
    return held == host
