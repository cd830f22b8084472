"""Does a column get what its keys would get one by one?  All kinds of columns, a million keys."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError, InvalidKeyError, NoHostsError
from hashring.ring import HashRing, RingTable, layout
from hashring.ring.index import Index
from tests.ring.inputs import MANY_TIES, keys, quantised, rings

np = pytest.importorskip("numpy", reason="batches are an extra: sticky-hashring[analysis]")
pl = pytest.importorskip("polars", reason="batches are an extra: sticky-hashring[analysis]")
pytest.importorskip("polars_hash", reason="batches are an extra: sticky-hashring[analysis]")
batch = pytest.importorskip("hashring.ring.batch")

MILLION = 1_000_000


def owners(ring: HashRing | RingTable, codes: Any) -> list[str]:
    return [ring.hosts[code] for code in codes]


def texts(count: int, seed: int = 0) -> list[str]:
    """Short ids, empty ones, every script, and some that are longer than any buffer."""
    rng = random.Random(seed)
    made = [f"session-{rng.getrandbits(40):x}" for _ in range(count)]
    for i in range(0, count, 10):
        made[i] = "".join(chr(rng.choice((65, 233, 0x4E2D, 0x1F600))) for _ in range(i % 23))
    for i in range(7, count, 100_000):
        made[i] = made[i] * 5_000
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "seed"), [(3, 0), (100, (1 << 32) - 1), (1_000, 7)])
def test_a_million_keys_go_where_lookup_sends_them(hosts: int, seed: int) -> None:
    ring = HashRing([f"host{i}" for i in range(hosts)], vnodes=160, seed=seed)
    some = texts(MILLION, seed)
    codes = ring.assign(pl.Series("client", some))
    assert (codes.name, codes.dtype, codes.null_count()) == ("client", pl.Int32, 0)
    assert owners(ring, codes.to_list()) == ring.lookup_many(some)


@given(rings(), st.lists(keys()))
def test_any_keys_in_an_array_of_objects(ring: HashRing, some: list[Any]) -> None:
    column = np.empty(len(some), object)
    column[:] = some
    codes = ring.assign(column)
    assert codes.dtype == np.int32
    assert owners(ring, codes) == ring.lookup_many(some)


@given(rings(), st.lists(st.integers(0, (1 << 32) - 1)))
def test_positions_find_the_first_vnode_at_or_after_them(ring: HashRing, some: list[int]) -> None:
    edges = {(p + step) % (1 << 32) for p, _ in ring.vnode_list() for step in (-1, 0, 1)}
    positions = [*some, *edges, 0, (1 << 32) - 1]
    index = ring.table.index
    found = owners(ring, ring.assign_positions(np.array(positions, np.uint32)))
    assert found == [index.labels[index.find(position)] for position in positions]


def test_ties_and_crowded_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "vnode_positions", quantised(MANY_TIES))
    ring = HashRing(list("gfedcba"), vnodes=64)
    positions = np.arange(0, 1 << 32, 1 << 22, dtype=np.uint32)
    for name in "adg":
        index = ring.table.index
        expected = [index.labels[index.find(int(position))] for position in positions]
        assert owners(ring, ring.assign_positions(positions)) == expected
        ring.remove(name)


def test_many_vnodes_in_one_cell_and_the_last_position() -> None:
    last = (1 << 32) - 1
    vnodes = [*((5 + i, i % 2) for i in range(300)), (last, 2)]
    index = Index.build(layout.pack(vnodes), ["b", "a", "c"])
    placed = batch.Batch(index, ["a", "b", "c"], seed=0, position=lambda key: 0)
    some = np.array([0, 5, 6, 7, 303, 304, 305, last - 1, last], np.uint32)
    assert "".join("abc"[code] for code in placed.assign_positions(some)) == "bbabbaccc"


@pytest.mark.slow
def test_an_exact_diff_agrees_with_a_million_keys() -> None:
    names = [f"host{i}" for i in range(1_000)]
    ring = HashRing(names)
    other = HashRing([*names[:500], *(f"other{i}" for i in range(500))])
    diff = ring.diff(other)
    some = pl.Series([f"client-{i}" for i in range(MILLION)])
    before, after = (np.array(one.hosts)[one.assign(some).to_numpy()] for one in (ring, other))
    error = (diff.moved * (1 - diff.moved) / MILLION) ** 0.5  # of a fraction that was sampled
    assert abs((before != after).mean() - diff.moved) < 4 * error  # these keys are always the same
    pairs = set(zip(before[before != after].tolist(), after[before != after].tolist(), strict=True))
    assert pairs <= set(diff.flows)


def test_codes_count_the_sorted_hosts_after_any_changes() -> None:
    ring = HashRing(["m", "z", "a"])
    some = texts(2_000)
    changes: list[Callable[[], None]] = [
        lambda: ring.remove("m"),
        lambda: ring.add("b"),
        lambda: ring.set_weight("a", 3),
        lambda: ring.set_hosts(["q", "b", "é", "\ud83d"]),
    ]
    for change in changes:
        table, before = ring.table, ring.assign(np.array(some)).tolist()
        assert owners(ring, before) == ring.lookup_many(some)
        change()
        assert table.assign(np.array(some)).tolist() == before, "a table never changes"
    assert owners(ring, ring.assign(pl.Series(some)).to_list()) == ring.lookup_many(some)


SOME: Sequence[str] = [*texts(3_000), "", "a", "é", "中" * 70_000]
RING = HashRing(["web1", "web2", "web3"], seed=3)
EXPECTED = RING.lookup_many(SOME)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array(SOME[:3_000]),
        lambda: np.array([*SOME[:3_000], "x\ud83d"])[:3_000],
        lambda: np.array(SOME, object),
        lambda: np.array([key.encode() for key in SOME], object),
        lambda: np.array([key.encode() for key in SOME[:3_000]]),
        lambda: np.array(SOME, np.dtypes.StringDType()),
        lambda: np.array([x for key in SOME for x in (key, "other")], object)[::2],
    ],
    ids=["U", "surrogate", "objects", "objects of bytes", "S", "T", "strided"],
)
def test_kinds_of_numpy_arrays(make: Callable[[], Any]) -> None:
    column = make()
    codes = RING.assign(column)
    assert isinstance(codes, np.ndarray)
    assert codes.dtype == np.int32
    assert owners(RING, codes) == EXPECTED[: len(column)]


def test_an_array_of_objects_holds_keys_of_every_type() -> None:
    some: list[Any] = ["a", b"\xff", 7, -7, UUID(int=5), "\ud83d", 1 << 63]
    column = np.empty(len(some), object)
    column[:] = some
    assert owners(RING, RING.assign(column)) == RING.lookup_many(some)


@pytest.mark.parametrize("wrong", [None, True, 1.5, ["a"]])
def test_a_wrong_key_is_the_error_of_lookup(wrong: object) -> None:
    column = np.empty(2, object)
    column[:] = "a", wrong
    with pytest.raises(InvalidKeyError, match=type(wrong).__name__):
        RING.assign(column)


def test_nulls_stay_null_in_polars() -> None:
    column = pl.Series("client", ["a", None, "b", None] * 140_000)
    codes = RING.assign(column)
    assert codes.is_null().to_list() == column.is_null().to_list()
    assert owners(RING, codes[[0, 2]].to_list()) == RING.lookup_many(["a", "b"])
    assert RING.assign(pl.Series([None, None])).to_list() == [None, None]
    assert RING.assign(pl.Series([], dtype=pl.String)).dtype == pl.Int32


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(SOME).cast(pl.Categorical),
        pl.Series([key.encode() for key in SOME], dtype=pl.Binary),
        pl.Series(["cut", *SOME, "off"])[1:-1],
        pl.Series(SOME[:1_000]).append(pl.Series(SOME[1_000:])),
    ],
    ids=["categorical", "binary", "sliced", "chunked"],
)
def test_kinds_of_polars_columns(column: Any) -> None:
    assert owners(RING, RING.assign(column).to_list()) == EXPECTED


def test_an_expression_takes_it_as_a_stage() -> None:
    frame = pl.LazyFrame({"client": SOME})
    stage = pl.col("client").map_batches(RING.assign, return_dtype=pl.Int32)
    codes = frame.select(stage).collect().to_series()
    assert owners(RING, codes.to_list()) == EXPECTED


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "binary"])
def test_kinds_of_arrow_arrays(kind: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="who gives Arrow columns has it")
    made = pa.array([None, *SOME], getattr(pa, kind)())
    codes = RING.assign(made[1:])
    assert (type(codes), codes.type, codes.null_count) == (pa.Int32Array, pa.int32(), 0)
    assert owners(RING, codes.to_pylist()) == EXPECTED
    assert RING.assign(made)[0].as_py() is None
    chunked = pa.chunked_array([made[:1], made[1:1_000], made[:0], made[1_000:]])
    codes = RING.assign(chunked)
    assert [len(chunk) for chunk in codes.chunks] == [len(chunk) for chunk in chunked.chunks]
    assert codes.to_pylist()[0] is None
    assert owners(RING, codes.to_pylist()[1:]) == EXPECTED
    assert RING.assign(pa.chunked_array([], getattr(pa, kind)())).to_pylist() == []
    assert owners(RING, RING.assign(made[1:].dictionary_encode()).to_pylist()) == EXPECTED


def test_a_null_in_an_arrow_dictionary_is_a_null() -> None:
    pa = pytest.importorskip("pyarrow", reason="who gives Arrow columns has it")
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["a", None]))
    assert RING.assign(column).is_null().to_pylist() == [False, True, True, False]
    assert RING.assign(pa.nulls(2)).to_pylist() == [None, None]


def test_positions_in_every_kind_of_column() -> None:
    pa = pytest.importorskip("pyarrow", reason="who gives Arrow columns has it")
    positions = [RING.position(key) for key in SOME]
    strided = np.array([*positions, 0], np.uint32).repeat(2)[:-2:2]
    for made in (np.array(positions, np.uint32), strided):
        assert owners(RING, RING.assign_positions(made)) == EXPECTED
    series = RING.assign_positions(pl.Series(positions, dtype=pl.UInt32))
    assert owners(RING, series.to_list()) == EXPECTED
    array = RING.assign_positions(pa.array(positions, pa.uint32()))
    assert owners(RING, array.to_pylist()) == EXPECTED
    column = pl.Series([1, None], dtype=pl.UInt32)
    assert RING.assign_positions(column).is_null().to_list() == [False, True]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["a", "b"], "lookup_many"),
        (pl.Series([1, 2]), "assign_positions"),
        (np.array([1, 2]), "assign_positions"),
        (np.array([["a"]]), "one dimension"),
        (pl.DataFrame({"a": ["x"]}), "not DataFrame"),
    ],
)
def test_another_column_than_texts_is_refused(column: Any, words: str) -> None:
    with pytest.raises(InvalidKeyError, match=words):
        RING.assign(column)


@pytest.mark.parametrize("column", [np.array([1, -2]), np.array([[1]], np.uint32), pl.Series([1])])
def test_another_column_than_positions_is_refused(column: Any) -> None:
    with pytest.raises(InvalidKeyError, match="uint32"):
        RING.assign_positions(column)


def test_an_empty_ring_places_no_key() -> None:
    for call in (HashRing().assign, HashRing().table.assign):
        with pytest.raises(NoHostsError):
            call(np.array(["a"]))


def test_positions_other_than_murmur3_go_key_by_key() -> None:
    def reversed_position(key: Any) -> int:
        return RING.position(key) ^ 0xFFFFFFFF

    placed = batch.Batch(RING.table.index, RING.hosts, seed=None, position=reversed_position)
    index = RING.table.index
    expected = [index.labels[index.find(reversed_position(key))] for key in SOME]
    for column in (np.array(SOME, object), pl.Series(SOME)):
        assert owners(RING, placed.assign(column)) == expected
    codes = placed.assign(pl.Series(["a", None]))
    assert codes.is_null().to_list() == [False, True]


def test_a_batch_lends_no_array_of_the_index() -> None:
    ring = HashRing(["a", "b"])
    ring.assign(np.array(["x"]))
    for lent in (ring.table.index.cells, ring.table.index.packed, ring.table.index.starts):
        lent.append(0)  # a BufferError, if NumPy had borrowed it


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['polars'] = None\n"
        "from hashring import ConfigError, HashRing\n"
        "try: HashRing(['a']).assign([])\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "sticky-hashring[analysis]"' in done.stdout
    assert "polars" in done.stdout
    assert issubclass(ConfigError, ValueError)
