"""How does a synchronous program use what needs an event loop?  In a thread that has one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager

__all__ = ["LoopThread"]


class LoopThread:
    """Keeps ``manager`` entered in an event loop in a daemon thread, from making to ``stop()``.

    Raises what entering raises; then there is no thread left.

    >>> from contextlib import asynccontextmanager
    >>> @asynccontextmanager
    ... async def manager():
    ...     print("in", threading.current_thread().name)
    ...     yield
    ...     print("out")
    >>> LoopThread(manager(), "loop").stop()
    in loop
    out
    """

    __slots__ = ("_end", "_thread")

    def __init__(self, manager: AbstractAsyncContextManager[object], name: str) -> None:
        self._end: Callable[[], object]
        began: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(manager, began), name=name, daemon=True
        )
        self._thread.start()
        began.result()

    def stop(self) -> None:
        """Leave ``manager`` and wait until it is left; call it once."""
        self._end()
        self._thread.join()

    def _run(self, manager: AbstractAsyncContextManager[object], began: Future[None]) -> None:
        async def stay() -> None:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._end = lambda: loop.call_soon_threadsafe(over.set)
            async with manager:
                began.set_result(None)
                await over.wait()

        try:
            asyncio.run(stay())
        except BaseException as error:
            if began.done():
                raise  # to threading.excepthook
            began.set_exception(error)
