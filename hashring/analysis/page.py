"""How is a report shown to others?  One HTML page that needs nothing but itself.

No address leads out of it: the pictures are SVG in the page, the style is in it, there is no
script. What comes from a log or a name is escaped: a client may call itself ``<script>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from hashring.analysis.plots import Picture, pictures, svg
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable
from hashring.ring import HashRing, RingTable
from hashring.text import printable

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 56rem; color: #222; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.lead { font-size: 1.15rem; font-weight: 600; margin: .5rem 0 1rem; }
.facts { color: #555; font-size: .9rem; margin: 0 0 1rem; padding: 0; list-style: none; }
figure { margin: 1.5rem 0; }
figure svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e5e5e5; }
th { border-bottom-color: #999; }
.text { text-align: left; }
td.words { white-space: normal; min-width: 16rem; }
.strong td { font-weight: 600; }
.note, footer { color: #555; font-size: .85rem; }
footer { margin-top: 2rem; border-top: 1px solid #e5e5e5; padding-top: .5rem; }
@media (max-width: 36rem) { table { font-size: .75rem; } th, td { padding-right: .4rem; } }
@media print { .wide { overflow: visible; } }
"""
_WORDS = 40  # characters after which a cell may break into lines
_SIZE = re.compile(r'<svg\b[^>]*?viewBox="([^"]*)"[^>]*>')


def page(
    report: Report,
    *,
    title: str,
    facts: Iterable[str] = (),
    counts: Mapping[bytes, int] | None = None,
    ring: HashRing | RingTable | None = None,
    footer: str = "",
) -> str:
    """``report`` as one page: its sentence, ``facts``, its pictures and tables.

    ``counts`` and ``ring`` bring the pictures that need them. Equal reports give equal pages.
    Raises ``ConfigError`` without matplotlib. Cost: about a second, most of it for the pictures.

    >>> from hashring.analysis import PlacedHosts, spread
    >>> made = page(spread({b"<script>": 3}, PlacedHosts.of(["web1"])), title="Who & where")
    >>> "<script>" in made, "Who &amp; where" in made, "://" in made
    (False, True, False)
    """
    drawn = pictures(report, counts=counts, ring=ring)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{_text(title)}</h1><p class="lead">{_text(report.sentence())}</p>',
        _facts(facts),
        *(_figure(picture, number) for number, picture in enumerate(drawn)),
        *(_table(table) for table in report.tables()),
        f"<footer>{_text(footer)}</footer>" if footer else "",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _text(text: str) -> str:
    """Text for a page: nothing in it is markup, no control character passes."""
    return escape(printable(text, 2000))


def _facts(facts: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(fact)}</li>" for fact in facts)
    return f'<ul class="facts">{items}</ul>' if items else ""


def _figure(picture: Picture, number: int) -> str:
    label = _text(picture.title)
    # sized by the page, not by itself: as wide as the screen, never wider than it was drawn for
    most = f"max-width:{picture.width * 1.5:.1f}in"
    head = rf'<svg viewBox="\1" role="img" aria-label="{label}" style="{most}">'
    return f"<figure>{_SIZE.sub(head, svg(picture, f'picture-{number}'), count=1)}</figure>"


def _table(table: ReportTable) -> str:
    heads = "".join(_cell("th", head, i < table.left) for i, head in enumerate(table.heads))
    rows = "".join(
        ('<tr class="strong">' if number in table.strong else "<tr>")
        + "".join(_cell("td", cell, i < table.left) for i, cell in enumerate(row))
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    html = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h2>{_text(table.title)}</h2><div class="wide" tabindex="0">{html}</div>{note}'


def _cell(tag: str, text: str, left: bool) -> str:
    if not left:
        return f"<{tag}>{_text(text)}</{tag}>"
    classes = "text words" if len(text) > _WORDS else "text"
    return f'<{tag} class="{classes}">{_text(text)}</{tag}>'
