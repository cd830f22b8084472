"""A file as a source: TOML, JSON, or one host on each line; a name is an identity."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hashring.discovery._membership import Entry, Finding, Membership, gather, weight_from
from hashring.discovery._url import SourceUrl
from hashring.errors import ConfigError, DiscoveryError
from hashring.validators import FLAG, SECONDS

Format = Literal["toml", "json", "lines"]

INTERVAL = 0.5
"""Seconds between two looks: a look is one stat, some microseconds in a thread, and works on every
file system; who edits a file does not notice half a second."""

SETTLED = 0.05
"""Seconds for which a file must stay as it is before it is read: an editor that writes in place
empties it first."""

EMPTY = 1.0
"""The same for a file without a byte: it is rarely meant, and on a busy disk it lasts a while."""

_COARSE_NS = 2 * 10**9  # the coarsest times that file systems keep, FAT's: younger may hide an edit
_FIELDS = {"name", "address", "weight", "drain"}


_LARGEST = 64 << 20  # bytes of a hosts file: 1,000,000 hosts of 60 bytes


class _Stamp(NamedTuple):
    """What changes when a file is edited, or another one takes its name."""

    mtime: int
    inode: int
    size: int


def parse(payload: bytes, format: Format = "lines") -> Membership:
    """The hosts of a file's bytes, in its order.

    Lines are ``name[=weight][@address]``, with ``#`` before comments. TOML and JSON hold ``hosts``:
    a list of names or of ``{name, weight, address, drain}``, or a mapping name -> weight or
    fields; in JSON that list or mapping may stand alone. Weight 0 is a drain.

    Raises ``DiscoveryError`` for what cannot be read so: a file is one text, so one bad host
    makes all of it doubtful.

    >>> parse(b"web1=2@10.0.0.1:80  # the big one\\nweb2\\n").hosts
    (Host('web1', 2.0, address='10.0.0.1:80'), Host('web2'))
    >>> parse(b'hosts = {web1 = 1, web2 = {weight = 0}}', "toml").draining
    frozenset({'web2'})
    """
    try:
        text = payload.decode("utf-8-sig")
        entries = _lines(text) if format == "lines" else _tree(text, format)
        found = gather(entries, blake2b(payload, digest_size=6).hexdigest(), in_order=True)
    except (ValueError, RecursionError) as error:  # ConfigError and every decoder's are ValueErrors
        raise DiscoveryError(f"this is not a list of hosts ({format}): {error}") from error
    if found.problems:
        raise DiscoveryError(f"this is not a list of hosts ({format}): {found.problems[0]}")
    return found


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if said:
            named, at, address = said.partition("@")
            name, sign, weight = named.strip().partition("=")
            settled = weight_from(weight, f"line {number}, host {name!r}") if sign else 1.0
            yield Entry(name.strip(), address.strip() if at else None, settled)


def _tree(text: str, format: Format) -> Iterator[Entry]:
    tree: Any = (
        tomllib.loads(text) if format == "toml" else json.loads(text, object_pairs_hook=_once)
    )
    # a host of a JSON mapping may be called "hosts" too, and then it has a weight
    if isinstance(tree, Mapping) and (
        format == "toml" or isinstance(tree.get("hosts", 0), (list, dict, type(None)))
    ):
        if "hosts" not in tree:
            raise ConfigError("it has no 'hosts'")
        tree = tree["hosts"]
    if isinstance(tree, Mapping):
        for name, said in tree.items():
            yield _entry(
                {"name": name, **(said if isinstance(said, Mapping) else {"weight": said})}
            )
    elif isinstance(tree, list):
        for said in tree:
            yield _entry({"name": said} if isinstance(said, str) else said)
    else:
        raise ConfigError(f"hosts must be a list or a mapping, got {tree!r}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; TOML refuses a key that comes twice by itself."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ConfigError(f"{key!r} is given twice")
            seen.add(key)
    return found


def _entry(fields: Any) -> Entry:
    if not isinstance(fields, Mapping) or "name" not in fields or set(fields) - _FIELDS:
        raise ConfigError(f"a host has {', '.join(sorted(_FIELDS))}, got {fields!r}")
    name, drain = fields["name"], fields.get("drain", False)
    FLAG(drain, f"host {name!r}: drain")
    weight = weight_from(fields.get("weight"), f"host {name!r}")
    return Entry(name, fields.get("address"), weight, drain)


class FileSource:
    """The hosts in the file ``path``, in the format of its ending: ``.toml``, ``.json``, or lines.

    Identity: the name in the file. Order is the file's. An edit in place and an atomic replace are
    noticed within ``interval`` seconds, by time, inode and size. Replacing is safer: write beside
    it, then rename.

    >>> str(FileSource("hosts.toml"))
    'file:hosts.toml'
    """

    def __init__(self, path: str | os.PathLike[str], *, interval: float = INTERVAL) -> None:
        self._path = Path(path)
        endings: dict[str, Format] = {".toml": "toml", ".json": "json"}
        self._format: Format = endings.get(self._path.suffix.lower(), "lines")
        self._interval = SECONDS(interval, "interval")

    async def watch(self) -> AsyncIterator[Membership]:
        """Memberships as the file changes. Raises ``DiscoveryError`` while it cannot be read."""
        told: Membership | None = None
        seen: _Stamp | None = None
        while True:
            if await asyncio.to_thread(self._stamp) != seen:
                seen, payload = await self._settle()
                found = await asyncio.to_thread(self._parse, payload)
                if not found.same(told):
                    told = found
                    yield found
                if time.time_ns() - seen.mtime < _COARSE_NS:
                    seen = None  # another edit could leave the same stamp: read it again
            await asyncio.sleep(self._interval)

    async def _settle(self) -> tuple[_Stamp, bytes]:
        """The file's bytes, read while it did not change."""
        before = await asyncio.to_thread(self._stamp)
        while True:
            quiet = SETTLED if before.size else EMPTY
            if time.time_ns() - before.mtime < quiet * 1e9:
                await asyncio.sleep(quiet)
            payload = await asyncio.to_thread(self._read)
            after = await asyncio.to_thread(self._stamp)
            if after == before:
                return after, payload
            before = after

    def _parse(self, payload: bytes) -> Membership:
        try:
            return parse(payload, self._format)
        except DiscoveryError as error:
            raise DiscoveryError(f"{self._path}: {error}", source=str(self)) from error

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        if not stat.S_ISREG(found.st_mode):  # to read a pipe could last for ever
            raise DiscoveryError(f"{self._path} is not a regular file", source=str(self))
        return _Stamp(found.st_mtime_ns, found.st_ino, found.st_size)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                payload = file.read(_LARGEST + 1)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(payload) > _LARGEST:
            text = f"{self._path} has more than {_LARGEST >> 20} MiB"
            raise DiscoveryError(text, source=str(self))
        return payload

    def _unreadable(self, error: OSError) -> DiscoveryError:
        why = error.strerror or type(error).__name__
        return DiscoveryError(f"{self._path} cannot be read: {why}", source=str(self))

    async def examine(self) -> list[Finding]:
        """Findings about the file: who may write it, and when it was written."""
        return await asyncio.to_thread(self._examine)

    def _examine(self) -> list[Finding]:
        try:
            found = self._path.stat()
        except OSError as error:
            return [Finding("error", str(self._unreadable(error)))]
        age = time.time() - found.st_mtime
        said = [Finding("ok", f"{self._path}, {found.st_size} bytes, read as {self._format}")]
        if found.st_mode & stat.S_IWOTH:
            said.append(Finding("warning", "every user may write it (chmod o-w)"))
        if age < 0:
            said.append(
                Finding("warning", f"it was written {-age:.0f} s from now: check the clock")
            )
        return said

    def __str__(self) -> str:
        return f"file:{self._path}"


def from_url(url: str, **options: Any) -> FileSource:
    """The source of ``file:relative/path`` or ``file:/absolute/path``; option: ``interval``.

    >>> str(from_url("file:/etc/hosts.json?interval=2"))
    'file:/etc/hosts.json'
    """
    parts = SourceUrl.of(url)
    rest = url.partition(":")[2]
    if parts.endpoints not in ((), ("localhost",)):
        raise ConfigError(
            f"{parts.shown} names another machine: write file:path",
            option="source",
        )
    path = f"/{parts.path}" if rest.startswith("//localhost/") else parts.path
    if not path:
        raise ConfigError("file: names no file: write file:path", option="source")
    return FileSource(path, **parts.options({"interval": float}, options))
