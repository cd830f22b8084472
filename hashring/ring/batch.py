"""The owners of a whole column of keys: the index as NumPy arrays, read by two threads.

The arrays are a guide table as in ``index.py`` with one difference: a cell that vnodes cut holds
``~v``, the number of the first vnode inside, and a key there steps from vnode to vnode until one is
at or after it. For a batch that is one more array read for the few keys that need it, where
``searchsorted`` would be twenty.

polars-hash makes the positions: its ``murmur32`` is ``mmh3``'s hash, with the same seeds. What it
cannot hash (keys that are not text, lone surrogates, positions made with a secret) goes key by key
through the function that ``lookup`` uses, some 200 ns each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeAlias

from hashring.errors import InvalidKeyError, NoHostsError, requires_extra
from hashring.keys import Key
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, CODE_MASK

with requires_extra("analysis", "batches of keys"):
    import numpy as np
    import polars as pl
    import polars_hash  # noqa: F401  # gives polars expressions their nchash
    from numpy.typing import NDArray

_CELLS_PER_VNODE = 8  # 8 to 16: 4 bytes each; 6 to 12 % of the keys meet a cut cell
_ROOMY_CELLS_PER_VNODE = 16  # half as many keys; for a ring that stays within ...
_ROOMY_CELLS = 1 << 20  # ... 4 MB, about what a level-2 cache holds

_CHUNK = 1 << 18  # keys: a fifth faster than 2^16, because each part takes time to begin; then flat
_THREADS = 2  # all that the numbers in benchmarks/ are for; NumPy and polars let go of the GIL

Codes: TypeAlias = "NDArray[np.int32]"
Positions: TypeAlias = "NDArray[np.uint32]"
Nulls: TypeAlias = "NDArray[np.bool_] | None"


class Batch:
    """The owners of many keys in one call, for one immutable index.

    ``hosts`` are the names that the codes count, ``seed`` is that of the positions. With ``seed``
    None every key goes through ``position``: so a ring whose positions are not plain murmur3 is
    placed, slower. Cost to make: O(V), some 0.3 us a vnode; 40 to 70 bytes a vnode.

    >>> from hashring.ring import HashRing
    >>> ring = HashRing(["a", "b", "c"])
    >>> ring.assign(np.array(["x", "y"])).tolist(), ring.lookup_many(["x", "y"])
    ([0, 2], ['a', 'c'])
    """

    def __init__(
        self,
        index: Index[str],
        hosts: Iterable[str],
        *,
        seed: int | None,
        position: Callable[[Key], int],
    ) -> None:
        self._seed = seed
        self._position = position
        rank = {name: code for code, name in enumerate(hosts)}
        if not rank:
            raise NoHostsError("the ring is empty: add a host first")
        ranks = [rank.get(label, 0) for label in index.labels]  # a label left behind has no vnode
        vnodes = np.array(index.vnodes(), np.uint64)
        places = (vnodes >> np.uint64(CODE_BITS)).astype(np.uint32)
        codes = (vnodes & np.uint64(CODE_MASK)).astype(np.intp)
        owners = np.array(ranks, np.int32)[codes]
        # no key stands after the last position, so the vnode that the circle wraps to ends a step
        self._owners = np.append(owners, owners[:1])
        self._places = np.append(places, np.uint32(0xFFFFFFFF))
        bits = _cell_bits(len(vnodes))
        self._shift = np.uint32(index.bits - bits)
        homes = (places >> self._shift).astype(np.intp)
        counts = np.bincount(homes, minlength=1 << bits)
        firsts = np.cumsum(counts) - counts  # vnodes before each cell: the next one owns it
        self._cells = np.where(counts > 0, ~firsts, self._owners[firsts]).astype(np.int32)

    def assign(self, column: Any) -> Any:
        """The host code of each key, in the same kind of column; a null where there is a null.

        Raises ``InvalidKeyError`` for a column of another kind or with a key of another type.
        """
        keys, close = _open_column(column)
        codes = np.empty(len(keys), np.int32)
        if self._seed is None or isinstance(keys, list):
            positions = self._one_by_one(keys)
            _run_chunks(len(codes), lambda part: self._place(positions[part], codes[part]))
        else:
            _run_chunks(len(codes), lambda part: self._hash_and_place(keys[part], codes[part]))
        return close(codes, _nulls(keys))

    def assign_positions(self, column: Any) -> Any:
        """The host code of each position (uint32), in the same kind of column."""
        given, close = _opened_positions(column)
        positions = given.fill_null(0).to_numpy() if isinstance(given, pl.Series) else given
        codes = np.empty(len(positions), np.int32)
        _run_chunks(len(codes), lambda part: self._place(positions[part], codes[part]))
        return close(codes, _nulls(given))

    def _one_by_one(self, keys: Any) -> Positions:
        position = self._position
        if isinstance(keys, pl.Series):  # a null gets some code here, and is a null again at last
            found = (0 if key is None else position(key) for key in keys)
        else:
            found = (position(key) for key in keys)
        return np.fromiter(found, np.uint32, len(keys))

    def _hash_and_place(self, keys: pl.Series, codes: Codes) -> None:
        nchash: Any = pl.col("key").nchash  # type: ignore[attr-defined]  # polars-hash puts it there
        hashed = keys.to_frame("key").select(nchash.murmur32(seed=self._seed)).to_series()
        self._place(hashed.fill_null(0).to_numpy(), codes)

    def _place(self, positions: Positions, codes: Codes) -> None:
        cells = (positions >> self._shift).astype(np.intp)
        self._cells.take(cells, out=codes, mode="clip")  # "raise" would go through a second buffer
        cut = np.flatnonzero(codes < 0)
        wanted = positions.take(cut)
        vnodes = ~codes.take(cut)
        places = self._places
        left = np.flatnonzero(places.take(vnodes) < wanted)
        while len(left):
            vnodes[left] += 1
            left = left[places.take(vnodes.take(left)) < wanted.take(left)]
        codes[cut] = self._owners.take(vnodes)


def _cell_bits(vnodes: int) -> int:
    roomy = min(vnodes * _ROOMY_CELLS_PER_VNODE, _ROOMY_CELLS)
    return min(32, (max(vnodes * _CELLS_PER_VNODE, roomy) - 1).bit_length())


def _run_chunks(length: int, work: Callable[[slice], None]) -> None:
    """``work`` on each part of ``range(length)``, the parts shared out over the threads."""
    parts = [slice(start, start + _CHUNK) for start in range(0, length, _CHUNK)]
    if len(parts) < _THREADS:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(work, parts):  # raises what a part raised
            pass


Close: TypeAlias = "Callable[[Codes, Nulls], Any]"
"""Makes the answer, a column of the kind that was given."""


def _nulls(given: Any) -> Nulls:
    """Where ``given`` has no key; None where it has one everywhere, as NumPy and lists do."""
    if not isinstance(given, pl.Series) or not given.has_nulls():
        return None
    return given.is_null().to_numpy()


def _open_column(column: Any) -> tuple[Any, Close]:
    """The keys as polars texts or bytes, or as a list where they are neither."""
    if isinstance(column, np.ndarray):
        return _from_numpy(column), lambda codes, nulls: codes
    series, close = _as_series(column)
    if series.dtype in (pl.Categorical, pl.Enum, pl.Null):
        series = series.cast(pl.String)
    if series.dtype not in (pl.String, pl.Binary):
        raise InvalidKeyError(
            f"assign() takes a column of texts, not of {series.dtype}: make texts of it first, or "
            "call assign_positions() if they are positions",
            key_type=str(series.dtype),
        )
    return series, close


def _from_numpy(column: NDArray[Any]) -> pl.Series | list[Any]:
    kind = column.dtype.kind
    if kind not in "USTO" or column.ndim != 1:
        raise InvalidKeyError(
            f"assign() takes one dimension of texts, bytes or objects, not {column.ndim} of "
            f"{column.dtype}: use .astype(str), or assign_positions() for positions",
            key_type=str(column.dtype),
        )
    keys: list[Any] = column.tolist()
    like = pl.Binary if keys and isinstance(keys[0], bytes) else pl.String
    try:
        series = pl.Series(keys, dtype=like, strict=True)
    except (TypeError, ValueError):  # keys of several types, or a lone surrogate
        return keys
    return keys if series.has_nulls() else series  # NumPy has no null: None is a key, a wrong one


def _as_series(column: Any) -> tuple[pl.Series, Close]:
    if isinstance(column, pl.Series):
        return column, lambda codes, nulls: _as_polars(codes, nulls, column.name)
    arrow = sys.modules.get("pyarrow")  # who has an Arrow column has imported it
    if arrow is not None and isinstance(column, (arrow.Array, arrow.ChunkedArray)):
        made = pl.from_arrow(column)
        if isinstance(made, pl.Series):  # a struct makes a frame
            return made, lambda codes, nulls: _as_arrow(codes, nulls, column, arrow)
    kind = type(column).__name__
    raise InvalidKeyError(
        f"a batch is a NumPy, Arrow or polars column, not {kind}: use numpy.array(...), or "
        "lookup_many() for other collections",
        key_type=kind,
    )


def _as_polars(codes: Codes, nulls: Nulls, name: str) -> pl.Series:
    made = pl.Series(name, codes)
    return made if nulls is None else made.set(pl.Series(nulls), None)


def _as_arrow(codes: Codes, nulls: Nulls, column: Any, arrow: Any) -> Any:
    """``codes`` as Arrow int32, in chunks where ``column`` has them, and as long as they are."""
    made = arrow.array(codes, mask=nulls)
    if isinstance(column, arrow.Array):
        return made
    ends = np.cumsum([0, *map(len, column.chunks)])
    return arrow.chunked_array([made[a:b] for a, b in pairwise(ends)], arrow.int32())


def _opened_positions(column: Any) -> tuple[Positions | pl.Series, Close]:
    if isinstance(column, np.ndarray):
        if column.dtype == np.uint32 and column.ndim == 1:
            return column, lambda codes, nulls: codes
        raise _no_positions(f"{column.ndim} of {column.dtype}")
    series, close = _as_series(column)
    if series.dtype != pl.UInt32:
        raise _no_positions(str(series.dtype))
    return series, close


def _no_positions(found: str) -> InvalidKeyError:
    return InvalidKeyError(
        f"positions are one dimension of uint32, 0 to 2^32-1, not {found}: use .astype('uint32') "
        "if they are that small",
        key_type=found,
    )
