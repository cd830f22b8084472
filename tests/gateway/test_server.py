"""Does it start, tell its state, and end calmly?  As a process, with signals."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashring import ConfigError, LoadBalancer
from hashring.gateway import Admin, Gateway, run, serve
from tests.gateway.hosts import answering, head_of, scripted
from tests.gateway.running import ask, gateway_to, get, served

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from hashring import LoadBalancer
from hashring.gateway import Gateway, run
gateway = Gateway(LoadBalancer([sys.argv[1]]))
def started(front, back):
    print(front, back, flush=True)
def reload():
    print("reloaded", flush=True)
run(gateway, listen="127.0.0.1:0", admin="127.0.0.1:0", linger=0.5, grace=5,
    started=started, reload=reload)
print("ended", flush=True)
"""


@contextlib.contextmanager
def gateway_process(host: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    handle = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, host], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert handle.stdout is not None
        front, back = handle.stdout.readline().split()
        yield handle, front, back
    finally:
        handle.kill()
        handle.wait()
        assert handle.stdout is not None
        handle.stdout.close()


@contextlib.contextmanager
def slow_host(seconds: float) -> Iterator[str]:
    """A host in a thread, which takes its time."""
    loop = asyncio.new_event_loop()
    told: list[str] = []
    ready, over = threading.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def main() -> None:
        async with scripted(script) as host:
            told.append(host)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait()
    yield told[0]
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def fetch(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        found = connection.getresponse()
        return found.status, found.read()
    finally:
        connection.close()


def test_sigterm_reports_not_ready_and_ends_open_requests() -> None:
    with slow_host(1.0) as host, gateway_process(host) as (handle, front, back):
        assert fetch(back, "/readyz")[0] == 200
        got: list[tuple[int, bytes]] = []
        in_flight = threading.Thread(target=lambda: got.append(fetch(front, "/")))
        in_flight.start()
        while not json.loads(fetch(back, "/state")[1])["in_flight"]:
            time.sleep(0.01)
        handle.send_signal(signal.SIGTERM)
        while fetch(back, "/readyz")[0] == 200:
            time.sleep(0.01)
        assert fetch(back, "/healthz")[0] == 200
        in_flight.join()
        assert got == [(200, b"ok")]
        assert handle.wait(10) == 0
        assert handle.stdout is not None
        assert handle.stdout.read() == "ended\n"


def test_sighup_calls_reload() -> None:
    with slow_host(0) as host, gateway_process(host) as (handle, _, _):
        handle.send_signal(signal.SIGHUP)
        assert handle.stdout is not None
        assert handle.stdout.readline() == "reloaded\n"


def test_the_state_is_reported_to_local_clients_only() -> None:
    with slow_host(0) as host, gateway_process(host) as (_, front, back):
        assert fetch(front, "/")[0] == 200
        status, body = fetch(back, "/state")
        said = json.loads(body)
        assert (status, said["schema"], said["placement"]["kind"]) == (200, 1, "ring")
        assert said["placement"]["options"]["vnodes"] == 512
        (told,) = said["hosts"]
        assert (told["address"], told["state"], told["ok"]) == (host, "up", 1)
        assert said["fingerprint"] == LoadBalancer([host]).fingerprint
        assert fetch(back, "/state", Host="evil.example")[0] == 403
        assert fetch(back, "/nothing")[0] == 404
        assert fetch(front, "/state")[1] == b"ok"  # the host's: nothing is told in front


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9000", 200),
        ("127.0.0.2:9000", 200),  # an address that --admin takes
        ("127.0.0.1", 200),
        ("[::1]", 200),
        ("[::1]:9000", 200),
        ("[0:0:0:0:0:0:0:1]:9000", 200),
        ("LOCALHOST:9000", 200),
        ("localhost.evil.example:9000", 403),
        ("127.0.0.1.evil.example:9000", 403),
        ("127.0.0.1@evil.example:9000", 403),
        ("192.0.2.1:9000", 403),
        ("[::2]:9000", 403),
        ("", 403),
    ],
)
def test_the_state_is_reported_on_loopback_only(host: str, status: int) -> None:
    async def main() -> None:
        said: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is received")

        headers = [(b"host", host.encode())]
        scope = {"type": "http", "method": "GET", "path": "/state", "headers": headers}
        await Admin(gateway_to("a"))(scope, receive, send)
        assert said[0]["status"] == status

    asyncio.run(main())


@pytest.mark.parametrize("admin", ["0.0.0.0:9000", "192.0.2.1:9000", "example.org:9000"])
def test_an_admin_listener_that_others_can_reach_is_a_mistake(admin: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        run(Gateway(LoadBalancer(["a"])), listen="127.0.0.1:0", admin=admin)


@pytest.mark.parametrize("listen", ["8080", ":8080", "a:b", "127.0.0.1:99999", ""])
def test_an_address_that_is_invalid_is_a_mistake(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:8080"):
        run(Gateway(LoadBalancer(["a"])), listen=listen)


def test_a_taken_address_states_which() -> None:
    async def main() -> None:
        async with served(gateway_to("a")) as front:
            with pytest.raises(OSError, match=front):
                await serve(gateway_to("a"), listen=front)

    asyncio.run(main())


def test_a_mounted_gateway_forwards_what_is_below_its_prefix() -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    from tests.gateway.recorder import recorder

    async def main() -> None:
        async with recorder() as host, gateway_to(host.address) as gateway:
            app = Starlette(
                routes=[
                    Route("/own", lambda request: PlainTextResponse("own")),
                    Mount("/my app", app=gateway),
                ]
            )
            async with served_app(app, gateway) as front:
                assert (await ask(front, get("/own"))).body == b"own"
                for sent, seen in (
                    ("/my%20app/a%2Fb//c?x=%20", b"/a%2Fb//c?x=%20"),
                    ("/my%20app/", b"/"),
                ):
                    assert (await ask(front, get(sent))).body == seen
                assert (await ask(front, get("/my%20application"))).status == 404

    asyncio.run(main())


@contextlib.asynccontextmanager
async def served_app(app: object, gateway: Gateway):  # type: ignore[no-untyped-def]  # as served()
    """Another application on a plain uvicorn, which knows nothing of us."""
    import uvicorn

    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")  # type: ignore[arg-type]  # any application
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn tells nobody
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def test_the_end_takes_back_the_marks_of_the_monitor() -> None:
    from hashring.health import HealthMonitor

    async def main() -> None:
        async with scripted(answering(b"")) as host:
            lb = LoadBalancer([host])
            gateway = Gateway(lb, health=HealthMonitor(lb))
            async with gateway:
                assert gateway.ready
            assert not gateway.ready

    asyncio.run(main())
