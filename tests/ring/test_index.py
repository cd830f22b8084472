"""The index against a sorted list: at and around every vnode, after any patches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sortedcontainers import SortedList

from hashring.ring.index import Index
from hashring.ring.layout import pack, unpack

Vnode = tuple[int, int]

LABELS = (
    "e",
    "d",
    "c",
    "b",
    "a",
)  # against the order of the codes, so that the two cannot be mixed up
BITS = 8  # so few positions that ties are the rule


def by_label(vnode: Vnode) -> tuple[int, str]:
    return vnode[0], LABELS[vnode[1]]


def build(
    vnodes: Sequence[Vnode], bits: int = BITS, seed: int = 0, labels: Sequence[str] = LABELS
) -> Index[str]:
    return Index.build(pack(vnodes), labels, bits=bits, seed=seed)


IN_ORDER = LABELS[::-1]


def patch(index: Index[str], added: Sequence[Vnode], removed: Sequence[Vnode]) -> Index[str]:
    return index.with_vnodes(pack(added), pack(removed), IN_ORDER)


def vnode_lists(
    most: int = 120, bits: int = BITS, least: int = 0
) -> st.SearchStrategy[list[Vnode]]:
    vnode = st.tuples(st.integers(0, (1 << bits) - 1), st.integers(0, len(LABELS) - 1))
    return st.lists(vnode, min_size=least, max_size=most)


def naive_find(vnodes: Sequence[Vnode], position: int) -> int:
    return vnodes[bisect_left([at for at, _ in vnodes], position) % len(vnodes)][1]


def probes(vnodes: Sequence[Vnode], bits: int) -> list[int]:
    """Below, at and after each vnode, and both ends of the circle; all of a small circle."""
    if bits <= BITS:
        return list(range(1 << bits))
    near = {(at + step) % (1 << bits) for at, _ in vnodes for step in (-1, 0, 1)}
    return sorted(near | {0, (1 << bits) - 1})


def check(index: Index[str], vnodes: list[Vnode], bits: int = BITS) -> None:
    assert index.size == len(vnodes)
    assert unpack(index.vnodes()) == vnodes
    for position in probes(vnodes, bits):
        start = bisect_left([at for at, _ in vnodes], position)
        turn = [code for _, code in vnodes[start:] + vnodes[:start]]
        assert list(index.around(position)) == turn
        if vnodes:
            assert index.find(position) == turn[0]


@given(vnode_lists(), st.sampled_from([8, 9, 31, 32, 33, 64]))
def test_a_build_loses_no_vnode_and_keeps_the_given_order(vnodes: list[Vnode], bits: int) -> None:
    # sorted() is stable: vnodes of one position keep the order in which they were drawn
    given_order = sorted(vnodes, key=lambda vnode: vnode[0])
    spread = [(at << bits - BITS, code) for at, code in given_order]
    check(build(spread, bits), spread, bits)


@given(vnode_lists(least=1), st.integers(0, 255))
def test_find_agrees_with_a_sorted_list_of_pairs(vnodes: list[Vnode], position: int) -> None:
    pairs = SortedList((at, LABELS[code]) for at, code in vnodes)
    index = build(sorted(vnodes, key=by_label))
    wanted = pairs[pairs.bisect_left((position, "")) % len(pairs)][1]
    assert index.labels[index.find(position)] == wanted


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 255))
def test_all_vnodes_in_one_place_are_kept_and_the_first_wins(codes: list[int], place: int) -> None:
    vnodes = [(place, code) for code in codes]
    index = build(vnodes)
    check(index, vnodes)
    assert {index.find(position) for position in range(256)} == {codes[0]}


@given(
    vnode_lists(least=20, most=110),
    st.lists(
        st.tuples(vnode_lists(most=4), st.lists(st.integers(0, 10_000), max_size=4)), max_size=8
    ),
    st.sampled_from([8, 12, 32]),
)
def test_patched_is_rebuilt(
    start: list[Vnode], changes: list[tuple[list[Vnode], list[int]]], bits: int
) -> None:
    shift = bits - BITS
    now = sorted(((at << shift, code) for at, code in start))
    index = build(now, bits, 9, IN_ORDER)
    history = [(index, now)]
    for more, picks in changes:
        added = [(at << shift, code) for at, code in more]
        left = list(now)
        removed = [left.pop(pick % len(left)) for pick in picks if left]
        now = sorted([*left, *added])
        index = patch(index, added, removed)
        assert (index.bits, index.seed) == (bits, 9)
        history.append((index, now))
    for old, vnodes in history:  # at the end: no patch may touch an index that came before it
        check(old, vnodes, bits)


@given(vnode_lists(least=40, most=110), st.data())
def test_a_host_that_goes_and_comes_leaves_no_trace(
    vnodes: list[Vnode], data: st.DataObject
) -> None:
    vnodes = sorted(vnodes)
    code = data.draw(st.integers(0, len(LABELS) - 1))
    own = [vnode for vnode in vnodes if vnode[1] == code][:9]
    back = patch(patch(build(vnodes, labels=IN_ORDER), [], own), own, [])
    check(back, vnodes)


def test_a_host_may_have_two_vnodes_at_one_position() -> None:
    filler = [(at, 0) for at in range(0, 240, 4)]
    vnodes = [*filler, (250, 1), (250, 1), (250, 2)]
    index = build(vnodes, labels=IN_ORDER)
    assert index.find(250) == 1
    index = patch(index, [], [(250, 2)])
    assert unpack(index.vnodes())[-2:] == [(250, 1), (250, 1)]
    index = patch(index, [], [(250, 1)])
    assert unpack(index.vnodes())[-1] == (250, 1)
    assert index.find(250) == 1
    index = patch(index, [], [(250, 1)])
    assert index.find(250) == 0


def test_ties_out_of_order_after_a_patch_are_put_in_order() -> None:
    vnodes = [(at, at % 3) for at in range(0, 240, 4)]
    index = Index.build(pack(vnodes), ["m", "q", "z"], bits=BITS)
    more = index.with_vnodes(pack([(8, 3), (77, 3)]), [], ["m", "q", "z", "a"])
    names = [(at, more.labels[code]) for at, code in unpack(more.vnodes())]
    assert names == sorted([*((at, "mqz"[code]) for at, code in vnodes), (8, "a"), (77, "a")])
    assert more.labels[more.find(8)] == "a", "'a' comes before 'z'"


def test_an_empty_index_has_no_label_to_answer_with() -> None:
    for index in (
        Index.build([], [], bits=BITS),
        Index.build(pack([(3, 0)]), ["a"], bits=BITS).with_vnodes([], pack([(3, 0)]), ["a"]),
    ):
        assert (index.size, index.vnodes(), list(index.around(7))) == (0, [], [])
        with pytest.raises(IndexError):
            index.labels[index.find(7)]


def test_labels_may_be_replaced_for_free() -> None:
    index = Index.build(pack([(10, 0), (200, 1)]), ["a", "b"], bits=BITS, seed=5)
    other = index.with_labels([1.5, 2.5])
    assert [other.labels[other.find(p)] for p in (0, 11, 201)] == [1.5, 2.5, 1.5]
    assert [index.labels[index.find(p)] for p in (0, 11, 201)] == ["a", "b", "a"]
    assert other.seed == 5


@given(vnode_lists(least=1, most=12))
def test_the_circle_wraps(vnodes: list[Vnode]) -> None:
    vnodes = sorted(vnodes)
    index = build(vnodes)
    for beyond in range(vnodes[-1][0] + 1, 256):
        assert index.find(beyond) == naive_find(vnodes, 0) == vnodes[0][1]
