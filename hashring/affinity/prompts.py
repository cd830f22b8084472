"""Conversations that are sent as one growing prompt: which session does a prompt continue?

A prompt of ``/v1/completions`` has no messages: it begins with a system prompt that many sessions
share, and nothing shows where that ends. So a fingerprint of its beginning gives all of them one
identity. What distinguishes them is that the next prompt of a conversation begins with the *whole*
last one. ``PromptSessions`` remembers where prompts have ended.

Some clients rewrite the end of a prompt before they continue it (a chat template drops the mark of
an answer, a person edits a question). So a prompt also continues one of which it repeats all but
the last 2 KiB, where that is longer by 1 KiB than every prefix that two sessions are known to
share. Which prefixes are shared is counted in a sketch of fixed size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b

from hashring.validators import COUNT

ENTRIES = 100_000
"""Ends that are remembered: about 30 MB, and an hour of 28 prompts a second."""

_FINE, _COARSE = 64, 1024
"""Bytes between the places at which a prompt is hashed: 16 tokens, as engines cache by, up to
64 KiB, then more, so that 8 MiB take 10 ms."""
_FINE_UNTIL = 64 * 1024
_TAILS = 64
"""Lengths after one such place that are remembered: with _FINE, all there are."""
_REWRITTEN = 2048
"""Bytes at the end of a prompt that may differ in the next one: about 512 tokens, the blocks of the
public traces, whose sessions are derived without the last block."""
_ROW = 1 << 21
"""Counters in each of two rows, of one byte: 4 MiB. They are cleared after _ROW / 2 prefixes, when
every 20th prefix would look shared by accident, which costs a session its tolerance only."""
_COUNTED = 512  # prefixes of one prompt that are counted


class PromptSessions:
    """Finds the session of a prompt by the prompts before it; at most ``entries`` are remembered.

    Two prompts have one identity if the later one begins with the whole earlier one, or nearly so
    (see the module), and never because both begin with a system prompt. A prompt that continues
    none gets an identity made of its text, the same in all routers. Any number of threads may use
    it. Cost: some 0.5 us for each 64 bytes of the prompt, and 1,024 bytes beyond 64 KiB.

    >>> sessions = PromptSessions()
    >>> system = b"You are a helpful assistant. " * 20
    >>> ann, bob = sessions.identify(system + b"Hi, Ann here"), sessions.identify(system + b"Bob")
    >>> ann == bob, sessions.identify(system + b"Hi, Ann here. -Hi! -Bye") == ann
    (False, True)
    """

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = COUNT(entries, "entries")
        self._ends: OrderedDict[bytes, str] = OrderedDict()  # digest of a prompt -> identity
        self._tails: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._near: OrderedDict[bytes, str] = OrderedDict()  # digest without the end -> identity
        self._rows = bytearray(_ROW), bytearray(_ROW)
        self._counted = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends)

    def identify(self, prompt: bytes) -> str:
        """The identity of the session that ``prompt`` continues, or begins."""
        places = list(_digests(prompt))
        with self._lock:
            coarse = [each for each in places if each[0] and each[0] % _COARSE == 0][:_COUNTED]
            found = self._find(prompt, places) or self._find_near(coarse)
            self._count(coarse, is_new=found is None)
            whole = _digest(prompt)
            session = found or whole.hex()
            last, node = places[-1]
            self._ends[whole] = session
            self._ends.move_to_end(whole)
            length = len(prompt) - last
            known = self._tails.pop(node, ())
            self._tails[node] = (length, *[each for each in known if each != length])[:_TAILS]
            near = [node for place, node in coarse if place <= len(prompt) - _REWRITTEN]
            if near:
                self._near[near[-1]] = session
                self._near.move_to_end(near[-1])
            for table in (self._ends, self._tails, self._near):
                while len(table) > self._entries:
                    table.popitem(last=False)
        return session

    def _find_near(self, coarse: list[tuple[int, bytes]]) -> str | None:
        """The identity of a prompt of which this one repeats all but the end."""
        shared = max([place for place, node in coarse if self._sessions(node) > 1], default=0)
        if not shared:  # what sessions share is not known yet
            return None
        for place, node in reversed(coarse):
            if place - shared < _COARSE:
                return None
            session = self._near.get(node)
            if session is not None:
                return session
        return None

    def _sessions(self, node: bytes) -> int:
        """How many sessions have this prefix, at least about; at most 255."""
        one, two = self._rows
        return min(one[_slot(node[:4])], two[_slot(node[4:8])])

    def _count(self, coarse: list[tuple[int, bytes]], *, is_new: bool) -> None:
        """Count the prefixes of a new session; of a known one those that are new."""
        for _, node in coarse:
            known = self._sessions(node)
            if known and not is_new:
                continue
            for row, slot in zip(self._rows, (_slot(node[:4]), _slot(node[4:8])), strict=True):
                row[slot] = max(row[slot], min(known + 1, 255))
            self._counted += not known
        if self._counted > _ROW // 2:
            self._rows, self._counted = (bytearray(_ROW), bytearray(_ROW)), 0

    def _find(self, prompt: bytes, places: list[tuple[int, bytes]]) -> str | None:
        """The identity of the longest prompt that ``prompt`` begins with."""
        for place, node in reversed(places):
            lengths = self._tails.get(node)
            if lengths is None:
                continue
            for length in sorted(lengths, reverse=True):
                end = place + length
                if end <= len(prompt):
                    session = self._ends.get(_digest(prompt[:end]))
                    if session is not None:
                        return session
        return None


def _slot(part: bytes) -> int:
    return int.from_bytes(part, "big") % _ROW


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


def _digests(prompt: bytes) -> Iterator[tuple[int, bytes]]:
    """(place, digest of all before it) for each place of the grid, from 0."""
    state = blake2b(digest_size=12)  # another size than an end's
    at = 0
    while True:
        yield at, state.copy().digest()
        step = _FINE if at < _FINE_UNTIL else _COARSE
        if at + step > len(prompt):
            return
        state.update(prompt[at : at + step])
        at += step
