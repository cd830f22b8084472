"""The lifecycle of what follows something in the background: in an event loop or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import ClassVar, Self

from hashring.errors import HashringError
from hashring.forks import watch


class Service(ABC):
    """Runs ``_run`` from entering to leaving, which happens once for each object.

    ``async with`` runs it as a task of the running event loop, ``with`` in an event loop of a
    daemon thread. Entering returns once ``_run`` has reported that it started, or after
    ``start_timeout`` seconds (None waits without limit), and raises what ``_run`` raises until
    then. Leaving cancels it and waits for its end. A forked child has neither the task nor the
    thread: there ``forked`` is True and a ``RuntimeWarning`` is given.

    >>> class Clockwork(Service):
    ...     TITLE = "clockwork"
    ...     FORK_WARNING = "a forked child has no clockwork"
    ...     async def _run(self, started):
    ...         print("runs in", threading.current_thread().name)
    ...         started()
    ...         await asyncio.Event().wait()
    >>> with Clockwork() as clockwork:
    ...     print("started")
    runs in hashring clockwork
    started
    """

    TITLE: ClassVar[str]
    """The name of the task and the thread."""
    FORK_WARNING: ClassVar[str]
    """What a forked child is warned of."""

    def __init__(self, start_timeout: float | None = None) -> None:
        self._start_timeout = start_timeout
        self._task: asyncio.Task[None] | None = None
        self._thread: _LoopThread | None = None
        self._was_entered = False
        self.forked = False
        watch(self)

    @abstractmethod
    async def _run(self, started: Callable[[], object]) -> None:
        """Work until cancelled; call ``started`` when the work has begun."""

    async def __aenter__(self) -> Self:
        if self._was_entered:
            raise HashringError(
                f"this {type(self).__name__} has been entered before: make a new one"
            )
        self._was_entered = True
        started = asyncio.Event()
        self._task = asyncio.create_task(self._run(started.set), name=f"hashring {self.TITLE}")
        waiting = asyncio.create_task(started.wait())
        try:
            await asyncio.wait(
                (self._task, waiting),
                timeout=self._start_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:  # the block is not entered, so it is not left either
            await self._stop()
            raise
        finally:
            waiting.cancel()
        if self._task.done():
            await self._task  # for its error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and not self.forked:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()  # for its error

    def __enter__(self) -> Self:
        self._thread = _LoopThread(self, f"hashring {self.TITLE}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and not self.forked:
            thread.stop()

    def after_fork(self) -> None:
        """In a child process, which has no task and no thread that would go on."""
        self.forked = True
        if self._task is not None or self._thread is not None:
            warnings.warn(self.FORK_WARNING, RuntimeWarning, stacklevel=2)


class _LoopThread:
    """Keeps ``service`` entered in an event loop of a daemon thread until ``stop()``.

    Raises what entering raises; then there is no thread left.
    """

    __slots__ = ("_leave", "_thread")

    def __init__(self, service: Service, name: str) -> None:
        self._leave: Callable[[], object]
        entered: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(service, entered), name=name, daemon=True
        )
        self._thread.start()
        entered.result()

    def stop(self) -> None:
        """Leave the service and wait until it has ended."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it ended by an exception
            self._leave()
        self._thread.join()

    def _run(self, service: Service, entered: Future[None]) -> None:
        async def stay() -> None:
            leaving = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._leave = lambda: loop.call_soon_threadsafe(leaving.set)
            async with service:
                entered.set_result(None)
                await leaving.wait()

        try:
            asyncio.run(stay())
        except BaseException as error:
            if entered.done():
                raise  # to threading.excepthook
            entered.set_exception(error)
