"""The guide can be read offline: links lead somewhere, nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from subprocess import run
from urllib.parse import unquote, urlsplit

import pytest
from click import Context

import hashring
from hashring.cli._app import app
from hashring.config.settings import TABLES

pytest.importorskip("sphinx", reason="the guide's generator is a development tool: [docs]")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RUN = "5-crafted-client-ids"  # one notebook is executed here, all of them by tests/notebooks

INTERNAL = {
    "balancer",
    "ring",
    "cli",
    "integrations",
}  # shown by the front door, the command line, and file by file

IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
# what a script does to fetch: fetch("//..."), import("//..."), x.src = "//..."
IN_SCRIPT = re.compile(
    r"""(?:fetch|import|importScripts|open)\s*\(\s*["'`]((?:https?:)?//[^"'`]+)"""
    r"""|\.(?:src|href)\s*=\s*["'`]((?:https?:)?//[^"'`]+)"""
)


class Page(HTMLParser):
    """What a page says that it loads, where it leads, and the anchors it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a":
            self.leads += [given["href"]] if "href" in given else []
        else:
            self.loads += [
                given[name] for name in ("src", "href", "data", "poster") if name in given
            ]
            self.loads += [
                one.split()[0] for one in given.get("srcset", "").split(",") if one.strip()
            ]
        self.loads += IN_STYLE.findall(given.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.loads += IN_STYLE.findall(data)
        elif self.inside == "script":
            self.loads += fetched(data)


def fetched(script: str) -> list[str]:
    return ["".join(found) for found in IN_SCRIPT.findall(script)]


def external(address: str) -> bool:
    """Whether a browser would ask another machine: ``//x/y`` has a host, ``data:`` has none."""
    return bool(urlsplit(address).netloc)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-D", f"notebooks={RUN}"]
    done = run(
        [*command, "-d", str(where / "trees"), str(DOCS), str(where / "html")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}


def test_each_page_is_built(site: Path, pages: dict[Path, Page]) -> None:
    written = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert written <= {path.relative_to(site) for path in pages}


def test_links_lead_to_pages_and_anchors_that_are_there(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.leads + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and anchor not in pages[target].anchors):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert all(page.loads for page in pages.values()), "a page without its style is not read right"
    found = [(path, load) for path, page in pages.items() for load in page.loads]
    found += [(path, load) for path, load in in_files(site)]
    assert [f"{path.name}: {load}" for path, load in found if external(load)] == []


def in_files(site: Path) -> Iterator[tuple[Path, str]]:
    for path in site.rglob("*.css"):
        yield from ((path, load) for load in IN_STYLE.findall(path.read_text("utf-8")))
    for path in site.rglob("*.js"):
        yield from ((path, load) for load in fetched(path.read_text("utf-8")))


def test_the_api_has_every_name_of_the_front_door(site: Path, pages: dict[Path, Page]) -> None:
    api = pages[site / "api" / "hashring.html"].anchors
    names = set(hashring.__all__) - {"__version__"}
    assert {
        name for name in names if not {f"hashring.{name}", f"hashring.errors.{name}"} & api
    } == set()


def test_a_notebook_is_shown_with_pictures_and_alt_texts(site: Path) -> None:
    html = (site / "notebooks" / f"{RUN}.html").read_text("utf-8")
    pictures = re.findall(r'<img alt="([^"]+)"[^>]*class="figure"[^>]*src="([^"]+)"', html)
    assert pictures
    for alt, source in pictures:
        assert len(alt) > 20
        assert (site / "notebooks" / source).stat().st_size > 5_000
    assert "The answer" in html


def test_every_notebook_has_a_page_with_its_title() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = (DOCS / "notebooks" / f"{path.stem}.md").read_text("utf-8")
        source = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
        title = source.partition("\n")[0]
        assert page == f"{title}\n\n```{{notebook}} {path.stem}\n```\n"


def test_every_picture_of_a_notebook_has_a_text() -> None:
    cells = [
        cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text("utf-8"))["cells"]
    ]
    pictures = [source for source in cells if "plt.show()" in source]
    assert pictures
    assert [source for source in pictures if "\n# picture: " not in f"\n{source}"] == []


@pytest.mark.parametrize("page", ["commands.html", "settings.html"])
def test_a_generated_page_has_every_section(page: str, pages: dict[Path, Page]) -> None:
    (found,) = (each for path, each in pages.items() if path.name == page)
    names = app.list_commands(Context(app)) if page == "commands.html" else TABLES
    missing = {re.sub(r"[^a-z0-9]", "", name) for name in names} - {
        re.sub(r"[^a-z0-9]", "", anchor) for anchor in found.anchors
    }
    assert missing == set()


def test_the_api_has_every_public_module(pages: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for path, page in pages.items() if "api" in path.parts))
    rooms = {path.parent.name for path in (ROOT / "hashring").glob("*/__init__.py")}
    assert {f"module-hashring.{room}" for room in rooms - INTERNAL} - anchors == set()


def test_the_parser_sees_what_a_browser_loads() -> None:
    page = Page(
        '<link rel="preconnect" href="https://a.example"><script src="//b.example/x.js"></script>'
        '<style>@import "https://c.example/c.css"; p { src: url(https://d.example/f.woff) }</style>'
        '<img srcset="https://e.example/1.png 2x" src="data:image/png;base64,AA"><p id="here">'
        '<script>import("https://f.example/m.js"); x.src = "//g.example/g.js"</script>'
        '<a href="https://h.example">a link may lead anywhere</a>'
        '<i style="background: url(//i.example)">'
    )
    hosts = {urlsplit(load).netloc.split(".")[0] for load in page.loads if external(load)}
    assert hosts == set("abcdefgi")
    assert page.leads == ["https://h.example"]
    assert "here" in page.anchors
