"""The configurations and shell commands of the pages are accepted."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click import Context

from hashring.cli._app import app
from hashring.config import read
from tests.docs.pages import DOCS, README
from tests.test_pages import blocks

SECRET = "0123456789abcdef" * 4
PAGES = [README, *sorted(DOCS.glob("*.md"))]
TOML = [
    pytest.param(block.body, id=f"{page.name}:{block.line}")
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language == "toml" and "[project" not in block.body
]
COMMANDS = [
    pytest.param(command, id=f"{page.name}:{command[:40]}")
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language == "sh"
    for command in re.findall(
        r"(?:^|[/|] ?)hashring ([^\n#>|]+)", block.body.replace("\\\n", ""), re.MULTILINE
    )
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("hashring.secret", "hashring.secret.new", "hashring.admin-token"):
        (tmp_path / name).write_text(SECRET if name.endswith("new") else SECRET[::-1])
    return tmp_path


def _make_certificates(here: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    for name in ("ca", "gateway"):
        words = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout {name}.key -out {name}.pem"
        subprocess.run([openssl, *words.split()], check=True, capture_output=True, cwd=here)


@pytest.mark.parametrize("text", TOML)
def test_a_configuration_of_the_pages_is_valid(text: str, here: Path) -> None:
    (here / "hashring.toml").write_text(text if "[pool]" in text else f"{text}\n[pool]\n")
    if "tls]" in text:
        _make_certificates(here)
    options = {} if "hosts =" in text else {"pool.hosts": ["127.0.0.1:9001"]}
    settings = read("hashring.toml", options=options, names={"pool.hosts": "--host"}, environ={})
    assert settings.pool.hosts


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_pages_is_accepted(command: str, here: Path) -> None:
    for name in (
        "hashring.toml",
        "access.log",
        "LOG",
        "trace.jsonl.gz",
        "conversation_trace.jsonl.gz",
    ):
        (here / name).touch()
    name, *arguments = shlex.split(command)
    found = app.get_command(Context(app), name)
    assert found is not None, f"there is no command {name}"
    found.make_context(name, arguments, parent=Context(app, info_name="hashring"))


def test_pages_have_configurations_and_commands() -> None:
    assert len(TOML) > 12
    assert len(COMMANDS) > 5
