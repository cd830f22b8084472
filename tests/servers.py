"""What the servers of tests share: ``with``, and signals for programs."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Program", "Server"]


class Server(ABC):
    """``with`` starts it, and stops it at the end; in between a test may do both as well."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Program(Server):
    """A server that is a program: ``start`` sets ``_process``."""

    _process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """As ``kill -9``: no farewell to anybody; what is on its disk stays there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    stop = kill

    def freeze(self) -> None:
        """SIGSTOP: connections stay, and new ones are taken, but nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: everything that was asked meanwhile is answered now."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
