"""The access log of a real gateway: the log commands count what each host served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.serving import PATIENCE, ROOT
from tests.gateway.recorder import recorder
from tests.gateway.running import ask, get

FORMS = ("text", "json")
FORMATS = {"text": "gateway", "json": "gateway-json"}
CLIENTS = {f"user-{number}": number % 5 + 1 for number in range(40)}
"""Each client with its number of requests."""


@dataclass(frozen=True)
class Logged:
    """A log, and the requests that each host received, with those of each client."""

    log: str
    hosts: dict[str, int]
    by_client: dict[str, int]

    @property
    def names(self) -> str:
        return ",".join(self.hosts)


async def drive(folder: Path, form: str, more: str, anonymous: int) -> Logged:
    """Serve ``CLIENTS`` and requests without a client over four hosts by a gateway process."""
    async with contextlib.AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(recorder()) for _ in range(4)]
        names = ", ".join(f'"{host.address}"' for host in hosts)
        (folder / "hashring.toml").write_text(
            f'[pool]\nhosts = [{names}]\n[identity]\nsources = ["header:x-user"]\n'
            "[tokens]\nenabled = false\n"
            f'[gateway]\nlisten = "127.0.0.1:0"\naccess_log = "{form}"\n{more}'
        )
        with (folder / "gateway.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hashring", "serve", str(folder / "hashring.toml"),
                stdout=log, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
            )  # fmt: skip
        try:
            front = await address_of(process)
            turns = [user for user, count in CLIENTS.items() for _ in range(count)]
            requests = [get("/item?x=1", f"X-User: {user}") for user in turns]
            for request in [*requests, *[get("/")] * anonymous]:
                assert (await ask(front, request)).status == 200
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                _, rest = await process.communicate()
            assert process.returncode == 0, rest.decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        served = {host.address: len(host.requests) for host in hosts}
        users = Counter(user_of(head) for host in hosts for head, _ in host.requests)
    assert users == Counter({**CLIENTS, "": anonymous})
    return Logged(str(folder / "gateway.log"), served, CLIENTS)


async def address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(PATIENCE):
        while " at http://" not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    return said.rpartition(" at http://")[2].split()[0]


def user_of(head: bytes) -> str:
    fields = (line.partition(b":") for line in head.split(b"\r\n"))
    found = (value.strip() for name, _, value in fields if name.lower() == b"x-user")
    return next(found, b"").decode()


def result(run: Run, *args: str) -> dict[str, Any]:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_gateway_log_has_what_each_host_served(run: Run, tmp_path: Path, form: str) -> None:
    logged = asyncio.run(drive(tmp_path, form, "", 7))
    assert sum(logged.hosts.values()) == sum(CLIENTS.values()) + 7
    for command in ("spread", "plan", "simulate"):
        change = () if command == "spread" else ("--add", "new:1")
        report = result(run, command, logged.log, "--hosts", logged.names, *change)
        log = report["log"]
        assert log["format"] == FORMATS[form]
        assert log["served"] == {host: n for host, n in logged.hosts.items() if n}
        assert (log["clients"], log["used"]) == (len(CLIENTS), sum(CLIENTS.values()))
        assert [(bad["kind"], bad["lines"]) for bad in log["kinds"]] == [("without a client", 7)]
        assert any("keyed hashes" in warning for warning in log["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_plain_clients_are_placed_as_the_gateway_did(run: Run, tmp_path: Path, form: str) -> None:
    logged = asyncio.run(drive(tmp_path, form, 'access_log_client = "plain"\n', 0))
    report = result(run, "spread", logged.log, "--hosts", logged.names)
    assert {host["host"]: host["requests"] for host in report["hosts"]} == logged.hosts
    assert {hot["client"]: hot["requests"] for hot in report["hottest"]}.items() <= CLIENTS.items()
    assert not any("keyed hashes" in warning for warning in report["log"]["warnings"])

    report = result(run, "plan", logged.log, "--hosts", logged.names, "--add", "new:1")
    before = {host["host"]: host["requests_before"] for host in report["hosts"]}
    assert before == {**logged.hosts, "new:1": 0}

    report = result(run, "simulate", logged.log, "--hosts", logged.names)
    served = report["outcomes"][0]["served"]
    assert served == {host: n for host, n in logged.hosts.items() if n}
