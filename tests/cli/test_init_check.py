"""Does the example pass the check, and does the check say each mistake's line, key and hint?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

TYPING = """\
[pool]
hosts = [
    "127.0.0.1:9001",
    { name = "web2", address = "127.0.0.1:9002", wieght = 2 },
]

[placemnt]
name = "ring"

[fallback]
strategy = "round_robin"

[gateway]
lisen = "127.0.0.1:8080"
"""
TYPING_SAID = """\
h.toml:4: pool.hosts[1].wieght: a host has no such field: did you mean 'weight'?
h.toml:7: placemnt: there is no such table: did you mean 'placement'?
h.toml:11: fallback.strategy: there is no strategy 'round_robin': did you mean 'round-robin'?
h.toml:14: gateway.lisen: there is no such key: did you mean 'listen'?
hashring: 4 problems
"""

VALUES = """\
[[pool.hosts]]
name = "web1"
address = "127.0.0.1:9001"

[[pool.hosts]]
name = "web1"
address = "127.0.0.1"
weight = -1

[placement]
vnodes = 0

[tokens]
secret = "do not print this one"
secret_file = "missing.secret"

[gateway]
listen = 8080
admin = "0.0.0.0:9090"

[health]
probe = "htpp"

[limits]
connect = 3
"""
VALUES_SAID = """\
h.toml:5: pool.hosts[1]: there is already a host 'web1' (h.toml:1): use another name
h.toml:7: pool.hosts[1].address: must be ADDRESS:PORT, such as '127.0.0.1:8080', got '127.0.0.1'
h.toml:8: pool.hosts[1].weight: must be a number of 0 or more, got -1
h.toml:11: placement.vnodes: must be an int from 1 to 2^20, got 0
h.toml:14: tokens.secret: there is no such key: secrets are not written here, give secret_file or \
secret_env
h.toml:15: tokens.secret_file: 'missing.secret' cannot be read: No such file or directory
h.toml:18: gateway.listen: must be ADDRESS:PORT, such as '127.0.0.1:8080', got 8080
h.toml:19: gateway.admin: must be ADDRESS:PORT on loopback, or unix:PATH, got '0.0.0.0:9090': \
without a token, only this machine may reach it (admin.token_file)
h.toml:22: health.probe: must be "http" or "tcp" or "none", got 'htpp': did you mean 'http'?
h.toml:25: limits.connect: there is no such key: did you mean [timeouts]?
hashring: 10 problems
"""

NO_HOST = """\
[gateway]
listen = "127.0.0.1:8080"

[discovry]
url = "dns:web.test"
"""
NO_HOST_SAID = """\
h.toml:4: discovry: there is no such table: did you mean 'discovery'?
h.toml: pool.hosts: there is no host: write hosts = ["127.0.0.1:9001"] in [pool], or url in \
[discovery]
hashring: 2 problems
"""

SOURCE = """\
[discovery]
url = "etdc://ann:secret@10.0.0.1/services/web"
hold = "long"
bounce = 1
"""
SOURCE_SAID = """\
h.toml:2: discovery.url: there is no source 'etdc': did you mean 'etcd'?
h.toml:3: discovery.hold: must be 0 or more seconds, got 'long'
h.toml:4: discovery.bounce: there is no such key: did you mean 'debounce'?
hashring: 3 problems
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [(TYPING, TYPING_SAID), (VALUES, VALUES_SAID), (NO_HOST, NO_HOST_SAID), (SOURCE, SOURCE_SAID)],
)
def test_all_problems_are_reported(run: Run, text: str, said: str) -> None:
    Path("h.toml").write_text(text)
    done = run("check", "h.toml")
    assert done.stderr == said
    assert done.stdout == ""
    assert done.exit_code == 3


def test_serve_lists_the_same_problems_and_exits(run: Run) -> None:
    Path("h.toml").write_text(TYPING)
    done = run("serve", "h.toml")
    assert (done.exit_code, done.stderr) == (3, TYPING_SAID)


def test_the_example_passes_with_and_without_every_key(run: Run) -> None:
    text = run("init").stdout
    for each in (text, text.replace("#: ", "")):
        Path("h.toml").write_text(each)
        done = run("check", "h.toml")
        assert done.exit_code == 0, done.stderr
        first, fingerprint = done.stdout.splitlines()
        assert first == "h.toml: ok: 3 hosts, placement ring, listens on 127.0.0.1:8080"
        assert fingerprint.endswith(".up")


def test_every_key_of_the_example_has_words_before_it(run: Run) -> None:
    lines = run("init").stdout.splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("#: ")]
    assert len(keys) > 50
    for number in keys:
        before = lines[number - 1]
        assert before.startswith(("# ", "#: ")), before


def test_a_file_cannot_write_to_the_terminal(run: Run) -> None:
    Path("h.toml").write_text('"a\\u001b[31mb" = 1\n')
    done = run("check", "h.toml")
    assert "\x1b" not in done.stderr
    assert "a\\x1b[31mb" in done.stderr


def test_a_file_that_is_not_there_is_a_bad_config(run: Run) -> None:
    done = run("check", "none.toml")
    assert done.exit_code == 3
    assert done.stderr.startswith("none.toml: cannot be read: No such file")


def test_serve_without_hosts_is_a_bad_config(run: Run) -> None:
    done = run("serve")
    assert done.exit_code == 3
    assert "there is no host: give --host, --discover or FILE" in done.stderr


def test_a_problem_on_the_command_line_names_the_option(run: Run) -> None:
    done = run("serve", "--host", "127.0.0.1:9001=two", "--listen", "8080", "--admin", "1.1.1.1:1")
    assert done.exit_code == 3
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()[:-1]] == [
        "command line --admin",
        "command line --hosts",
        "command line --listen",
    ]
    assert "pool.hosts[0]: weight must be a number of 0 or more, got 'two'" in done.stderr


def test_show_config_has_the_origin_of_each_value(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a secret that nobody may see"
    monkeypatch.setenv("SECRET", secret)
    monkeypatch.setenv("HASHRING_LIMITS_RETRIES", "1")
    Path("h.toml").write_text(
        '[pool]\nhosts = [\n"127.0.0.1:9001",\n{address = "127.0.0.1:9002", weight = 2},\n]\n'
        '[tokens]\nsecret_env = "SECRET"\n'
    )
    done = run("serve", "h.toml", "--listen", "127.0.0.1:1", "--show-config")
    assert done.exit_code == 0
    found = {line.split()[0]: line.rpartition("  ")[2].strip() for line in done.stdout.splitlines()}
    assert found["pool.hosts[0]"] == "h.toml:3"
    assert found["pool.hosts[1]"] == "h.toml:4"
    assert found["tokens.secret_env"] == "h.toml:7"
    assert found["limits.retries"] == "environment HASHRING_LIMITS_RETRIES"
    assert found["gateway.listen"] == "command line --listen"
    assert found["timeouts.connect"] == "default"
    assert found["tokens.secrets"] == "of SECRET"
    assert secret not in done.output


def test_a_source_names_all_hosts_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHRING_DISCOVERY_URL", "etcd://ann:pass-word@127.0.0.1/services/web")
    done = run("serve", "--show-config")
    assert done.exit_code == 0
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("discovery.url "))
    assert line.split()[1:] == [
        '"etcd://127.0.0.1:2379/services/web"',
        "environment",
        "HASHRING_DISCOVERY_URL",
    ]
    assert "pass-word" not in done.output
    Path("h.toml").write_text("[placement]\nvnodes = 0\n")
    done = run("check", "h.toml")
    assert done.exit_code == 3
    assert done.stderr.startswith("h.toml:2: placement.vnodes: must be an int from 1 to 2^20")
    Path("h.toml").write_text("")
    done = run("check", "h.toml")
    assert done.exit_code == 0
    assert done.stdout.startswith("h.toml: ok: the hosts of etcd://127.0.0.1:2379/services/web, ")
