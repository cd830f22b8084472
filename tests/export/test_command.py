"""``hashring export``: with hosts on the command line, and from a file of settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from hashring.cli._app import app
from hashring.cli.export import routing_of
from hashring.errors import ConfigError
from hashring.export import Bridge, Checks, Routing, export
from hashring.health import OutlierRules
from hashring.hosts import Host

Run: TypeAlias = Callable[..., Result]

HOSTS = ("--host", "127.0.0.1:9001", "--host", "127.0.0.1:9002=2")

FILE = """
[pool]
hosts = [
  { name = "web1", address = "10.0.0.1:8080", id = 4 },
  { name = "web2", address = "10.0.0.2:8080", id = 2, weight = 3 },
]
[placement]
name = "haproxy-consistent"
hash_function = "wt6"
[identity]
sources = ["header:x-session", "address"]
[tokens]
enabled = false
[health]
probe = "http"
path = "/healthz"
[gateway]
listen = "127.0.0.1:8081"
trusted_proxies = ["10.1.0.0/16"]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ("export", *words), prog_name="hashring")


def test_without_a_file(run: Run) -> None:
    done = run("envoy", *HOSTS, "--placement", "envoy-maglev", "--id", "header:x-session")
    routing = Routing(
        {"127.0.0.1:9001": 1, "127.0.0.1:9002": 2}, "envoy-maglev", identity=["header:x-session"]
    )
    assert done.exit_code == 0
    assert done.stdout == export("envoy", routing)


def test_every_option_arrives(run: Run) -> None:
    done = run(
        *("haproxy", *HOSTS, "--placement", "haproxy-consistent", "--option", "hash_function=wt6"),
        *(
            "--id",
            "query:u",
            "--id",
            "path:1",
            "--id",
            "header:x",
            "--id",
            "cookie:c",
            "--id",
            "address",
        ),
        *("--listen", "127.0.0.1:7777", "--out", "haproxy.cfg"),
    )
    assert (done.exit_code, done.output) == (0, "")
    text = Path("haproxy.cfg").read_text(encoding="utf-8")
    routing = Routing(
        {"127.0.0.1:9001": 1, "127.0.0.1:9002": 2},
        "haproxy-consistent",
        {"hash_function": "wt6"},
        identity=["query:u", "path:1", "header:x", "cookie:c", "address"],
        listen="127.0.0.1:7777",
    )
    assert text == export("haproxy", routing)


def test_a_bridge(run: Run) -> None:
    done = run("haproxy", *HOSTS, "--bridge", "my-host", "--bridge-key", "k")
    assert done.exit_code == 0
    assert "dynamic-cookie-key k\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("envoy",), 2, "give hosts"),
        (("apache", *HOSTS), 2, "the proxies are caddy, envoy, haproxy, nginx, traefik"),
        (("envoy", "--host", "127.0.0.1:9001=x"), 2, "not a number"),
        (("envoy", "--host", "127.0.0.1"), 2, "ADDRESS:PORT"),
        (("envoy", *HOSTS, "--placement", "rings"), 2, "there is no placement 'rings'"),
        (("envoy", *HOSTS, "--bridge", "a b"), 2, "a bridge's cookie"),
        (("envoy", *HOSTS, "--from", "hashring.toml"), 2, "change them there"),
        (("envoy", *HOSTS, "--id", "header:x"), 3, "does not have the placement 'ring'"),
        (("nginx", *HOSTS, "--placement", "nginx-hash"), 3, "have no client ID"),
        (("nginx", *HOSTS, "--placement", "nginx-hash", "--id", "prompt"), 3, "from 'prompt'"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def settings() -> SimpleNamespace:
    """The settings of a gateway at their defaults, but for what is not exported."""
    return SimpleNamespace(
        pool=SimpleNamespace(hosts=(Host("10.0.0.1:80"),), load_factor=None),
        placement=SimpleNamespace(name="envoy-maglev", options={}, key_secret=None),
        identity=SimpleNamespace(sources=("header:x",)),
        tokens=SimpleNamespace(enabled=False),
        health=SimpleNamespace(
            probe="tcp",
            path="/",
            port=None,
            interval=5.0,
            timeout=2.0,
            fall=3,
            rise=2,
            fast=1.0,
            panic=0.0,
            outliers=SimpleNamespace(
                enabled=True, failures=5, base=30.0, cap=300.0, share=0.1, statuses=()
            ),
        ),
        gateway=SimpleNamespace(listen="127.0.0.1:8080", trusted_proxies=("10.0.0.0/8",)),
        timeouts=SimpleNamespace(connect=2.0, idle=60.0),
        limits=SimpleNamespace(retries=2),
    )


def test_the_defaults_of_a_gateway_are_those_of_a_routing() -> None:
    assert routing_of(settings()) == Routing(["10.0.0.1:80"], "envoy-maglev", identity=["header:x"])


def test_what_is_off_in_the_settings_is_off_in_the_proxy() -> None:
    quiet = settings()
    quiet.health.probe, quiet.health.outliers.enabled = "none", False
    quiet.timeouts.idle = None
    routing = routing_of(quiet)
    assert (routing.checks, routing.ejection, routing.idle) == (None, None, 86_400.0)


def test_settings_that_no_proxy_can_follow() -> None:
    tokens, keyed, none = settings(), settings(), settings()
    tokens.tokens.enabled = True
    with pytest.raises(ConfigError, match=r"'token'.*--without-tokens"):
        export("envoy", routing_of(tokens))
    assert export("envoy", routing_of(tokens, without_tokens=True))
    keyed.placement.name, keyed.placement.key_secret = "ring", b"a secret of 16 bytes"
    with pytest.raises(ConfigError, match="keyed pool"):
        export("envoy", routing_of(keyed))
    assert export("haproxy", routing_of(keyed, bridge=Bridge("host", "k")))
    none.placement.name = "none"
    with pytest.raises(ConfigError, match="no placement to export"):
        routing_of(none)


def test_from_a_file(run: Run) -> None:
    pytest.importorskip("hashring.config")
    Path("hashring.toml").write_text(FILE, encoding="utf-8")
    done = run("haproxy", "--from", "hashring.toml")
    hosts = [
        Host("web1", address="10.0.0.1:8080", id=4),
        Host("web2", 3, address="10.0.0.2:8080", id=2),
    ]
    routing = Routing(
        hosts,
        "haproxy-consistent",
        {"hash_function": "wt6"},
        identity=["header:x-session", "address"],
        listen="127.0.0.1:8081",
        checks=Checks("http", "/healthz"),
        ejection=OutlierRules(),
        trusted=["10.1.0.0/16"],
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == export("haproxy", routing)


def test_problems_of_a_file_have_their_lines(run: Run) -> None:
    pytest.importorskip("hashring.config")
    Path("hashring.toml").write_text(f"{FILE}\n[pols]\n", encoding="utf-8")
    done = run("haproxy", "--from", "hashring.toml")
    assert done.exit_code == 3
    assert "hashring.toml:" in done.stderr


def test_from_a_file_that_names_a_source_its_hosts_are_asked_for(run: Run) -> None:
    text = FILE.partition("[placement]")[2]
    source = '[discovery]\nurl = "file:hosts.txt"\nwait = 0.1\n[placement]'
    Path("hashring.toml").write_text(source + text, encoding="utf-8")
    done = run("haproxy", "--from", "hashring.toml")
    assert done.exit_code == 1
    assert done.stderr == (
        "hashring: file:hosts.txt: hosts.txt cannot be read: No such file or directory\n"
    )
    Path("hosts.txt").write_text("web1@10.0.0.1:8080\nweb2=3@10.0.0.2:8080\n", encoding="utf-8")
    done = run("haproxy", "--from", "hashring.toml")
    assert done.exit_code == 0, done.stderr
    assert "HAProxy: 2 hosts under the placement haproxy-consistent" in done.stdout
    assert "10.0.0.2:8080" in done.stdout


def test_from_a_file_a_list_that_is_held_back_is_reported(run: Run) -> None:
    pool = '[pool]\nhosts = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]\n'
    text = FILE.partition("[placement]")[2]
    told = '[discovery]\nurl = "static:10.0.0.1:80"\n[placement]'
    Path("hashring.toml").write_text(pool + told + text, encoding="utf-8")
    done = run("haproxy", "--from", "hashring.toml")
    assert done.exit_code == 1
    assert "1 host, where the pool has 3: not accepted until" in done.stderr
