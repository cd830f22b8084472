"""The commands of the page on operating print what it shows, with a real gateway."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.serving import serving
from tests.docs.pages import DOCS
from tests.test_pages import FENCE, Block, blocks, commands, run_command

PAGE = DOCS / "operating.md"
FILE = """
listen = "127.0.0.1:0"
[health]
probe = "none"
"""


def test_commands_on_a_running_gateway_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    settings = next(block.body for block in blocks(text) if block.language == "toml")
    (tmp_path / "hashring.toml").write_text(settings.replace(":9090", ":0") + FILE)
    shown = [Block(1, "text", found["body"]) for found in FENCE.finditer(text) if found["skip"]]
    with serving(str(tmp_path / "hashring.toml")) as process:
        admin = process.hear("admin listener at").rpartition("//")[2].strip()
        monkeypatch.setenv("HASHRING_GATEWAY_ADMIN", admin)
        count = 0
        for block in shown:
            for command, printed in commands(block):
                run_command(command, printed, tmp_path)
                count += 1
    assert count >= 10


def test_every_request_of_the_api_is_named_in_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    source = (DOCS.parent / "hashring" / "gateway" / "api.py").read_text(encoding="utf-8")
    resources = set(re.findall(r'path == "(\w+)"', source))
    assert resources >= {"status", "hosts", "where", "events"}
    assert {name for name in resources if f"/v1/{name}" not in text} == set()


def test_queries_of_the_page_on_metrics_name_real_metrics() -> None:
    pytest.importorskip("prometheus_client", reason="metrics are an extra: [metrics]")
    from hashring import LoadBalancer
    from hashring.gateway import Gateway
    from hashring.gateway.metrics import exposition

    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bhashring_\w+", text))
    shown = exposition(Gateway(LoadBalancer(["web1"]))).decode()
    real = set(re.findall(r"^# TYPE (\w+)", shown, re.MULTILINE))
    assert len(named) > 5
    assert named - real == set()
