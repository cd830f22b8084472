"""The dashboard: one page of HTML, CSS and JavaScript without any external address."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


class Page(bytes):
    """A page for a browser. It may load nothing, and talk to its own origin only."""

    KIND = b"text/html; charset=utf-8"
    POLICY = (
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def dashboard_page() -> Page:
    """The page, which reads ``/v1/stream`` (or ``/v1/view``) and acts by the admin API."""
    return Page(files("hashring.gateway").joinpath("dashboard.html").read_bytes())
