"""Does the check say what a running gateway has that a file has not, and how many keys move?"""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hashring import LoadBalancer, config
from hashring.cli._running import running_of
from hashring.errors import HashringError
from hashring.gateway import Gateway, serve, state
from tests.cli.conftest import Run

SECRET = "0123456789abcdef0123456789abcdef"
PLAIN = """\
[pool]
hosts = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]
[health]
probe = "none"
[tokens]
enabled = false
"""


@contextmanager
def running(text: str, name: str = "there.toml") -> Iterator[tuple[str, LoadBalancer]]:
    """A gateway of these settings in a thread: its admin listener's URL, and its balancer."""
    Path(name).write_text(text)
    gateway = Gateway.from_settings(config.read(name))
    told: Future[str] = Future()
    end: Future[Any] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        end.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        await serve(
            gateway,
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            linger=0,
            started=lambda _, back: told.set_result(f"http://{back}"),
            stop=stop,
        )

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        yield told.result(30), gateway.lb
    finally:
        end.result(30)()
        thread.join()


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that is no gateway."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def against(run: Run, text: str, url: str) -> tuple[int, dict[str, Any]]:
    """What ``check`` says of a file with this text, as JSON."""
    Path("here.toml").write_text(text)
    done = run("check", "here.toml", "--against", url, "--json")
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def parts(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["part"]: (each["ours"], each["theirs"]) for each in report["differences"]}


def test_equal_pools_are_equal_and_exit_with_0(run: Run) -> None:
    with running(PLAIN) as (url, lb):
        Path("here.toml").write_text(PLAIN)
        done = run("check", "here.toml", "--against", url)
        assert done.exit_code == 0, done.output
        ours, theirs, verdict = done.stdout.splitlines()
        assert ours.split() == ["here.toml", lb.fingerprint]
        assert theirs.split() == [url, lb.fingerprint]
        assert verdict == "equal: every key goes to the same host"
        code, report = against(run, PLAIN, f"{url}/state")
    assert code == 0
    assert report["equal"] is True
    assert report["fingerprint"] == report["fingerprint_there"] == lb.fingerprint
    assert report["differences"] == []
    assert report["moved"] == report["moved_now"] == 0


def test_hosts_weights_and_addresses_that_differ_are_named(run: Run) -> None:
    here = PLAIN.replace('"127.0.0.1:9001"', '{address = "127.0.0.1:9001", weight = 2}')
    here = here.replace('"127.0.0.1:9002"', '{name = "127.0.0.1:9002", address = "127.0.0.1:1"}')
    here = here.replace("127.0.0.1:9003", "127.0.0.1:9004")
    with running(PLAIN) as (url, lb):
        code, report = against(run, here, url)
        done = run("check", "here.toml", "--against", url)
        after = config.balancer(config.read("here.toml"))
        keys = [f"key-{number}" for number in range(5000)]
        moved = sum(lb.pick(key).name != after.pick(key).name for key in keys) / len(keys)
    assert code == done.exit_code == 1
    assert parts(report) == {
        "host 127.0.0.1:9003": ("not in", "in"),
        "host 127.0.0.1:9004": ("in", "not in"),
        "weight of 127.0.0.1:9001": ("2", "1"),
        "address of 127.0.0.1:9002": ("127.0.0.1:1", "127.0.0.1:9002"),
    }
    assert report["equal"] is False
    # 5,000 and 10,000 keys: 4 sigma are 4 * sqrt(1/4 * (1/5000 + 1/10000)) = 0.035
    assert report["moved"] == pytest.approx(moved, abs=0.035)
    assert "4 differences (file | gateway)" in done.stdout
    assert "  weight of 127.0.0.1:9001: 2 | 1\n" in done.stdout
    assert f"{report['moved']:.1%} of all keys would move\n" in done.stdout


def test_a_new_address_alone_differs_and_moves_no_client(run: Run) -> None:
    here = PLAIN.replace('"127.0.0.1:9002"', '{name = "127.0.0.1:9002", address = "127.0.0.1:1"}')
    with running(PLAIN) as (url, _):
        code, report = against(run, here, url)
    assert (code, report["moved"]) == (1, 0)
    assert list(parts(report)) == ["address of 127.0.0.1:9002"]


def test_who_is_down_or_draining_is_named_and_counts_now(run: Run) -> None:
    with running(PLAIN) as (url, lb):
        lb.mark_down("127.0.0.1:9001", "maintenance")
        with warnings.catch_warnings(action="ignore"):  # that nobody keeps its sessions
            lb.drain("127.0.0.1:9002")
        code, report = against(run, PLAIN, url)
        done = run("check", "here.toml", "--against", url)
    assert code == 1
    assert parts(report) == {
        "state of 127.0.0.1:9001": ("up", "down"),
        "state of 127.0.0.1:9002": ("up", "draining"),
    }
    assert report["moved"] == 0
    assert report["moved_now"] == pytest.approx(2 / 3, abs=0.1)  # two of three hosts' arcs
    assert f"0.0% of all keys would move ({report['moved_now']:.1%} as hosts are up now)" in (
        done.stdout
    )


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("[placement]\nseed = 7\n", {"placement.seed": ("7", "0")}),
        ("[placement]\nvnodes = 64\n", {"placement.vnodes": ("64", "512")}),
        ('[placement]\nname = "rendezvous"\n', {"placement": ("rendezvous", "ring")}),
    ],
)
def test_the_placement_and_each_of_its_options_are_compared(
    run: Run, more: str, found: dict[str, tuple[str, str]]
) -> None:
    with running(PLAIN) as (url, _):
        code, report = against(run, PLAIN + more, url)
    assert code == 1
    assert parts(report) == found
    assert 0.1 < report["moved"] < 0.9


@pytest.mark.parametrize(
    "placement",
    ["ring", "envoy-maglev", "haproxy-consistent", "nginx-consistent", "ketama", "jump", "modulo"],
)
def test_every_kind_of_placement_is_rebuilt(run: Run, placement: str) -> None:
    text = f'{PLAIN}[placement]\nname = "{placement}"\n'
    with running(text) as (url, _):
        code, report = against(run, text, url)
        assert (code, report["moved"]) == (0, 0), report
        code, report = against(run, text.replace(":9003", ":9004"), url)
    assert code == 1
    assert report["moved"] > 0.2


def test_secrets_are_compared_and_never_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", SECRET)
    monkeypatch.setenv("OTHER", SECRET[::-1])
    one, other = (f'{PLAIN}[placement]\nkey_secret_env = "{n}"\n' for n in ("ONE", "OTHER"))
    with running(one) as (url, _):
        assert against(run, one, url)[0] == 0
        code, changed = against(run, other, url)
        assert code == 1
        assert parts(changed) == {"secret": ("one secret", "another secret")}
        assert 0.5 < changed["moved"] < 0.8  # 1 - 1/3: three hosts, placed anew
        code, without = against(run, PLAIN, url)
        assert parts(without) == {"secret": ("no secret", "a secret")}
        assert not any(part in str((changed, without)) for part in (SECRET, SECRET[::-1]))


def test_without_a_placement_no_number_is_made_up(run: Run) -> None:
    text = f'{PLAIN}[placement]\nname = "none"\n'
    with running(text) as (url, _):
        assert against(run, text, url)[0] == 0
        code, report = against(run, PLAIN, url)
        done = run("check", "here.toml", "--against", url)
    assert (code, report["moved"]) == (1, None)
    assert parts(report) == {"placement": ("ring", "none")}
    assert done.stdout.endswith("the number of keys that would move is unknown\n")


def test_with_a_source_its_answer_is_compared(run: Run) -> None:
    hosts = "a@127.0.0.1:9001,b@127.0.0.1:9002,c=0@127.0.0.1:9003"
    text = f'[discovery]\nurl = "static:{hosts}"\n[health]\nprobe = "none"\n'
    text += "[tokens]\nenabled = false\n"
    with running(text) as (url, _):
        assert against(run, text, url)[0] == 0
        code, report = against(run, text.replace("c=0@", "c@"), url)
        assert code == 1
        assert parts(report) == {"state of c": ("up", "draining")}
        Path("here.toml").write_text('[discovery]\nurl = "file:none.txt"\nwait = 0.1\n')
        done = run("check", "here.toml", "--against", url)
    assert done.exit_code == 1
    assert done.stderr == (
        "hashring: file:none.txt: none.txt cannot be read: No such file or directory\n"
    )
    assert done.stdout == ""


def test_another_server_is_one_line(run: Run) -> None:
    Path("here.toml").write_text(PLAIN)
    for status, body, said in (
        (
            404,
            b"no",
            "returned no JSON for /state (status 404): is it the admin listener of a gateway?",
        ),
        (200, b"<html>", "returned no JSON for /state (status 200)"),
        (200, b"[]", "this is not the state of a gateway"),
    ):
        with answering(status, body) as url:
            done = run("check", "here.toml", "--against", url)
        assert done.exit_code == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = run("check", "here.toml", "--against", url)  # nobody is there any more
    assert done.exit_code == 1
    assert "does not answer: Connection refused" in done.stderr
    for wrong in ("https://127.0.0.1:1", "127.0.0.1", "http://127.0.0.1:x", "http://[::1"):
        done = run("check", "here.toml", "--against", wrong)
        assert done.exit_code == 3
        assert "an admin listener has a URL such as" in done.stderr


def test_problems_come_before_any_comparison(run: Run) -> None:
    Path("here.toml").write_text("[pool]\nhosts = 1\n")
    done = run("check", "here.toml", "--against", "http://127.0.0.1:1")
    assert done.exit_code == 3
    assert done.stderr.startswith("here.toml:2: pool.hosts: ")


def test_a_gateway_made_by_hand_is_read_too() -> None:
    found = running_of(json.loads(json.dumps(state(Gateway(LoadBalancer(["a", ("b", 2)]))))))
    assert (found.placement, dict(found.options)) == ("ring", {"seed": 0, "vnodes": 512})
    assert [(host.name, host.weight) for host in found.hosts] == [("a", 1.0), ("b", 2.0)]
    with pytest.raises(HashringError, match="not the state of a gateway"):
        running_of({"fingerprint": "x"})


def test_a_name_from_the_gateway_cannot_write_to_the_terminal(run: Run) -> None:
    Path("here.toml").write_text(PLAIN)
    evil = state(Gateway(LoadBalancer(["127.0.0.1:9001"])))
    evil["hosts"][0]["name"] = "\x1b[31mred"
    with answering(200, json.dumps(evil).encode()) as url:
        done = run("check", "here.toml", "--against", url)
    assert done.exit_code == 1
    assert "\x1b" not in done.output
