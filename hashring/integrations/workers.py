"""The worker processes of one machine: their slots, and the socket between them.

``hashring.integrations.asgi`` describes their use. A frame is a JSON head with everything of an
ASGI message but its payload, then the payload as bytes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import struct
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, HashringError
from hashring.validators import COUNT, SECONDS

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

_FRAME = struct.Struct("!II")
_FRAME_LIMIT = (
    64 << 20
)  # bytes: servers send bodies in pieces of 64 KiB, WebSocket frames of 16 MiB
_SOCKET_PATH_LIMIT = 100  # bytes: sun_path has 108 on Linux and 104 on macOS
_CLAIM_INTERVAL = 0.5  # seconds between two attempts of a process without a slot to get one
_RETRY_INTERVAL = 0.05  # seconds between two attempts to reach a process that is being replaced
_ID_BYTES = 16  # 128 random bits cannot be guessed

# what another process cannot be given: functions, and the extensions that hand over file handles
_SCOPE_KEYS = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "root_path",
    "client",
    "server",
    "subprotocols",
)
_SHARED_EXTENSIONS = ("websocket.http.response",)


@dataclass(frozen=True, slots=True)
class Placement:
    """``scope["hashring"]``: the client ID (None for an anonymous request) and its owner."""

    client_id: str | None
    owner: str
    is_owner: bool


def new_id(balancer: LoadBalancer, name: str) -> str:
    """A random client ID whose owner is the host ``name``. Cost: one look-up for each host.

    Raises ``HashringError`` if the host owns next to nothing, as with a weight of 0.001.

    >>> lb = LoadBalancer(["web1", "web2"])
    >>> lb.pick(new_id(lb, "web2")).name
    'web2'
    """
    for _ in range(1000 * max(1, len(balancer.snapshot.members))):
        client = secrets.token_hex(_ID_BYTES)
        if balancer.pick(client).name == name:
            return client
    raise HashringError(
        f"found no ID that belongs to {name!r}: its weight is too small, or it is down"
    )


class Workers:
    """The worker processes of one machine, each with a slot, a Unix socket and a share of clients.

    Create it once in the application's module: every process makes its own. The slots are claimed
    by file locks, which the operating system releases when a process ends in whatever way, so a
    replacement gets the slot of its predecessor. Each request of a slot whose process is being
    replaced waits up to ``patience`` seconds and then goes to the next slot of its walk.

    Parameters
    ----------
    directory: where the locks and sockets are; made with mode 0700. One for each application. At
        most 85 bytes long, because socket paths are limited.
    count: number of worker processes; by default the variable ``WEB_CONCURRENCY``, which uvicorn
        and gunicorn read too.
    patience: seconds to wait for a process that is being replaced; 0 to go on at once.

    Raises
    ------
    ConfigError: no count is known, the directory is not usable, or there are no Unix sockets.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     workers = Workers(directory, count=4)
    ...     workers.balancer.snapshot.members.keys() == {f"worker-{n}" for n in range(4)}
    True
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, count: int | None = None, patience: float = 5.0
    ) -> None:
        if not hasattr(asyncio, "open_unix_connection"):
            raise ConfigError("Workers need Unix sockets, which this system does not have")
        if count is None:
            count = _count_of_environment()
        self._count = COUNT(count, "count")
        self._patience = SECONDS(patience, "patience") if patience else 0.0
        self._directory = Path(directory)
        if len(os.fsencode(self._socket_path(self._count).absolute())) > _SOCKET_PATH_LIMIT:
            raise ConfigError(
                f"the path {directory} is too long for a Unix socket: use a shorter directory",
                option="directory",
            )
        self.balancer = LoadBalancer([f"worker-{slot}" for slot in range(self._count)])
        self.name: str | None = None
        """The slot of this process, such as ``worker-0``; None before it has one."""
        self.state: dict[str, Any] | None = None
        """The state of the application's lifespan, which forwarded requests get too."""
        self._app: ASGIApp | None = None
        self._lock: int | None = None
        self._server: asyncio.Server | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()
        self._pid = os.getpid()

    def serve(self, app: ASGIApp) -> None:
        """Take ``app`` as what answers the requests that other processes forward.

        Raises ``ConfigError`` if there is one already: two applications need two directories.
        """
        if self._app is not None:
            raise ConfigError(
                f"the workers in {self._directory} already serve an application: give the second "
                "one Workers with a directory of its own"
            )
        self._app = app

    def new_id(self) -> str:
        """A random client ID that this process owns; sessions that it creates use it.

        A process that has no slot yet makes an ID of any owner.
        """
        if self.name is None:
            return secrets.token_hex(_ID_BYTES)
        return new_id(self.balancer, self.name)

    async def start(self) -> None:
        """Claim a slot and listen. Calling it again does nothing; so does a call in a fork."""
        if self._pid != os.getpid():  # made before a fork: nothing of the parent's is ours
            self._pid, self.name, self._lock = os.getpid(), None, None
            self._server, self._claiming, self._open = None, None, set()
        if self.name is not None:
            return
        if self._claiming is None or (self._claiming.done() and self._claiming.exception()):
            self._attempted = asyncio.Event()
            self._claiming = asyncio.create_task(self._claim_slot())
        await self._attempted.wait()  # one attempt, shared by the requests that arrive meanwhile
        if self._claiming is not None and self._claiming.done():
            self._claiming.result()

    async def stop(self) -> None:
        """Give the slot back. Forwarded requests that are open end with this process."""
        if self._claiming is not None:
            self._claiming.cancel()
            await asyncio.wait([self._claiming])
            self._claiming = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=5)
        if self._lock is not None:
            os.close(self._lock)  # which releases the lock
            self._lock = None
        self.name = None

    async def forward(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request or WebSocket to the owner of ``client``, and its messages both ways."""
        reader, writer, owner = await self._connect(client)
        if reader is None or writer is None:  # this process is next in the walk
            scope["hashring"] = Placement(client, owner, is_owner=True)
            assert self._app is not None
            await self._app(scope, receive, send)
            return
        scope["hashring"] = Placement(client, owner, is_owner=False)
        try:
            await _write(writer, _pack_scope(scope, client, owner))
            await _relay(scope, receive, send, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    # -- slots -----------------------------------------------------------------------------------

    def _socket_path(self, slot: int) -> Path:
        return self._directory / f"worker-{slot}.sock"

    async def _claim_slot(self) -> None:
        """Claim a slot, now or as soon as a predecessor has ended. Raises ``ConfigError``."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                if await self._claim_free_slot():
                    return
                if not self._attempted.is_set():
                    _log.info("all %d slots in %s are taken", self._count, self._directory)
                self._attempted.set()
                await asyncio.sleep(_CLAIM_INTERVAL)
        except OSError as error:
            raise ConfigError(
                f"cannot use the directory {self._directory}: {error.strerror or error}",
                option="directory",
            ) from error
        finally:
            self._attempted.set()

    async def _claim_free_slot(self) -> bool:
        """Take the first free slot and listen on its socket; False if all are taken."""
        import fcntl

        for slot in range(self._count):
            lock = os.open(self._directory / f"worker-{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            path = self._socket_path(slot)
            path.unlink(missing_ok=True)  # of a predecessor that was killed
            try:
                self._server = await asyncio.start_unix_server(self._serve_forwarded, path)
                path.chmod(0o600)
            except BaseException:
                os.close(lock)
                raise
            self._lock, self.name = lock, f"worker-{slot}"
            return True
        return False

    async def _connect(
        self, client: str
    ) -> tuple[asyncio.StreamReader | None, asyncio.StreamWriter | None, str]:
        """A connection to the first process of the client's walk that answers, and its name.

        No connection, and this process's name, when it is the first. Raises ``HashringError``.
        """
        unreachable: list[str] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while len(unreachable) < self._count:
            owner = self.balancer.pick(client, exclude=unreachable).name
            if owner == self.name:
                return None, None, owner
            path = self._directory / f"{owner}.sock"
            while True:
                try:
                    return *await asyncio.open_unix_connection(path), owner
                except OSError as error:
                    if unreachable or loop.time() >= deadline:  # only the owner is waited for
                        _log.warning("cannot reach %s: %s", owner, error.strerror or error)
                        break
                await asyncio.sleep(_RETRY_INTERVAL)
            unreachable.append(owner)
        raise HashringError(f"no worker in {self._directory} can be reached")

    async def _serve_forwarded(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one request that another process has forwarded."""
        task = asyncio.current_task()
        assert task is not None
        assert self._app is not None
        self._open.add(task)
        try:
            packed = await _read(reader)
            if packed is None:
                return
            scope = _unpack_scope(packed)
            if self.state is not None:
                scope["state"] = self.state.copy()
            served = _Forwarded(scope["type"], reader, writer)
            try:
                await self._app(scope, served.receive, served.send)
            except ConnectionError:
                return  # the client or the other process is gone
            except Exception:
                _log.exception("a forwarded request failed")
                await _write(writer, {"type": "hashring.failed"})
            else:
                await _write(writer, {"type": "hashring.end"})
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other process is gone
        finally:
            self._open.discard(task)
            writer.close()


class _Forwarded:
    """``receive`` and ``send`` of a request that came over a Unix socket."""

    __slots__ = ("_ended", "_kind", "_reader", "_writer")

    def __init__(
        self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._kind = kind
        self._reader = reader
        self._writer = writer
        self._ended = False

    async def receive(self) -> Message:
        message = None if self._ended else await _read(self._reader)
        if message is None:
            self._ended = True
            message = {"type": f"{self._kind}.disconnect"}
            if self._kind == "websocket":
                message["code"] = 1006
        return message

    async def send(self, message: Message) -> None:
        await _write(self._writer, message)


async def _relay(
    scope: Scope,
    receive: Receive,
    send: Send,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass messages both ways until the owner has ended the request."""

    async def pass_on() -> None:
        while True:
            message = await receive()
            await _write(writer, message)
            if message["type"].endswith(".disconnect"):
                return

    passing = asyncio.create_task(pass_on())
    begun = False
    try:
        while True:
            try:
                message = await _read(reader)
            except (OSError, asyncio.IncompleteReadError):
                message = None
            if message is None:
                break
            if message["type"] == "hashring.end":
                return
            if message["type"] == "hashring.failed":
                raise HashringError("the worker that owns this session failed: see its log")
            begun = True
            await send(message)
    finally:
        passing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await passing
    if begun:
        raise ConnectionResetError("the worker that owns this session ended during its response")
    await _send_bad_gateway(scope, send)


async def _send_bad_gateway(scope: Scope, send: Send) -> None:
    """The owner ended before its response began; whether it has acted is not known."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1012})
        return
    body = b"The worker process that owns this session ended. Send the request again.\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# -- frames: a JSON head with everything but the payload, then the payload as bytes ----------


def _pack_scope(scope: Scope, client: str, owner: str) -> Message:
    packed = {key: scope[key] for key in _SCOPE_KEYS if key in scope}
    packed["headers"] = scope["headers"]
    for key in ("raw_path", "query_string"):
        if scope.get(key) is not None:
            packed[key] = scope[key].decode("latin-1")
    extensions = scope.get("extensions") or {}
    packed["extensions"] = {key: {} for key in _SHARED_EXTENSIONS if key in extensions}
    packed["hashring"] = [client, owner]
    return packed


def _unpack_scope(packed: Message) -> Scope:
    scope = dict(packed)
    for key in ("raw_path", "query_string"):
        if key in scope:
            scope[key] = scope[key].encode("latin-1")
    for key in ("client", "server"):
        if scope.get(key) is not None:
            scope[key] = tuple(scope[key])
    client, owner = scope["hashring"]
    scope["hashring"] = Placement(client, owner, is_owner=True)
    return scope


async def _write(writer: asyncio.StreamWriter, message: Message) -> None:
    head = dict(message)
    payload = b""
    for key in ("body", "bytes"):
        if head.get(key) is not None:
            payload = bytes(head[key])
            head[key] = key  # the payload follows the head
    if "headers" in head:
        head["headers"] = _decode_headers(head["headers"])
    encoded = json.dumps(head, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if max(len(encoded), len(payload)) > _FRAME_LIMIT:
        raise HashringError(f"a message has more than {_FRAME_LIMIT >> 20} MiB")
    writer.writelines((_FRAME.pack(len(encoded), len(payload)), encoded, payload))
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None if the other side has closed. Raises ``IncompleteReadError``."""
    try:
        sizes = await reader.readexactly(_FRAME.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    head_size, payload_size = _FRAME.unpack(sizes)
    if max(head_size, payload_size) > _FRAME_LIMIT:
        raise HashringError(f"a message has more than {_FRAME_LIMIT >> 20} MiB")
    message: Message = json.loads(await reader.readexactly(head_size))
    for key in ("body", "bytes"):
        if message.get(key) is not None:
            message[key] = await reader.readexactly(payload_size)
    if "headers" in message:
        message["headers"] = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in message["headers"]
        ]
    return message


def _decode_headers(headers: Iterable[Iterable[bytes]]) -> list[list[str]]:
    return [[bytes(part).decode("latin-1") for part in pair] for pair in headers]


def _count_of_environment() -> int:
    text = os.environ.get("WEB_CONCURRENCY", "")
    if not text.isascii() or not text.isdigit():
        raise ConfigError(
            "count must be the number of worker processes: give it, or set WEB_CONCURRENCY",
            option="count",
        )
    return int(text)
