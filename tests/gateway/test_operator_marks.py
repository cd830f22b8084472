"""Marks by hand over a restart, and the admin listener at a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.cli._running import AdminClient
from hashring.errors import HashringError
from hashring.gateway import Gateway, serve
from hashring.gateway.operator_marks import HostAction, OperatorMarks

HOSTS = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]


@contextlib.asynccontextmanager
async def admin_of(tmp_path: Path) -> AsyncIterator[tuple[AdminClient, Gateway]]:
    """A gateway whose admin listener is a Unix socket, and a client of that."""
    stop, ready = asyncio.Event(), asyncio.Event()
    lb, socket = LoadBalancer(HOSTS), tmp_path / "admin.sock"
    gateway = Gateway(lb, tokens=TokenAffinity(lb, Tokens(b"a secret that only tests know")))
    task = asyncio.create_task(
        serve(
            gateway,
            listen="127.0.0.1:0",
            admin=f"unix:{socket}",
            linger=0,
            grace=1,
            started=lambda *_: ready.set(),
            stop=stop,
            state_file=str(tmp_path / "marks"),
        )
    )
    await asyncio.wait_for(ready.wait(), 30)
    try:
        assert socket.stat().st_mode & 0o777 == 0o600
        yield AdminClient(f"unix:{socket}"), gateway
    finally:
        stop.set()
        await task


async def post(client: AdminClient, path: str, **values: Any) -> Any:
    return await asyncio.to_thread(client.post, path, values)


def test_a_restart_keeps_what_operators_did(tmp_path: Path) -> None:
    async def main() -> None:
        async with admin_of(tmp_path) as (client, _):
            await post(client, f"/v1/hosts/{HOSTS[0]}/drain", reason="deploy")
            await post(client, f"/v1/hosts/{HOSTS[1]}/down", reason="disk")
            await post(client, f"/v1/hosts/{HOSTS[2]}/weight", weight=2.5)
        for _ in range(2):  # twice: what was read is kept as well
            async with admin_of(tmp_path) as (client, gateway):
                states = [gateway.lb.state(host) for host in HOSTS]
                assert states == ["draining", "down", "up"]
                assert gateway.lb.hosts[2].weight == 2.5
                found = await asyncio.to_thread(client.get, "/v1/hosts")
                assert [each["state"] for each in found["hosts"]] == states
        async with admin_of(tmp_path) as (client, gateway):
            await post(client, f"/v1/hosts/{HOSTS[0]}/resume")
            await post(client, f"/v1/hosts/{HOSTS[1]}/up")
        async with admin_of(tmp_path) as (_, gateway):
            assert [gateway.lb.state(host) for host in HOSTS] == ["up"] * 3

    asyncio.run(main())


def test_a_deadline_goes_on_while_nothing_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "marks")
    OperatorMarks(path, now=lambda: 1000.0).record(HostAction("web1", "drain", deadline=60.0))
    later = OperatorMarks(path, now=lambda: 1050.0)
    assert [each.deadline for each in later.actions()] == [10.0]
    assert [each.deadline for each in OperatorMarks(path, now=lambda: 2e9).actions()] == [0.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "nonsense",
        '{"hashring_marks": 2, "n": 0}',
        '{"hashring_marks": 1, "n": 1}',
        '{"hashring_marks": 1, "n": 1}\n[{"host": "a", "action": "explode"}, 0]',
        '{"hashring_marks": 1, "n": 1}\n[{"host": 5, "action": "down"}, 0]',
        '{"hashring_marks": 1, "n": 1}\n[{"name": "a"}, 0]',
        "[" * 100_000,
        "\u00e9",
    ],
)
def test_a_damaged_file_is_reported_and_ignored(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "marks"
    path.write_text(text, encoding="utf-8")
    marks = OperatorMarks(str(path))
    assert list(marks.actions()) == []
    assert "is not usable and is ignored" in caplog.text
    marks.record(HostAction("web1", "down"))  # it is written anew
    assert [each.host for each in OperatorMarks(str(path)).actions()] == ["web1"]


def test_a_file_that_cannot_be_written_costs_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marks = OperatorMarks(str(tmp_path / "none" / "marks"))
    marks.record(HostAction("web1", "down"))
    assert [each.host for each in marks.actions()] == ["web1"]
    assert "a restart will forget" in caplog.text


def test_a_crash_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    marks = OperatorMarks(str(path))
    for number in range(3):
        marks.record(HostAction(f"web{number}", "down"))
        head, *lines = path.read_text().splitlines()
        assert json.loads(head)["n"] == len(lines) == number + 1
    assert list(tmp_path.iterdir()) == [path]


def test_an_admin_client_of_no_socket(tmp_path: Path) -> None:
    with pytest.raises(HashringError, match=r"admin\.sock does not answer: No such file"):
        AdminClient(f"unix:{tmp_path / 'admin.sock'}").get("/v1/status")
