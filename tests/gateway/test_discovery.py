"""Do gateways that never talk to each other agree, because they follow one source?"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hashring.cli._app import app
from tests.cli.serving import PATIENCE, Serving, hosts, serving
from tests.discovery.etcd_server import EtcdServer
from tests.waiting import wait_until

CLIENTS = [f"session-{number}" for number in range(1000)]
SETTINGS = """\
[discovery]
url = "{url}"
{discovery}
[identity]
sources = ["header:x-session"]
[tokens]
enabled = false
[gateway]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
linger = 0
{more}
"""


def written(path: Path, url: str, *, pool: str = "", discovery: str = "", more: str = "") -> str:
    """Write a file that follows ``url``, at once as careful editors do; its path."""
    fresh = path.with_suffix(".new")
    fresh.write_text(pool + SETTINGS.format(url=url, discovery=discovery, more=more))
    fresh.replace(path)
    return str(path)


def admin(running: Serving, page: str) -> tuple[int, dict[str, Any]]:
    line = running.hear("admin listener at")
    connection = http.client.HTTPConnection(
        line.partition("http://")[2].partition("/")[0], timeout=PATIENCE
    )
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def state(running: Serving) -> dict[str, Any]:
    return admin(running, "/state")[1]


def names(running: Serving) -> set[str]:
    return {host["name"] for host in state(running)["hosts"]}


def hosts_by_state(running: Serving) -> dict[str, str]:
    return {host["name"]: host["state"] for host in state(running)["hosts"]}


class Asking:
    """One connection to a gateway; every answer that is no 200 is ``failed``."""

    def __init__(self, running: Serving) -> None:
        self._connection = http.client.HTTPConnection(running.address, timeout=PATIENCE)
        self.failed: list[str] = []
        self.count = 0

    def host_of(self, client: str) -> str:
        self._connection.request("GET", "/anonymous", headers={"x-session": client})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self.failed.append(f"{client}: {answer.status} {body[:200]!r}")
            return ""
        found: str = json.loads(body)["host"]
        return found

    def all_hosts(self) -> dict[str, str]:
        return {client: self.host_of(client) for client in CLIENTS}

    def close(self) -> None:
        self._connection.close()


@contextmanager
def asking(*gateways: Serving) -> Iterator[list[Asking]]:
    found = [Asking(gateway) for gateway in gateways]
    try:
        yield found
    finally:
        for each in found:
            each.close()


@contextmanager
def asking_steadily(*gateways: Serving) -> Iterator[list[Asking]]:
    """Each gateway is asked without a pause, in a thread, until the block ends."""
    over = threading.Event()

    def ask(one: Asking) -> None:
        for client in cycle(CLIENTS):
            if over.wait(0.005):  # two cores serve clients, gateways, hosts and etcd
                return
            try:
                one.host_of(client)
            except (OSError, http.client.HTTPException) as error:
                one.failed.append(repr(error))
                return
            one.count += 1

    with asking(*gateways) as found:
        threads = [threading.Thread(target=ask, args=(one,)) for one in found]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            over.set()
            for thread in threads:
                thread.join()


def wait_for(true: Callable[[], Any], *gateways: Serving) -> None:
    wait_until(true, lambda: [(state(gateway), gateway.said) for gateway in gateways])


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path) as server:
        yield server


def test_two_gateways_on_one_prefix_agree_after_a_change(
    etcd: EtcdServer, tmp_path: Path, report_line: Callable[[str, str], None]
) -> None:
    with ExitStack() as stack:
        addresses = stack.enter_context(hosts("a", "b", "c", "d"))
        for name, address in zip("abc", addresses, strict=False):
            etcd.put(name, address)
        file = written(tmp_path / "h.toml", etcd.url)
        one, two = (stack.enter_context(serving(file, listen="")) for _ in range(2))
        ask_one, ask_two = stack.enter_context(asking(one, two))
        steady = stack.enter_context(asking_steadily(one, two))

        before = ask_one.all_hosts()
        assert ask_two.all_hosts() == before
        assert set(before.values()) == set("abc")
        assert state(one)["fingerprint"] == state(two)["fingerprint"]

        etcd.put("d", addresses[3])
        wait_for(lambda: names(one) == names(two) == {*"abcd"}, one, two)
        after = ask_one.all_hosts()
        assert ask_two.all_hosts() == after
        assert state(one)["fingerprint"] == state(two)["fingerprint"]
        moved = {client for client in CLIENTS if before[client] != after[client]}
        assert moved
        assert {after[client] for client in moved} == {"d"}

        etcd.kill()
        wait_for(lambda: state(one)["discovery"]["last_error"], one)
        wait_for(lambda: state(two)["discovery"]["last_error"], two)
        assert ask_one.all_hosts() == ask_two.all_hosts() == after
        assert admin(one, "/readyz") == (200, {"ready": True})

        etcd.start()
        etcd.delete("a")
        wait_for(lambda: names(one) == names(two) == {*"bcd"}, one, two)
        last = ask_one.all_hosts()
        assert ask_two.all_hosts() == last
        stayed = {client for client in CLIENTS if after[client] != "a"}
        assert all(last[client] == after[client] for client in stayed)
        for running in (one, two):
            url = running.hear("admin listener at").rpartition(" ")[2]
            done = CliRunner().invoke(app, ["check", file, "--against", url])
            assert done.exit_code == 0, done.output
        assert [each.failed for each in (ask_one, ask_two, *steady)] == [[]] * 4
        assert all(each.count > 100 for each in steady)

    lost = len(CLIENTS) - len(stayed)
    for when in (
        "before",
        f"after d came: {len(moved)} moved, all of them to d",
        "while etcd was dead",
        f"after a went: {lost} moved, all of them from a",
    ):
        report_line(
            "two gateways on one etcd prefix", f"{len(CLIENTS):,} clients, same hosts {when}"
        )
    assert not any("Traceback" in line for line in (*one.said, *two.said))


def test_an_end_by_a_signal_ends_the_watch(etcd: EtcdServer, tmp_path: Path) -> None:
    etcd.put("a", "127.0.0.1:9")
    file = written(tmp_path / "h.toml", etcd.url, more='[health]\nprobe = "none"')
    with serving(file, listen="") as one, serving(file, listen="") as two:
        assert names(one) == names(two) == {"a"}
        assert one.end() == two.end() == 0
    assert not any("Traceback" in line for line in (*one.said, *two.said))


def test_it_is_ready_when_the_source_has_named_a_host(tmp_path: Path) -> None:
    source = tmp_path / "hosts.txt"
    file = written(tmp_path / "h.toml", f"file:{source}", discovery="wait = 0.1")
    with hosts("a") as (one,), serving(file, listen="") as running:
        assert admin(running, "/readyz") == (503, {"ready": False})
        found = state(running)
        assert found["discovery"]["last_error"]
        assert found["hosts"] == []
        source.write_text(f"a@{one}\n")
        wait_for(lambda: admin(running, "/readyz")[0] == 200, running)
        assert running.end() == 0


def test_hosts_of_the_file_serve_until_the_source_answers(tmp_path: Path) -> None:
    source = tmp_path / "hosts.txt"
    with hosts("a", "b") as (one, two):
        pool = f'[pool]\nhosts = [{{name = "a", address = "{one}"}}]\n'
        url = f"file:{source}"
        file = written(tmp_path / "h.toml", url, pool=pool, discovery="wait = 0.1")
        with serving(file, listen="") as running, asking(running) as (ask,):
            assert ask.host_of("x") == "a"
            source.write_text(f"b@{two}\n")
            wait_for(lambda: names(running) == {"b"}, running)
            assert ask.host_of("x") == "b"
            assert ask.failed == []


def test_a_reload_keeps_the_pool_of_the_source_and_its_drains(tmp_path: Path) -> None:
    source, path = tmp_path / "hosts.txt", tmp_path / "h.toml"
    with hosts("a", "b") as (one, two):
        source.write_text(f"a@{one}\nb=0@{two}\n")
        url = f"file:{source}"
        with serving(written(path, url), listen="") as running, asking(running) as (ask,):
            assert hosts_by_state(running) == {"a": "up", "b": "draining"}
            source.unlink()  # from here on the source is down
            wait_for(lambda: state(running)["discovery"]["last_error"], running)
            written(path, url, discovery="wait = 0.1\n", more="[limits]\nretries = 1\n")
            running.hear("new settings: 2 hosts")
            assert hosts_by_state(running) == {"a": "up", "b": "draining"}
            assert ask.host_of("x") == "a"
            source.write_text(f"a@{one}\nb@{two}\n")
            wait_for(lambda: hosts_by_state(running) == {"a": "up", "b": "up"}, running)
            assert ask.failed == []
            assert running.end() == 0
    assert not any("Traceback" in line for line in running.said)


def test_another_source_and_then_none_are_taken_at_a_reload(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    with ExitStack() as stack:
        one, two, three = stack.enter_context(hosts("a", "b", "c"))
        file = written(path, f"static:a=0@{one},b@{two}")
        running = stack.enter_context(serving(file, listen=""))
        assert hosts_by_state(running) == {"a": "draining", "b": "up"}
        written(path, f"static:b@{two},c@{three}")
        wait_for(lambda: names(running) == {"b", "c"}, running)
        assert state(running)["discovery"]["source"] == "static:b,c"
        path.write_text(
            f'[pool]\nhosts = [{{name = "a", address = "{one}"}}]\n[gateway]\nlinger = 0\n'
        )
        wait_for(lambda: hosts_by_state(running) == {"a": "up"}, running)
        assert state(running)["discovery"] is None
        assert running.end() == 0


def test_hosts_of_the_file_change_nothing_after_the_source(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    with hosts("a", "b") as (one, two):
        url = f"static:a@{one}"
        with serving(written(path, url), listen="") as running:
            running.hear("admin listener at")
            written(path, url, pool=f'[pool]\nhosts = ["{two}"]\n')
            running.hear("static:a lists the hosts")
            assert names(running) == {"a"}
            assert running.end() == 0


def test_a_source_is_given_on_the_command_line() -> None:
    with hosts("a") as (one,), serving("--discover", f"static:a@{one}") as running:
        assert running.address
        assert "serving 1 host at" in running.hear("serving")
        assert running.end() == 0


def test_hosts_of_the_file_serve_while_the_source_is_silent(tmp_path: Path) -> None:
    path, url = tmp_path / "h.toml", f"file:{tmp_path / 'hosts.txt'}"
    with hosts("a", "b") as (one, two):
        pool = '[pool]\nhosts = ["{}"]\n'
        file = written(path, url, pool=pool.format(one), discovery="wait = 0.1")
        with serving(file, listen="") as running, asking(running) as (ask,):
            assert ask.host_of("x") == "a"
            written(path, url, pool=pool.format(two), discovery="wait = 0.1")
            wait_for(lambda: names(running) == {two}, running)
            assert ask.host_of("x") == "b"
            assert ask.failed == []


def test_addresses_that_name_no_port_are_reported(tmp_path: Path) -> None:
    source = tmp_path / "hosts.txt"
    source.write_text("web1\nweb2:80\n")
    with serving("--discover", f"file:{source}", "--listen", "127.0.0.1:0") as running:
        line = running.hear("cannot be reached without a port")
    assert "1 host of 2 cannot be reached without a port in the address: web1" in line
