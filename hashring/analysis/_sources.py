"""How does a log become blocks of whole lines?  In bounded memory, whatever its bytes are."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from hashring.errors import HashringError, requires_extra
from hashring.text import printable

CHUNK = 1 << 18  # 256 KiB: some 1,200 lines a regular expression reads in one call, still in cache
MAX_LINE = 1 << 20  # 1 MiB: a hundred times the longest request line a web server accepts
# what stands in place of a line that cannot be given: a control byte, so that no format reads it
TOO_LONG = b"\x01too long\n"
CUT_OFF = b"\x01cut off\n"
_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib's way to say: a gzip header and trailer, the largest window
_BOM = b"\xef\xbb\xbf"
_ZIP = b"PK\x03\x04"
_BOMB_BYTES = 1 << 28  # 256 MiB of plain bytes; up to there any ratio is accepted ...
_BOMB_RATIO = 300  # ... and above it at most this: ten times what logs reach, of gzip's 1,030
_LZMA_MEMORY = 1 << 27  # 128 MiB, twice what xz -9 needs


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
    """The plain bytes of ``source`` in pieces; ``-`` is ``stdin``.

    gzip, bzip2, xz and zstd are known by their content. A source of which more than 256 MiB come
    out at more than 300 times its size is refused.

    Raises ``LogError`` for what cannot be opened or read, ``CutOffError`` where it breaks off.
    """
    raw = _raw(source, stdin, progress)
    first = next(raw, b"")
    while 0 < len(first) < len(_BOM) and (more := next(raw, b"")):
        first += more  # a pipe may hand over a single byte
    if first.startswith(_ZIP):
        name = printable(source, 200)
        raise LogError(
            f"{name} is a zip archive: unpack it, as in 'unzip -p {name} | hashring ... -'",
            source=source,
        )
    pieces = _chain_chunks(first, raw)
    unpack = next((each for magic, each in _UNPACKERS.items() if first.startswith(magic)), None)
    if unpack is not None:
        pieces = _bound_output(pieces, unpack, source)
        first = next(pieces, b"")
        pieces = _chain_chunks(first, pieces)
    if first.startswith(_BOM):
        next(pieces)
        pieces = _chain_chunks(first[len(_BOM) :], pieces)
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
        raise LogError(f"cannot read {printable(source, 200)}: {why}", source=source) from error
    except ValueError as error:  # a NUL in the name, or a closed stream
        raise LogError(f"cannot read {printable(source, 200)}: {error}", source=source) from error


def _pieces(stream: BinaryIO, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    # read() would wait for a full piece, and would hold back a Ctrl-C until then
    read = getattr(stream, "read1", stream.read)
    while piece := read(CHUNK):
        if progress is not None:
            progress(len(piece))
        yield piece


def _chain_chunks(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
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


def _bound_output(
    packed: Iterator[bytes], unpack: Callable[[Iterator[bytes]], Iterator[bytes]], source: str
) -> Iterator[bytes]:
    """What ``unpack`` makes of ``packed``, up to the stated limit."""
    taken = given = 0

    def count_bytes() -> Iterator[bytes]:
        nonlocal taken
        for piece in packed:
            taken += len(piece)
            yield piece

    for plain in unpack(count_bytes()):
        given += len(plain)
        if given > _BOMB_BYTES and given > _BOMB_RATIO * taken:
            raise LogError(
                f"{printable(source, 200)} unpacks to more than {_BOMB_RATIO} times its size "
                f"({given >> 20:,} MiB so far): unpack it yourself if that is right",
                source=source,
            )
        yield plain


def _make_unpacker(
    kind: str, make: Callable[[], Any], failures: tuple[type[Exception], ...]
) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """An unpacker of the streams of one file, at most ``CHUNK`` bytes at a time."""

    def unpack(raw: Iterator[bytes]) -> Iterator[bytes]:
        decompressor = make()
        fed = False
        try:
            for piece in raw:
                data = piece
                while data or not (decompressor.eof or decompressor.needs_input):
                    if decompressor.eof:
                        decompressor = make()
                    if plain := decompressor.decompress(data, CHUNK):
                        yield plain
                    fed = True
                    data = decompressor.unused_data if decompressor.eof else b""
        except failures as error:
            raise CutOffError(
                f"the {kind} data is damaged; what came before the damage is counted"
            ) from error
        if fed and not decompressor.eof:
            raise CutOffError(
                f"the {kind} data ends too early; what came before the end is counted"
            )

    return unpack


def _zstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    with requires_extra("zstd", "zstd files"):
        zstandard = import_module("zstandard")
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        for piece in decompressor.read_to_iter(_Pieces(raw), write_size=CHUNK):
            yield bytes(piece)
    except zstandard.ZstdError as error:
        raise CutOffError(
            "the zstd data is damaged; what came before the damage is counted"
        ) from error


class _Pieces:
    """Pieces as a stream with ``read``."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        data = self._left or next(self._pieces, b"")
        self._left = data[size:]
        return data[:size]


_UNPACKERS: dict[bytes, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    _GZIP: _inflate,
    b"BZh": _make_unpacker("bzip2", bz2.BZ2Decompressor, (OSError, ValueError, EOFError)),
    b"\xfd7zXZ\x00": _make_unpacker(
        "xz", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY), (lzma.LZMAError, EOFError)
    ),
    b"\x28\xb5\x2f\xfd": _zstd,
}


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
                yield _join_pieces(begun, size, piece, cut)
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


def _join_pieces(begun: list[bytes], size: int, piece: bytes, cut: int) -> bytes:
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
