"""Does ``hashring serve`` keep sessions, through reloads, restarts and its own end?"""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.serving import Serving, Session, crowd, hosts, serving
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
]
NEW = "new settings: "
KEPT = "the settings stay as they were: "


def config(path: Path, addresses: list[str], more: str = "") -> str:
    """Write a file that names hosts, at once as careful editors do; its path."""
    named = ", ".join(f'"{address}"' for address in addresses)
    fresh = path.with_suffix(".new")
    fresh.write_text(f"[pool]\nhosts = [{named}]\n{more}")
    fresh.replace(path)
    return str(path)


def all_ask(sessions: list[Session], more: int = 20) -> None:
    goals = [session.count + more for session in sessions]
    assert wait_until(lambda: all(s.count >= goal for s, goal in zip(sessions, goals, strict=True)))


def assert_unharmed(sessions: list[Session]) -> None:
    assert [session.wrong for session in sessions] == [[] for _ in sessions]
    assert all(session.count > 20 for session in sessions)


def state(running: Serving) -> dict[str, object]:
    line = running.hear("admin listener at")
    address = line.partition("http://")[2].partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/state")
    found: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_without_a_file_hosts_and_an_address_are_enough() -> None:
    with hosts("a", "b") as (one, two), serving("--host", one, "--host", f"{two}=2") as running:
        sessions = [Session(running.address) for _ in range(40)]
        for _ in range(3):
            for session in sessions:
                session.ask()
        for session in sessions:
            session.close()
            assert session.wrong == []
            assert len(set(session.hosts)) == 1
        assert {session.hosts[0] for session in sessions} == {"a", "b"}
        assert running.end() == 0
    warnings = [line for line in running.said if "no token secret is set" in line]
    assert len(warnings) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(number: signal.Signals) -> None:
    # a shell that runs the tests in the background lets its children ignore SIGINT: it has its own
    with hosts("a") as (one,), serving("--host", one) as running:
        assert running.address
        assert running.end(number) == 0
        assert not any("Traceback" in line for line in running.said)


def test_an_address_that_is_taken_is_one_line() -> None:
    with hosts("a", "b") as (one, two), serving("--host", two, listen=one) as running:
        assert running.process.wait(30) == 1
    last = running.said[-1]
    assert last.startswith(f"hashring: cannot listen on {one}: ")
    assert not any("Traceback" in line for line in running.said)


def test_tokens_outlive_a_restart_when_their_secret_is_given(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    more = f'[tokens]\nsecret_file = "{tmp_path / "secret"}"\n[placement]\nnew_clients = "fallback"'
    with hosts("a", "b") as addresses:
        file = config(tmp_path / "h.toml", addresses, more)
        with serving(file) as first:
            sessions = [Session(first.address) for _ in range(12)]
            for session in sessions:
                session.ask()
                session.close()
            first.end()
            assert not any("no token secret" in line for line in first.said)
        with serving(file) as second:
            for session in sessions:
                session._connection = http.client.HTTPConnection(second.address, timeout=30)
                session.ask()
                session.close()
            assert [session.wrong for session in sessions] == [[]] * 12


def test_a_reload_under_load_loses_no_request_or_session(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    with hosts("a", "b", "c") as addresses:
        file = config(path, addresses[:2])
        with serving(file, "--admin", "127.0.0.1:0") as running:
            with crowd(running.address) as sessions:
                all_ask(sessions)
                config(path, addresses)  # another host: the balancer takes it in
                assert "3 hosts" in running.hear(NEW)
                all_ask(sessions)
                config(path, addresses, "[limits]\nretries = 1\n")  # another gateway, in the middle
                running.hear(NEW, 2)
                all_ask(sessions)
                config(path, addresses, "[limits]\nretrys = 1\n")
                assert f"{file}:4: limits.retrys: there is no such key" in running.hear(KEPT)
                all_ask(sessions)
                running.process.send_signal(signal.SIGHUP)  # which says it once more
                running.hear(KEPT, 2)
                config(path, addresses, '[placement]\nvnodes = 64\n[health]\nprobe = "none"\n')
                running.hear(NEW, 3)
                all_ask(sessions)
            assert_unharmed(sessions)
            found = state(running)
            assert found["ready"] is True
            assert running.end() == 0
    assert not any("Traceback" in line for line in running.said)


def test_a_request_that_lasts_through_a_reload_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    with hosts("a") as addresses, serving(config(path, addresses)) as running:
        connection = http.client.HTTPConnection(running.address, timeout=30)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", "4")
        connection.endheaders(b"12")
        config(path, addresses, "[limits]\nretries = 0\n")
        running.hear(NEW)
        connection.send(b"34")
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["host"] == "a"
        connection.close()
        assert running.end() == 0


def test_sighup_without_a_change_changes_nothing(tmp_path: Path) -> None:
    with hosts("a") as addresses, serving(config(tmp_path / "h.toml", addresses)) as running:
        assert running.address
        running.process.send_signal(signal.SIGHUP)
        running.hear("the settings are as they were")
        assert running.end() == 0


def test_a_change_that_needs_a_restart_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    with hosts("a") as addresses, serving(config(path, addresses)) as running:
        assert running.address
        config(path, addresses, "[gateway]\nlinger = 2\nshutdown_grace = 3\n")
        line = running.hear("at a restart only")
        assert line.endswith(": a new gateway.shutdown_grace, gateway.linger")
        assert running.end() == 0


def test_a_file_that_is_not_watched_is_read_on_sighup(tmp_path: Path) -> None:
    path, still = tmp_path / "h.toml", "[gateway]\nwatch = false\n"
    with hosts("a", "b") as addresses, serving(config(path, addresses[:1], still)) as running:
        assert running.address
        config(path, addresses, still)
        running.process.send_signal(signal.SIGHUP)
        assert "2 hosts" in running.hear(NEW)
        assert running.end() == 0
