"""The dashboard in a browser: its numbers are those of the API, and what is clicked is done."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cli.serving import Serving, Session, hosts, serving
from tests.waiting import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="a browser: a development tool")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Serving, str, str]]:
    with hosts("a", "b", "c") as addresses:
        listed = ",".join(addresses)
        with serving("--hosts", listed, "--admin", "127.0.0.1:0") as process:
            front = process.hear("serving 3 hosts").partition("http://")[2].split()[0]
            yield process, front, process.hear("admin listener at").rpartition("//")[2]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture
def page(browser: Any, running: tuple[Serving, str, str]) -> Iterator[Any]:
    """The dashboard, which may log nothing and ask no other machine."""
    _, _, admin = running
    found = browser.new_page(viewport={"width": 1200, "height": 900})
    noise: list[str] = []
    found.on("console", lambda message: noise.append(message.text))
    found.on("pageerror", lambda error: noise.append(str(error)))
    found.on("request", lambda request: _check_own(request.url, admin, noise))
    found.goto(f"http://{admin}/")
    found.wait_for_selector("#hosts tbody tr")
    yield found
    found.close()
    assert noise == []


def _check_own(url: str, admin: str, noise: list[str]) -> None:
    if not url.startswith(f"http://{admin}/"):
        noise.append(url)


def get(admin: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{admin}{path}", timeout=30) as response:
        return json.load(response)


def row(page: Any, host: str) -> str:
    found: str = page.inner_text(f"#hosts tr[data-host='{host}']")
    return found


def test_its_numbers_are_those_of_the_api(page: Any, running: tuple[Serving, str, str]) -> None:
    _, front, admin = running
    with closing(Session(front)) as client:
        for _ in range(20):
            client.ask()
    listed = get(admin, "/v1/hosts")["hosts"]
    for host in listed:
        assert f"{100 * host['share']:.1f} %" in row(page, host["name"])
    wait_until(lambda: page.inner_text("#stick") == "100.0 %")
    assert "3 usable hosts" in page.inner_text("#ring")
    assert page.locator("#ring path").count() > 100


def test_a_clicked_drain_drains(page: Any, running: tuple[Serving, str, str]) -> None:
    _, _, admin = running
    name = get(admin, "/v1/hosts")["hosts"][0]["name"]
    page.click(f"button[data-act=drain][data-host='{name}']")
    page.wait_for_selector("#ask[open]")
    share = get(admin, "/v1/hosts")["hosts"][0]["share"]
    assert f"drain {name}: {100 * share:.1f} % of all keys move" in page.inner_text("#ask p")
    page.click("#ask button[value=no]")
    assert get(admin, "/v1/hosts")["hosts"][0]["state"] == "up"
    page.click(f"button[data-act=drain][data-host='{name}']")
    page.click("#ask button[value=yes]")
    wait_until(lambda: get(admin, "/v1/hosts")["hosts"][0]["state"] == "draining")
    page.wait_for_selector(f"button[data-act=resume][data-host='{name}']")
    assert "draining by operator" in row(page, name)
    page.wait_for_selector(f"#events li:has-text('{name} drains')")
    page.click(f"button[data-act=resume][data-host='{name}']")
    page.click("#ask button[value=yes]")
    wait_until(lambda: get(admin, "/v1/hosts")["hosts"][0]["state"] == "up")


def test_a_client_is_found_as_the_api_explains(
    page: Any, running: tuple[Serving, str, str]
) -> None:
    _, _, admin = running
    page.fill("#client-id", "<b>session 42</b>")
    page.press("#client-id", "Enter")
    page.wait_for_selector("#path dd")
    found = get(admin, "/v1/where?id=%3Cb%3Esession+42%3C/b%3E")
    shown = page.inner_text("#path")
    for part in ("<b>session 42</b>", found["host"], f"{found['position']:,}", found["walk"][1]):
        assert part in shown
    assert page.locator("#needle line").count() == 1


def test_what_if_equals_the_plan(page: Any, running: tuple[Serving, str, str]) -> None:
    _, _, admin = running
    page.select_option("#change", "add")
    page.fill("#new-host", "10.0.0.9:80")
    page.click("#whatif form button")
    page.wait_for_selector("#result table")
    asked = urllib.request.Request(
        f"http://{admin}/v1/plan",
        json.dumps({"add": ["10.0.0.9:80"]}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=30) as response:
        plan = json.load(response)
    shown = page.inner_text("#result")
    assert f"{100 * plan['moved']:.1f} % of all keys would move" in shown
    assert {flow["to"] for flow in plan["flows"]} == {"10.0.0.9:80"}
    for flow in plan["flows"]:
        assert f"{flow['from']}\t10.0.0.9:80\t{100 * flow['share']:.1f} %" in shown


def test_it_asks_for_the_token_of_the_gateway(browser: Any, tmp_path: Any) -> None:
    secret = tmp_path / "token"
    secret.write_text("an admin token of some length")
    file = tmp_path / "h.toml"
    with hosts("a") as addresses:
        file.write_text(
            '[gateway]\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n'
            f'[admin]\ntoken_file = "{secret}"\n[pool]\nhosts = {json.dumps(addresses)}\n'
        )
        with serving(str(file)) as process:
            admin = process.hear("admin listener at").rpartition("//")[2]
            page = browser.new_page()
            page.goto(f"http://{admin}/")
            page.fill("#token-text", "an admin token of some length")
            page.press("#token-text", "Enter")
            page.wait_for_selector("#hosts tbody tr")
            page.close()


@pytest.mark.parametrize("width", [400, 1200, 2000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(
    browser: Any, running: tuple[Serving, str, str], width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"http://{running[2]}/")
    page.wait_for_selector("#hosts tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="a development tool")
    page.emulate_media(color_scheme=scheme)
    found = axe.Axe().run(page)
    serious = [
        f"{each['id']}: {each['help']} ({node['html'][:120]})"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert serious == []
    assert len(found["passes"]) > 10  # it has looked at the page
