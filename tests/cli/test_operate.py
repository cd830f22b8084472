"""Commands on a running gateway, and the admin API that they use."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from hashring.cli._app import app
from tests.cli.serving import Serving, hosts, serving


class Running(NamedTuple):
    """A gateway with three hosts, its admin address, and a way to run commands on it."""

    process: Serving
    admin: str
    hosts: list[str]

    def run(self, *args: str) -> Result:
        return CliRunner().invoke(app, [*args, "--url", self.admin], prog_name="hashring")

    def json(self, *args: str) -> Any:
        done = self.run(*args, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        connection = http.client.HTTPConnection(self.admin, timeout=20)
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        found = json.loads(response.read())
        connection.close()
        return response.status, found

    def state(self, number: int) -> str:
        listed = self.json("hosts")["hosts"]
        found: str = next(host["state"] for host in listed if host["name"] == self.hosts[number])
        return found


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with hosts("a", "b", "c") as addresses:
        listed = ",".join(addresses)
        with serving("--hosts", listed, "--admin", "127.0.0.1:0") as process:
            admin = process.hear("admin listener at").rpartition("//")[2]
            yield Running(process, admin, addresses)


def test_a_drain_is_previewed_done_explained_and_ended(running: Running) -> None:
    first = running.hosts[0]
    owned = next(key for key in map(str, range(100)) if running.json("where", key)["host"] == first)
    preview = running.json("drain", first, "--dry-run")
    assert (preview["dry_run"], preview["host"]["state"]) == (True, "up")
    assert running.state(0) == "up"
    done = running.json("drain", first, "--reason", "kernel update", "--deadline", "300")
    assert done["moved"] == pytest.approx(preview["moved"])
    assert 0.2 < done["moved"] < 0.5
    assert done["epoch"] > preview["epoch"]
    (drain,) = done["host"]["drains"]
    assert drain["by"] == "operator"
    assert 0 < drain["seconds_left"] <= 300
    running.process.hear(f"admin: drain {first}: kernel update")
    explained = running.json("explain", owned)
    assert explained["owner"] == first
    assert explained["host"] != first
    assert [each["host"] for each in explained["skipped"]] == [first]
    text = running.run("explain", owned).stdout
    assert f"skipped   {first} (operator: draining" in text
    assert running.run("resume", first).exit_code == 0
    assert running.state(0) == "up"
    assert running.json("where", owned)["host"] == first


def test_marks_and_weights_are_set(running: Running) -> None:
    second = running.hosts[1]
    assert "is down" in running.run("down", second, "--reason", "disk").stdout
    listed = running.run("hosts").stdout
    assert f"{second} is down (operator: disk)" in listed
    assert running.run("up", second).exit_code == 0
    preview = running.json("weight", second, "3", "--dry-run")["moved"]
    assert running.json("weight", second, "3")["moved"] == pytest.approx(preview)
    shares = {host["name"]: host["share"] for host in running.json("hosts")["hosts"]}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert shares[second] == max(shares.values())
    assert running.json("weight", second, "0")["host"]["state"] == "draining"
    for words in (("resume", second), ("weight", second, "1")):
        assert running.run(*words).exit_code == 0
    assert running.state(1) == "up"


def test_events_are_numbered_and_waited_for(running: Running) -> None:
    third = running.hosts[2]
    before = running.ask("GET", "/v1/events")[1]["next"]
    running.run("drain", third)
    running.run("resume", third)
    status, found = running.ask("GET", f"/v1/events?after={before}&wait=20")
    assert (status, found["next"]) == (200, before + 2)
    assert [(event["kind"], event["host"]) for event in found["events"]] == [
        ("drain", third),
        ("resume", third),
    ]
    assert all(0.2 < event["moved"] < 0.5 for event in found["events"])
    assert f"drain {third} by operator" in running.run("events").stdout


def test_a_cookie_is_looked_up(running: Running) -> None:
    connection = http.client.HTTPConnection(running.process.address, timeout=20)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    ours = [text for text in response.headers.get_all("set-cookie", []) if "hashring=" in text]
    connection.close()
    cookie = ours[0].partition(";")[0]
    found = running.json("where", "--cookie", cookie)
    assert (found["from"], found["reason"]) == ("token", "pinned")
    assert found["host"] in running.hosts
    assert running.json("where", "--cookie", cookie.partition("=")[2]) == found
    done = running.run("where", "--cookie", "hashring=forged")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no valid token" in done.stderr


def test_a_drain_waits_until_the_host_is_idle(running: Running) -> None:
    done = running.run("drain", running.hosts[0], "--wait", "--idle", "0.1")
    assert done.exit_code == 0
    assert "is empty" in done.stderr
    running.run("resume", running.hosts[0])


def test_status_and_top_are_printed(running: Running) -> None:
    status = running.run("status").stdout
    assert "3 up, 0 draining, 0 down" in status
    view = running.run("top", "--once").stdout
    for host in running.hosts:
        assert host in view


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("drain", "web9"), 1, "there is no host 'web9'; the hosts are"),
        (("assign", "x", "web9"), 1, "there is no host 'web9'"),
        (("forget", "x"), 1, "this gateway keeps sessions by tokens"),
        (("where",), 2, "give CLIENT_ID or --cookie VALUE"),
        (("weight", "web1", "x"), 2, "Invalid value for 'WEIGHT'"),
    ],
)
def test_an_error_is_one_line(
    running: Running, args: tuple[str, ...], code: int, words: str
) -> None:
    done = running.run(*args)
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [("127.0.0.1:9", 1, "does not answer"), ("ftp://h:1", 3, "such as http://127.0.0.1:9090")],
)
def test_a_wrong_url_is_one_line(url: str, code: int, words: str) -> None:
    done = CliRunner().invoke(app, ["status", "--url", url], prog_name="hashring")
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr


JSON = {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("GET", None, {}, 405),
        ("PUT", b"{}", JSON, 405),
        ("POST", b"{}", {}, 415),
        ("POST", b"{}", {"content_type": "text/plain"}, 415),
        ("POST", b"{}", {**JSON, "origin": "http://evil.example"}, 403),
        ("POST", b"{}", {**JSON, "origin": "null"}, 403),
        ("POST", b"{}", {**JSON, "host": "evil.example"}, 403),
        ("POST", b"[]", JSON, 400),
        ("POST", b"{", JSON, 400),
        ("POST", b'{"deadline": true}', JSON, 400),
        ("POST", b'{"reason": ""}', JSON, 400),
        ("POST", b" " * 70_000, JSON, 413),
    ],
)
def test_no_other_request_changes_a_host(
    running: Running, method: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    before = running.json("status")["epoch"]
    path = f"/v1/hosts/{running.hosts[0]}/drain"
    found, content = running.ask(method, path, body, **headers)
    assert found == (404 if method == "GET" else status)
    assert set(content) == {"error"}
    assert running.json("status")["epoch"] == before


@pytest.mark.parametrize("path", ["/v1/", "/v1/nothing", "/v1/where", "/v1/events?after=x"])
def test_an_unknown_resource_is_an_error(running: Running, path: str) -> None:
    status, content = running.ask("GET", path)
    assert status in (400, 404)
    assert set(content) == {"error"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of an admin listener on every address, which needs a token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "h.toml").write_text(
        '[pool]\nhosts = ["127.0.0.1:9"]\n[gateway]\nadmin = "0.0.0.0:0"\n'
        f'[admin]\ntoken_file = "{folder / "token"}"\npublic = ["healthz", "metrics"]\n'
    )
    with serving(str(folder / "h.toml")) as process:
        yield process.hear("admin listener at").rpartition(":")[2].strip()


TOKEN = "a token of more than sixteen bytes"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/healthz", {}, 200),
        ("GET", "/healthz", {"host": "gateway.internal"}, 200),
        ("GET", "/readyz", {}, 401),
        ("GET", "/state", {}, 401),
        ("GET", "/v1/hosts", {}, 401),
        ("GET", "/v1/hosts", {"authorization": f"Bearer {TOKEN}"}, 200),
        ("GET", "/v1/hosts", {"authorization": f"bearer {TOKEN}", "host": "gateway"}, 200),
        ("GET", "/v1/hosts", {"authorization": f"Basic {TOKEN}"}, 401),
        ("GET", "/v1/hosts", {"authorization": f"Bearer {TOKEN}x"}, 401),
        ("GET", "/v1/hosts", {"authorization": "Bearer "}, 401),
        ("POST", "/healthz", JSON, 401),
        ("POST", "/v1/hosts/127.0.0.1:9/drain", JSON, 401),
        ("POST", "/v1/hosts/127.0.0.1:9/drain", {"authorization": f"Bearer {TOKEN}"}, 415),
    ],
)
def test_a_token_opens_what_is_not_public(
    guarded: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(f"127.0.0.1:{guarded}", timeout=20)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, b"{}" if method == "POST" else None, given)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == status
    assert (response.headers["www-authenticate"] == "Bearer") is (status == 401)


def test_commands_take_the_token_from_a_file_or_a_variable(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"127.0.0.1:{guarded}"
    refused = CliRunner().invoke(app, ["status", "--url", url])
    assert (refused.exit_code, "Authorization: Bearer" in refused.stderr) == (1, True)
    (tmp_path / "token").write_text(TOKEN + "\n")
    words = ["status", "--url", url, "--token-file", str(tmp_path / "token")]
    assert CliRunner().invoke(app, words).exit_code == 0
    monkeypatch.setenv("HASHRING_ADMIN_TOKEN", TOKEN)
    assert CliRunner().invoke(app, ["status", "--url", url]).exit_code == 0
