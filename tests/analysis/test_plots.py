"""Are pictures drawn, whole, readable at fifty hosts, and the same each time?"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hashring.analysis import (
    Arrivals,
    Change,
    PlacedHosts,
    Report,
    advise,
    compare,
    plan,
    simulate,
    spread,
)
from hashring.errors import ConfigError
from hashring.ring import HashRing

pytest.importorskip("matplotlib", reason="pictures need the extra plots")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, StepPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from hashring.analysis import plots
from hashring.analysis.plots._style import apart, host_labels

pytestmark = pytest.mark.slow

COUNTS = {b"client-%d" % i: 1 + i % 7 for i in range(500)}
SIZES = (1, 3, 10, 50)


def fleet(count: int) -> list[str]:
    return [f"ip-10-0-12-{i}.eu-central-1.compute.internal:8080" for i in range(count)]


def reports(count: int) -> list[Report]:
    pool = PlacedHosts.of(fleet(count), vnodes=64)
    change = Change(add=["new"], remove=(fleet(count)[0],))
    arrivals = Arrivals.of((i / 10, f"client-{i % 50}") for i in range(500))
    return [
        spread(COUNTS, pool),
        plan(COUNTS, pool, pool.after(change)),
        compare(COUNTS, fleet(count), change, placements=["ring", "modulo"]),
        compare(COUNTS, fleet(count), placements=["ring", "modulo"]),
        simulate(arrivals, pool, [(20.0, change)]),
    ]


@pytest.mark.parametrize("count", SIZES)
def test_every_report_has_pictures_of_the_size_they_say(count: int, tmp_path: Path) -> None:
    ring = HashRing(fleet(count), vnodes=64)
    for report in reports(count):
        for picture in plots.pictures(report, counts=COUNTS, ring=ring):
            file = tmp_path / "out.png"
            plots.save(picture, file)
            made = file.read_bytes()
            assert made.startswith(b"\x89PNG")
            width, height = struct.unpack(">II", made[16:24])
            assert width == pytest.approx(picture.width * 150, abs=1)
            assert height == pytest.approx(picture.height * 150, abs=1)
            assert len(made) > 5000


def words(fig: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and the box that it fills."""
    FigureCanvasAgg(fig)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    texts = [text for text in ax.get_children() if isinstance(text, Text)]
    texts += [text for legend in fig.legends for text in legend.get_texts()]
    if ax.axison:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, sorted(ax.get_ylim()))):
            ticks = axis.get_major_ticks()
            # ticks beyond the limits are there and never drawn
            texts += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
            texts.append(axis.label)
    return [
        (text.get_text(), text.get_window_extent()) for text in texts if text.get_text().strip()
    ]


@pytest.mark.parametrize("count", SIZES)
def test_labels_neither_overlap_nor_leave_the_picture(count: int) -> None:
    for report in (*reports(count), advise(1.2, count)):
        fig = plots.pictures(report)[0].figure()
        boxes = words(fig)
        assert len(boxes) >= 3
        for name, box in boxes:
            assert box.x0 >= -1, name
            assert box.y0 >= -1, name
            assert box.x1 <= fig.bbox.x1 + 1, name
            assert box.y1 <= fig.bbox.y1 + 1, name
        for (one, a), (other, b) in combinations(boxes, 2):
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            tall = min(a.y1, b.y1) - max(a.y0, b.y0)
            # a line's box has air above and below its letters: a third of it may be shared
            assert wide <= 1 or tall <= min(a.height, b.height) / 3, (one, other)


def test_the_flow_diagram_has_a_ribbon_for_every_flow() -> None:
    pool = PlacedHosts.of(list("abc"))
    report = plan(COUNTS, pool, pool.after(Change(add=["d"], remove=("a",))))
    ax = plots.flows(plots.figure().subplots(), report)
    stay = 2  # b and c keep clients
    ribbons = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    assert len(ribbons) == len(report.flows) + stay


def test_the_circle_has_an_arc_for_every_vnode() -> None:
    ring = HashRing(list("abc"), vnodes=5)
    ax = plots.circle(plots.figure().subplots(), ring)
    (arcs,) = ax.collections
    assert len(arcs.get_paths()) == 15
    assert len(ax.patches) == 3


def test_every_function_returns_the_ax_that_it_was_given() -> None:
    pool = PlacedHosts.of(list("abc"), vnodes=8)
    moves = plan(COUNTS, pool, pool.after(Change(add=["d"])))
    side = compare(COUNTS, list("abc"), placements=["ring"])
    arrivals = Arrivals.of([(0.0, "x"), (5.0, "x")])
    draws: list[Callable[[Any], Any]] = [
        lambda ax: plots.shares(ax, spread(COUNTS, pool)),
        lambda ax: plots.flows(ax, moves),
        lambda ax: plots.comparison(ax, side),
        lambda ax: plots.circle(ax, HashRing(list("abc"), vnodes=8)),
        lambda ax: plots.client_cdf(ax, COUNTS),
        lambda ax: plots.peak_by_vnodes(ax, (3,), (8, 16), seeds=2, wanted=1.2),
        lambda ax: plots.load_over_time(ax, simulate(arrivals, pool)),
    ]
    for draw in draws:
        ax = plots.figure().subplots()
        assert draw(ax) is ax


def test_load_is_counted_in_whole_requests_with_room_above() -> None:
    arrivals = Arrivals.of((float(i), f"client-{i % 7}") for i in range(50))
    ax = plots.figure().subplots()
    report = simulate(arrivals, PlacedHosts.of(list("abc")))
    plots.load_over_time(ax, report)
    assert all(tick == int(tick) for tick in ax.get_yticks())
    assert ax.get_ylim()[1] > max(each.peak_in_flight for each in report.outcomes)


def test_a_line_of_load_has_few_steps_and_no_peak_is_lost() -> None:
    arrivals = Arrivals.of((float(i), f"client-{i % 7}") for i in range(50))
    for bins in (1, 59, 60, 61, 120, 500):
        report = simulate(arrivals, PlacedHosts.of(list("abc")), bins=bins)
        ax = plots.figure().subplots()
        plots.load_over_time(ax, report)
        lines = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
        for line in lines:
            values, edges, _ = line.get_data()
            assert len(values) <= 60
            assert edges[-1] == pytest.approx(report.seconds)
        peaks = {each.peak_in_flight for each in report.outcomes}
        assert {max(line.get_data()[0]) for line in lines} == peaks


def test_equal_reports_give_equal_bytes(tmp_path: Path) -> None:
    for kind in ("png", "svg", "pdf"):
        files = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for file in files:
            pool = PlacedHosts.of(list("abc"))
            plots.save(plots.pictures(spread(COUNTS, pool))[0], file)
        assert files[0].read_bytes() == files[1].read_bytes(), kind


def test_a_name_is_text_and_never_a_formula(tmp_path: Path) -> None:
    evil = ["$\\frac{1}{2}$", "<script>alert(1)</script>", "a&b", "\x1b[31m", "名前"]
    pool = PlacedHosts.of(evil, vnodes=16)
    ring = HashRing(evil, vnodes=16)
    found = [spread(COUNTS, pool), plan(COUNTS, pool, pool.after(Change(remove=("a&b",))))]
    for report in found:
        for picture in plots.pictures(report, ring=ring):
            text = plots.svg(picture, "x")
            assert "<script" not in text
            ET.fromstring(text.replace("xlink:href", "href"))
            assert "$\\frac" in text or "$\\fr" in text or "$\\f" in text
            plots.save(picture, tmp_path / "x.png")


def test_an_svg_for_a_page_has_no_address() -> None:
    for picture in plots.pictures(reports(3)[0], counts=COUNTS, ring=HashRing(list("ab"))):
        text = plots.svg(picture, "x")
        assert "://" not in text
        assert text.startswith("<svg")


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.html"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.svg, \.pdf"):
        plots.save(plots.pictures(reports(1)[0])[0], tmp_path / name)


def test_long_names_are_reported_apart() -> None:
    names = [*fleet(50), "new", None]
    labels = host_labels(names)
    assert len(set(labels.values())) == len(names)
    assert max(map(len, labels.values())) <= 18


def test_labels_are_pushed_apart_no_further_than_needed() -> None:
    assert apart([], 1, 0, 10) == []
    assert apart([1, 1, 1], 1, 0, 10) == [1, 2, 3]
    assert apart([9, 10, 10], 1, 0, 10) == [8, 9, 10]
    assert apart([5] * 5, 4, 0, 10) == [0, 2.5, 5, 7.5, 10]


def test_matplotlib_comes_only_with_a_picture() -> None:
    code = "import sys, hashring.analysis, hashring.cli._app; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"sticky-hashring\[plots\]"):
        plots.figure()
