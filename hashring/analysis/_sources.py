"""How does a log become blocks of whole lines?  In bounded memory, whatever its bytes are."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from hashring.analysis._formats import show
from hashring.errors import HashringError

CHUNK = 1 << 18  # 256 KiB: some 1,200 lines a regular expression reads in one call, still in cache
MAX_LINE = 1 << 20  # 1 MiB: a hundred times the longest request line a web server accepts
# what stands in place of a line that cannot be given: a control byte, so that no format reads it
TOO_LONG = b"\x01too long\n"
CUT_OFF = b"\x01cut off\n"
_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib's way to say: a gzip header and trailer, the largest window
_BOM = b"\xef\xbb\xbf"
_OTHER = {  # compressed by something the standard library cannot stream, or not worth guessing
    b"\x28\xb5\x2f\xfd": "zstd -dc",
    b"\xfd7zXZ\x00": "xz -dc",
    b"BZh": "bzip2 -dc",
    b"PK\x03\x04": "unzip -p",
}


class LogError(HashringError):
    """A log that cannot be read; ``source`` is its name.

    >>> LogError("web.log is empty", source="web.log").source
    'web.log'
    """

    def __init__(self, message: str = "unreadable log", *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class CutOffError(Exception):
    """Raised after the last good bytes of a damaged log; the text is the reason."""


def open_log(
    source: str, stdin: BinaryIO | None, progress: Callable[[int], None] | None
) -> Iterator[bytes]:
    """The plain bytes of ``source`` in pieces; ``-`` is ``stdin``; gzip is known by its content.

    Raises ``LogError`` for what cannot be opened or read, ``CutOffError`` where gzip breaks off.
    """
    raw = _raw(source, stdin, progress)
    first = next(raw, b"")
    while 0 < len(first) < len(_BOM) and (more := next(raw, b"")):
        first += more  # a pipe may hand over a single byte
    for magic, tool in _OTHER.items():
        if first.startswith(magic):
            name = show(source, 200)
            raise LogError(
                f"{name} is compressed: unpack it, as in '{tool} {name} | hashring ... -'",
                source=source,
            )
    pieces = _chained(first, raw)
    if first.startswith(_GZIP):
        pieces = _inflate(pieces)
        first = next(pieces, b"")
        pieces = _chained(first, pieces)
    if first.startswith(_BOM):
        next(pieces)
        pieces = _chained(first[len(_BOM) :], pieces)
    yield from pieces


def _raw(
    source: str, stdin: BinaryIO | None, progress: Callable[[int], None] | None
) -> Iterator[bytes]:
    try:
        if source == "-":
            stream = stdin if stdin is not None else getattr(sys.stdin, "buffer", None)
            if stream is None:
                raise LogError("there is no standard input to read", source=source)
            yield from _pieces(stream, progress)
        else:
            with Path(source).open("rb") as stream:
                yield from _pieces(stream, progress)
    except OSError as error:
        why = error.strerror or str(error)
        raise LogError(f"cannot read {show(source, 200)}: {why}", source=source) from error
    except ValueError as error:  # a NUL in the name, or a closed stream
        raise LogError(f"cannot read {show(source, 200)}: {error}", source=source) from error


def _pieces(stream: BinaryIO, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    # read() would wait for a full piece, and would hold back a Ctrl-C until then
    read = getattr(stream, "read1", stream.read)
    while piece := read(CHUNK):
        if progress is not None:
            progress(len(piece))
        yield piece


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _inflate(raw: Iterator[bytes]) -> Iterator[bytes]:
    """The members of a gzip file one after the other, at most ``CHUNK`` bytes at a time."""
    inflater = zlib.decompressobj(_GZIP_WBITS)
    try:
        for piece in raw:
            data = piece
            while data:
                if inflater.eof:
                    data = data.lstrip(b"\0")  # gzip allows zero padding between its members
                    if not data:
                        break
                    inflater = zlib.decompressobj(_GZIP_WBITS)
                if plain := inflater.decompress(data, CHUNK):
                    yield plain
                data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if not inflater.eof and (plain := inflater.flush()):
            yield plain
    except zlib.error as error:
        raise CutOffError(
            "the gzip data is damaged; what came before the damage is counted"
        ) from error
    if not inflater.eof:
        raise CutOffError("the gzip data ends too early; what came before the end is counted")


def blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """``pieces`` cut so that each block holds whole lines; only the last may lack its newline.

    A line longer than ``MAX_LINE`` comes as ``TOO_LONG`` and one that ``CutOffError`` cut in two
    as ``CUT_OFF``: no format reads those, so each still counts as one line, an unreadable one.

    >>> list(blocks(iter([b"a", b"b", bytes([10]) + b"c"])))
    [b'ab\\n', b'c']
    """
    begun: list[bytes] = []
    size = 0
    broken: CutOffError | None = None
    try:
        for piece in pieces:
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield _joined(begun, size, piece, cut)
                begun, size = [], 0
            size += len(piece) - cut
            if size > MAX_LINE:
                begun.clear()
            else:
                begun.append(piece[cut:])
    except CutOffError as error:
        broken = error
    if size:
        if size > MAX_LINE:
            yield TOO_LONG
        else:
            yield CUT_OFF if broken else b"".join(begun)
    if broken:
        raise broken


def _joined(begun: list[bytes], size: int, piece: bytes, cut: int) -> bytes:
    first = piece.index(b"\n")
    if size + first > MAX_LINE:
        return TOO_LONG + piece[first + 1 : cut]
    return b"".join((*begun, piece[:cut]))


def peek(lines: Iterator[bytes], most: int) -> tuple[bytes, Iterator[bytes]]:
    """The first ``most`` lines of the blocks, and an iterator that still gives all of them."""
    taken: list[bytes] = []
    broken: list[CutOffError] = []
    seen = 0
    try:
        # 8 lines of the greatest length bound the memory where lines are huge
        while seen < most and sum(map(len, taken)) < 8 * MAX_LINE and (block := next(lines, b"")):
            taken.append(block)
            seen += count_lines(block)
    except CutOffError as error:
        broken.append(error)

    def again() -> Iterator[bytes]:
        yield from taken
        if broken:
            raise broken[0]
        yield from lines

    sample = b"".join(line for block in taken for line in block.splitlines(keepends=True)[:most])
    return b"".join(sample.splitlines(keepends=True)[:most]), again()


def count_lines(block: bytes) -> int:
    r"""How many lines ``block`` holds; the last may lack its newline.

    >>> count_lines(b"a\nb"), count_lines(b"a\n"), count_lines(b"")
    (2, 1, 0)
    """
    return block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
