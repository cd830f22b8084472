"""Sessions without a cookie of ours: learned from responses, kept in a table or in an envelope.

``GatewaySessions`` belongs to a generation. A request makes one ``SessionVisit``, which reads the
session's ID on the way in and learns from the response on the way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from hashring.affinity.envelope import Envelope
from hashring.affinity.identity import IdentitySource
from hashring.affinity.learning import LearnRule, ResponseScan
from hashring.affinity.session_file import SessionFile
from hashring.balancer import LoadBalancer
from hashring.balancer.pin_table import PinTable
from hashring.gateway.headers import RequestHead, ResponseHead
from hashring.keys import Key

_log = logging.getLogger("hashring")

_SAVE_EVERY = 30.0
"""Seconds between two snapshots: what a crash may cost, at some 2 ms for 1,000 sessions."""


class GatewaySessions:
    """The learned sessions of one generation.

    ``rules`` are tried in order, each with its sources of IDs in a request (``readers``).
    ``store`` remembers the hosts of IDs; None where all rules use envelopes. ``envelope`` is for
    the rules of that mode. ``forget_header`` is the response header by which a host ends a session.

    ``stats`` counts IDs that were ``learned``, ``wrapped``, ``unwrapped`` and ``forgotten``, and
    calls of the store that ``failed``.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        rules: Sequence[tuple[LearnRule, Sequence[IdentitySource]]] = (),
        *,
        store: Any = None,
        envelope: Envelope | None = None,
        forget_header: str | None = None,
        file: SessionFile | None = None,
    ) -> None:
        self.lb, self.rules, self.store, self.envelope = lb, tuple(rules), store, envelope
        self.file = file
        self.forget_header = None if forget_header is None else forget_header.lower().encode()
        limits = [reader.body_limit for _, readers in self.rules for reader in readers]
        self.body_limit = max(limits, default=0)
        self.json_paths = self._paths("response-json")
        self.sse_paths = self._paths("response-sse")
        self.stats = dict.fromkeys(("learned", "wrapped", "unwrapped", "forgotten", "failed"), 0)
        self._is_async = asyncio.iscoroutinefunction(getattr(store, "claim", None))
        self._tasks: set[asyncio.Task[None]] = set()
        self._saver: asyncio.Task[None] | None = None

    def _paths(self, kind: str) -> list[str]:
        return [
            source.partition(":")[2]
            for rule, _ in self.rules
            for source in rule.sources
            if source.startswith(f"{kind}:")
        ]

    # -- its life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to save the table where it has a file."""
        if self.file is not None and self._saver is None and isinstance(self.store, PinTable):
            self._saver = asyncio.get_running_loop().create_task(self._save_often())

    async def aclose(self) -> None:
        """Save the table a last time, and end what still waits for the store."""
        saver, self._saver = self._saver, None
        if saver is not None:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
            await self._save()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        if self._is_async:
            await self.store.aclose()

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY)
            await self._save()

    async def _save(self) -> None:
        assert self.file is not None  # open() has looked
        try:
            await asyncio.to_thread(self.file.save, self.store)
        except OSError as error:
            _log.error("sessions: the file %s cannot be written: %s", self.file.path, error)

    # -- one session ------------------------------------------------------------------------------

    def visit(self, scope: Mapping[str, Any], body: bytes, head: RequestHead) -> SessionVisit:
        """Read the session's ID of a request; a tag of ours is taken off before a host sees it."""
        visit = SessionVisit(self, head.method)
        for rule, readers in self.rules:
            for reader in readers:
                text = reader(scope, body)
                if text is None:
                    continue
                visit.client_id, visit.rule = text, rule
                if rule.mode == "envelope" and self.envelope is not None:
                    self._unwrap(visit, text, head)
                return visit
        return visit

    def _unwrap(self, visit: SessionVisit, text: str, head: RequestHead) -> None:
        assert self.envelope is not None  # the caller has looked
        found = self.envelope.unwrap(text)
        if found is None:
            return
        visit.client_id, visit.prefer = found
        tag = text[len(found[0]) :].encode("ascii")
        head.target = head.target.replace(tag, b"")
        head.fields = [piece.replace(tag, b"") if tag in piece else piece for piece in head.fields]
        self.stats["unwrapped"] += 1

    def learn(self, session: str, host: str) -> None:
        """Remember the host of a session; the first answer wins."""
        if self.store is None:
            return
        self.stats["learned"] += 1
        if self._is_async:
            self._spawn(self.store.claim(session, host))
            return
        try:
            self.store.claim(session, host)
        except OSError:
            self.stats["failed"] += 1

    def forget(self, client_id: Key) -> None:
        """End a session."""
        if self.store is None:
            return
        self.stats["forgotten"] += 1
        if self._is_async:
            self._spawn(self.lb.aforget(client_id))
            return
        try:
            self.lb.forget(client_id)
        except OSError:
            self.stats["failed"] += 1

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        async def finish() -> None:
            try:
                await work
            except OSError:
                self.stats["failed"] += 1

        task = asyncio.get_running_loop().create_task(finish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class SessionVisit:
    """One request's session. ``client_id`` is its ID, ``prefer`` the host in an envelope."""

    __slots__ = ("_host", "_method", "_scan", "_sessions", "client_id", "prefer", "rule")

    def __init__(self, sessions: GatewaySessions, method: bytes) -> None:
        self._sessions, self._method = sessions, method
        self.client_id: str | None = None
        self.prefer: str | None = None
        self.rule: LearnRule | None = None
        self._scan: ResponseScan | None = None
        self._host = ""

    @property
    def remembers(self) -> bool:
        """Whether the table keeps this client: not one whose ID carries its host."""
        return self.client_id is not None and self.rule is not None and self.rule.mode == "table"

    def read_head(self, head: ResponseHead, host: str, client_id: Key | None) -> None:
        """Learn from the head of the response of ``host``, and wrap the IDs in it."""
        sessions, self._host = self._sessions, host
        if self._forget(head, client_id) or not 200 <= head.status < 400:
            return  # only a success teaches
        for rule, _ in sessions.rules:
            if self._method.decode("latin-1") in rule.forget_on:
                continue  # a response to the end of a session does not begin it again
            for source in rule.sources:
                kind, _, name = source.partition(":")
                if kind == "response-header":
                    self._read_header(head, name.lower().encode("latin-1") + b": ", rule)
                elif kind == "response-cookie":
                    self._read_cookie(head, name.encode("latin-1"), rule)
        coded = b"content-encoding: " in head.fields
        if (sessions.json_paths or sessions.sse_paths) and not coded:
            paths = ([], sessions.sse_paths) if head.is_stream else (sessions.json_paths, [])
            self._scan = ResponseScan(*paths)

    def _forget(self, head: ResponseHead, client_id: Key | None) -> bool:
        """End the session where the request or the response asks for it; whether the host did."""
        sessions, rule = self._sessions, self.rule
        if rule is not None and self.client_id is not None:
            ends = head.status < 400 and self._method.decode("latin-1") in rule.forget_on
            if ends or head.status in rule.forget_on:
                sessions.forget(self.client_id)
        if sessions.forget_header is None or sessions.forget_header + b": " not in head.fields:
            return False
        head.drop(sessions.forget_header)
        if client_id is not None:
            sessions.forget(client_id)
        return True

    def _read_header(self, head: ResponseHead, prefix: bytes, rule: LearnRule) -> None:
        fields = head.fields
        for at in range(0, len(fields), 3):
            if fields[at] == prefix:
                fields[at + 1] = self._learn_value(fields[at + 1].strip(b" \t"), rule)

    def _read_cookie(self, head: ResponseHead, name: bytes, rule: LearnRule) -> None:
        fields = head.fields
        for at in range(0, len(fields), 3):
            if fields[at] != b"set-cookie: ":
                continue
            pair, semicolon, rest = fields[at + 1].partition(b";")
            found, sign, value = pair.partition(b"=")
            if sign and found.strip() == name and value.strip(b' "'):
                value = self._learn_value(value.strip(b' "'), rule)
                fields[at + 1] = found + sign + value + semicolon + rest

    def _learn_value(self, value: bytes, rule: LearnRule) -> bytes:
        """What the client gets in the place of the ID ``value``."""
        sessions = self._sessions
        with contextlib.suppress(UnicodeDecodeError):
            text = value.decode("ascii")
            if rule.mode == "envelope" and sessions.envelope is not None:
                sessions.stats["wrapped"] += 1
                return sessions.envelope.wrap(text, self._host).encode("ascii")
            if text and len(text) <= 256:
                sessions.learn(text, self._host)
        return value

    def feed(self, chunk: bytes) -> None:
        """Some of the body of the response passes."""
        if self._scan is not None:
            for session in self._scan.feed(chunk):
                self._sessions.learn(session, self._host)

    def end(self) -> None:
        """The response is complete."""
        if self._scan is not None:
            for session in self._scan.end():
                self._sessions.learn(session, self._host)
