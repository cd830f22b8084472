"""Several processes on one address: a supervisor that binds and starts workers, and never serves.

The supervisor's sockets stay open as long as it lives, so what the system has queued for a worker
that ends is taken by the next one. Each worker has a socket of its own by ``SO_REUSEPORT``, with
which the system spreads the clients; a Unix socket is shared by all. A worker is a new process: no
lock, thread or event loop is inherited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hashring.gateway.operator_marks import HostAction, OperatorMarks, action_of
from hashring.gateway.systemd import notify
from hashring.gateway.workers_admin import WorkerAddress

_START = 60.0  # seconds for a worker to get ready, which includes the wait for a source of hosts
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a crashed worker is replaced
_STEADY = 10.0  # seconds after which a worker has not crashed at its start
_REPORT = 1 << 20  # bytes of a worker's last report
_RETIRE = b"retire\n"

_log = logging.getLogger("hashring")


@dataclass(frozen=True, slots=True)
class WorkerOrders:
    """What a worker is given on its standard input, which stays open until the supervisor ends."""

    listen: int
    """The descriptor of the listening socket; ``admin`` is that of the Unix socket."""

    admin: int
    report: int
    """The pipe on which it reports that it is ready, and at its end what it has counted."""

    secret: str
    """In hexadecimal: the secret of this run, where the settings have none."""

    name: str
    """The name of this gateway in the header Via."""

    count: int
    """The number of workers, among which limits are divided."""

    marks: list[str]
    """What operators have done to hosts, as ``action_of`` reads it."""


def read_orders() -> WorkerOrders:
    """The orders on standard input."""
    line = b""
    while not line.endswith(b"\n"):  # byte by byte, so that nothing after it is buffered
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit("a worker is started by hashring serve --workers")
        line += byte
    return WorkerOrders(**json.loads(line))


async def follow_orders(
    retire: asyncio.Event, stop: asyncio.Event, act: Callable[[HostAction], object]
) -> None:
    """Set ``retire`` when another worker has taken over, ``stop`` when the supervisor has ended.

    ``act`` gets what an operator did while this worker started.
    """
    loop = asyncio.get_running_loop()
    held = bytearray()

    def read() -> None:
        data = os.read(0, 65536)
        held.extend(data)
        if not data:
            loop.remove_reader(0)
            stop.set()
        while (end := held.find(b"\n")) >= 0:
            line = bytes(held[: end + 1])
            del held[: end + 1]
            if line == _RETIRE:
                retire.set()
                stop.set()
            else:
                act(action_of(line))

    loop.add_reader(0, read)


class Worker:
    """One process, its admin socket, and what it has reported."""

    def __init__(self, process: Process, admin: str, report: int) -> None:
        self.process, self.admin = process, admin
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.report = bytearray()
        self.reported: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.began = asyncio.get_running_loop().time()
        self._pipe = report
        asyncio.get_running_loop().add_reader(report, self._read)

    def _read(self) -> None:
        data = os.read(self._pipe, 65536)
        if not data:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self.reported.set_result(None)
        if not self.ready.done():  # the first byte means that it serves
            self.ready.set_result(bool(data))
            data = data[1:]
        if len(self.report) < _REPORT:
            self.report += data

    def retire(self) -> None:
        """Let it end because another one has taken over."""
        self._write(_RETIRE)

    def act(self, done: HostAction) -> None:
        """Let it carry out an action of an operator."""
        self._write(done.to_json().encode() + b"\n")

    def stop(self) -> None:
        """Let it end gracefully; a second time, without waiting."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def reopen_log(self) -> None:
        """Let it open the file of its access log again."""
        if self.ready.done():  # before that the signal would end it, and it opens the file anyway
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGUSR1)

    def _write(self, data: bytes) -> None:
        if self.process.stdin is not None and self.process.returncode is None:
            with contextlib.suppress(OSError):
                self.process.stdin.write(data)


class Supervisor:
    """Keeps ``count`` workers running that ``command`` starts.

    ``open_socket`` makes a listening socket and is called for each worker; ``shared`` sockets are
    opened once. SIGTERM ends all of them, SIGHUP replaces one after the other, SIGUSR1 lets
    them open their logs again. ``grace`` are the seconds that an ending worker has.
    """

    def __init__(
        self,
        command: Sequence[str],
        open_socket: Callable[[], socket.socket],
        count: int,
        *,
        shared: bool = False,
        secret: bytes,
        name: str,
        grace: float,
        state_file: str | None = None,
    ) -> None:
        self._command, self._grace = list(command), grace
        self._secret, self._name, self._count = secret, name, count
        first = open_socket()
        self.sockets = [first, *(first if shared else open_socket() for _ in range(count - 1))]
        self.workers: list[Worker | None] = [None] * count
        self.reports: list[dict[str, Any]] = []
        """What the workers have counted that have ended."""

        self._marks = OperatorMarks(state_file)
        self._folder = tempfile.TemporaryDirectory(prefix="hashring-")
        self._stopping = asyncio.Event()
        self._all_ready = asyncio.Event()
        self._started: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloads: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    async def run(self, started: Callable[[], object]) -> None:
        """Start the workers, call ``started`` when all are ready, and keep them until a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        keepers = [loop.create_task(self._keep(slot)) for slot in range(self._count)]
        try:
            ready = loop.create_task(self._all_ready.wait())
            stopping = loop.create_task(self._stopping.wait())
            await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                notify("READY=1")
                started()
            ready.cancel()
            await stopping
        finally:
            notify("STOPPING=1")
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            for task in self._reloads:
                task.cancel()
            ends = [self._end(worker) for worker in self._started]
            await asyncio.gather(*ends, *self._tasks, return_exceptions=True)
            for sock in self.sockets:
                sock.close()
            self._folder.cleanup()

    @property
    def active(self) -> list[Worker]:
        """The workers that are ready."""
        return [
            worker
            for worker in self.workers
            if worker is not None and worker.process.returncode is None
        ]

    def record(self, done: HostAction, asked: Sequence[WorkerAddress]) -> None:
        """Keep an action that the workers ``asked`` have carried out, for all others."""
        self._marks.record(done)
        for worker in self._started:
            if worker not in asked:  # it was given its orders before
                worker.act(done)

    def _stop(self) -> None:
        if self._stopping.is_set():  # the second signal
            for worker in self.active:
                worker.stop()
        self._stopping.set()

    def _reopen_logs(self) -> None:
        for worker in self.active:
            worker.reopen_log()

    def _hang_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    # -- one worker -------------------------------------------------------------------------------

    async def _keep(self, slot: int) -> None:
        """Have a worker in ``slot``, whatever becomes of it."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            worker = self.workers[slot]
            if worker is None:
                worker = self.workers[slot] = await self._start(slot)
                if worker is not None and all(self.workers):
                    self._all_ready.set()
            if worker is not None:
                code = await worker.process.wait()
                if self.workers[slot] is not worker:  # it was replaced
                    pause = _FIRST_PAUSE
                    continue
                self._spawn(self._bury(worker))
                if loop.time() - worker.began > _STEADY:
                    pause = _FIRST_PAUSE
                _log.warning(
                    "worker %d ended with %s: another one starts in %.1f s",
                    worker.process.pid,
                    code,
                    pause,
                )
                self.workers[slot] = None
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _start(self, slot: int) -> Worker | None:
        """A worker that serves; None if it does not get so far."""
        reader, writer = os.pipe()
        path = str(Path(self._folder.name) / f"{slot}-{os.urandom(4).hex()}")
        with socket.socket(socket.AF_UNIX) as admin:
            admin.bind(path)
            admin.listen()
            orders = WorkerOrders(
                listen=self.sockets[slot].fileno(),
                admin=admin.fileno(),
                report=writer,
                secret=self._secret.hex(),
                name=self._name,
                count=self._count,
                marks=[],
            )
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=PIPE,
                    pass_fds=(orders.listen, orders.admin, orders.report),
                    start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
                    env=_environment(),
                )
            finally:
                os.close(writer)
        assert process.stdin is not None
        # from here on, without an await, record() sends it what is done later
        marks = [each.to_json() for each in self._marks.actions()]
        process.stdin.write(json.dumps(asdict(replace(orders, marks=marks))).encode() + b"\n")
        worker = Worker(process, path, reader)
        self._started.add(worker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START):
                if await asyncio.shield(worker.ready):
                    return worker
        _log.error("worker %d did not get ready", process.pid)
        await self._end(worker)
        return None

    async def _end(self, worker: Worker) -> None:
        """End a worker: gracefully, and then surely."""
        worker.stop()
        await self._wait(worker)

    async def _wait(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(self._grace):
                await worker.process.wait()
        except TimeoutError:
            _log.warning("worker %d did not end in time: killed", worker.process.pid)
            worker.process.kill()
            await worker.process.wait()
        await self._bury(worker)

    async def _bury(self, worker: Worker) -> None:
        """Keep what an ended worker has counted."""
        self._started.discard(worker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await worker.reported
        with contextlib.suppress(ValueError):
            self.reports.append(json.loads(bytes(worker.report)))
        worker.report.clear()
        with contextlib.suppress(OSError):
            os.unlink(worker.admin)  # noqa: PTH108  # a file in memory: no thread is worth it

    async def reload(self) -> None:
        """Replace one worker after the other; a new one that does not get ready ends it."""
        async with self._reloading:
            if not self._all_ready.is_set() or self._stopping.is_set():
                return
            for slot in range(self._count):
                new = await self._start(slot)
                if new is None:
                    _log.error(
                        "the reload ends here: %d of %d workers stay as they were",
                        self._count - slot,
                        self._count,
                    )
                    return
                old, self.workers[slot] = self.workers[slot], new
                if old is not None:
                    old.retire()
                    self._spawn(self._wait(old))
            _log.info("all %d workers were replaced", self._count)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _environment() -> dict[str, str]:
    """That of a worker: messages to the service manager are the supervisor's."""
    return {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}


def worker_command(arguments: Sequence[str]) -> list[str]:
    """The command that starts a worker with the arguments of ``hashring serve``.

    >>> worker_command(["hashring.toml"])[1:]
    ['-m', 'hashring', 'serve', 'hashring.toml', '--worker']
    """
    return [sys.executable, "-m", "hashring", "serve", *arguments, "--worker"]
