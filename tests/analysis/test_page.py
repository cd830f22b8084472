"""Is a page whole, safe and alone?"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.analysis import Change, PlacedHosts, compare, plan, spread

pytest.importorskip("matplotlib", reason="pictures need the extra plots")

from hashring.analysis.page import page

SCRIPT = b"<script>alert('x')</script>"
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Seen(HTMLParser):
    """Which elements are open, which there were, and every attribute that loads something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("src", "href", "xlink:href", "action"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def checked(text: str) -> Seen:
    seen = Seen(text)
    assert seen.open == []
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert all(link.startswith(("#", "data:image/")) for link in seen.links)
    assert "://" not in text
    assert not re.search(r"url\((?!#)", text)
    assert 'name="viewport" content="width=device-width' in text
    return seen


def test_a_page_is_alone_and_holds_the_whole_report() -> None:
    before = PlacedHosts.of(list("abcd"))
    counts = {b"client-%d" % i: 1 + i % 7 for i in range(300)}
    steps = [Change(add=["e"]), Change(remove=("a",))]
    report = plan(counts, before, steps=steps)
    seen = checked(
        page(report, title="Plan", facts=["one", "two"], counts=counts, ring=before.ring)
    )
    text = " ".join(seen.words)
    assert report.sentence() in text
    for table in report.tables():
        for row in table.rows:
            for cell in row:
                assert cell.strip() in text
    assert {"svg", "table", "figure"} <= seen.tags


def test_a_hostile_log_writes_nothing_into_a_page() -> None:
    counts = {SCRIPT: 9, b'"><img src=x onerror=alert(1)>': 5, b"&amp;": 2, b"\x1b[31m\xff": 1}
    pool = PlacedHosts.of(["<b>a</b>", "b' onload='x"])
    made = page(spread(counts, pool), title="<i>t</i>", facts=["<u>"], footer="<s>", ring=pool.ring)
    seen = checked(made)
    assert not {"b", "i", "u", "s", "img"} & seen.tags
    text = "".join(seen.words)
    assert SCRIPT.decode() in text
    assert "\\x1b[31m\\xff" in text


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.binary(min_size=1), st.integers(1, 9), max_size=5), st.text())
def test_no_bytes_break_a_page(counts: dict[bytes, int], title: str) -> None:
    checked(page(spread(counts, PlacedHosts.of(["a", "b"], vnodes=4)), title=title))


def test_equal_reports_give_equal_pages() -> None:
    counts = {b"x": 3, b"y": 1}
    both = {page(compare(counts, ["a", "b"]), title="x", counts=counts) for _ in range(2)}
    assert len(both) == 1


def test_pictures_of_one_page_do_not_share_their_ids() -> None:
    pool = PlacedHosts.of(list("abc"), vnodes=8)
    counts = {b"x": 3, b"y": 1}
    made = page(spread(counts, pool), title="x", counts=counts, ring=pool.ring)
    clips = re.findall(r'<clipPath id="([^"]*)"', made)
    assert len(clips) == len(set(clips)) > 1
