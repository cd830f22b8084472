"""What a client, a host, a log's reader or a registry may cost the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hashring import DiscoveryError, LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.discovery import _http
from hashring.discovery.file import FileSource, parse
from hashring.gateway.line_writer import LineWriter
from tests.gateway.running import Response, gateway_to, get, hang_up, opened, response, served


async def host_of(answer: bytes, seen: list[bytes]) -> tuple[asyncio.Server, str]:
    """A host that answers each request with ``answer``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_host = True
        while with_host:
            try:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
            except (EOFError, ConnectionError):
                with_host = False
            else:
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def asked(answer: bytes, *lines: str, **options: object) -> tuple[Response, list[bytes]]:
    """The gateway's response to one request, and what its only host has read."""
    seen: list[bytes] = []
    server, address = await host_of(answer, seen)
    async with server, served(gateway_to(address, **options)) as front:
        reader, writer = await opened(front)
        writer.write(get("/", *lines))
        found = await response(reader)
        await hang_up(writer)
    return found, seen


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_the_proxy_header_does_not_reach_the_host() -> None:
    found, seen = asyncio.run(asked(OK, "Proxy: http://evil", "X-Proxy: fine"))
    assert found.status == 200
    assert b"\r\nproxy:" not in seen[0].lower()
    assert b"x-proxy: fine" in seen[0].lower()


@pytest.mark.parametrize(
    ("control", "is_shared"),
    [(b"public, max-age=60", True), (b"s-maxage=60", True), (b"max-age=60", False), (b"", False)],
)
def test_a_token_on_a_cacheable_response_is_not_for_caches(control: bytes, is_shared: bool) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nCache-Control: " + control + b"\r\n\r\n")

    async def main() -> Response:
        seen: list[bytes] = []
        server, address = await host_of(answer, seen)
        gateway = gateway_to(address)
        tokens = TokenAffinity(gateway.lb, Tokens(b"sixteen or more random bytes"))
        gateway = type(gateway)(gateway.lb, tokens=tokens)
        async with server, served(gateway) as front:
            reader, writer = await opened(front)
            writer.write(get("/"))
            found = await response(reader)
            await hang_up(writer)
        return found

    found = asyncio.run(main())
    assert found.header(b"set-cookie") is not None
    controls = [value for name, value in found.headers if name.lower() == b"cache-control"]
    assert (b'no-cache="set-cookie"' in controls) is is_shared


def test_planted_cookies_do_not_hide_the_token() -> None:
    tokens = Tokens(b"sixteen or more random bytes")
    affinity = TokenAffinity(LoadBalancer(["web1", "web2"]), tokens)
    token = tokens.issue(tokens.new_client(), "web1")
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    for planted in (["x"] * 500, [forged] * 20, ["x"] * 100 + [forged] * 20):
        header = "; ".join(f"hashring={value}" for value in [*planted, token])
        assert affinity.visit(header).prefer == "web1"


def test_a_response_that_is_not_valid_http_ejects_no_host() -> None:
    long = b"HTTP/1.1 302 Found\r\nLocation: /" + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"

    async def main() -> list[bool]:
        seen: list[bytes] = []
        server, address = await host_of(long, seen)
        gateway = gateway_to(address)
        async with server, served(gateway) as front:
            for _ in range(6):
                reader, writer = await opened(front)
                writer.write(get("/"))
                assert (await response(reader)).status == 502
                await hang_up(writer)
        return [load.failed > 0 for load in map(gateway.lb.load, gateway.lb.snapshot.members)]

    assert asyncio.run(main()) == [False]


def test_sighup_before_the_gateway_is_ready_ends_nothing(tmp_path: Path) -> None:
    config = tmp_path / "hashring.toml"
    config.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\n[pool]\nhosts = ["127.0.0.1:1"]\n'
        '[health]\nprobe = "none"\n'
    )
    command = [sys.executable, "-m", "hashring", "serve", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "listen" in line or "http" in line or "serving" in line:
                break
        for _ in range(5):
            process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
        process.stdout.close()


def test_a_reader_that_stalls_costs_lines_and_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stalled:
        os.set_blocking(writing, False)
        for size in (4096, 1):  # full to the last byte, or the writer may catch up between lines
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b" " * size)
        os.set_blocking(writing, True)
        monkeypatch.setattr(sys, "stdout", stalled)
        write = LineWriter(limit=100)
        for number in range(5_000):
            write(f"{number} {'x' * 200}\n")
        assert write.lost > 0
        assert caplog.text.count("the access log loses lines") == 1
        got = bytearray()

        def drain() -> None:
            while part := os.read(reading, 65536):
                got.extend(part)

        reader = threading.Thread(target=drain)
        reader.start()
        write.flush(30)
        monkeypatch.undo()
    reader.join(30)
    os.close(reading)
    assert got.count(b"\n") + write.lost == 5_000


def test_a_full_disk_loses_lines_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        write = LineWriter()
        for _ in range(3):
            write("line\n")
            write.flush(30)
        monkeypatch.undo()
    assert write.lost == 3
    assert caplog.text.count("No space left on device") == 1


def test_a_name_given_twice_in_a_large_file_is_named() -> None:
    pairs = ",".join(f'"host{number}": 1' for number in range(50_000))
    with pytest.raises(DiscoveryError, match="'host49999' is given twice"):
        parse(b'{"hosts": {' + pairs.encode() + b', "host49999": 1}}', "json")


def test_a_hosts_file_that_is_a_pipe_or_too_large_is_refused(tmp_path: Path) -> None:
    async def first(path: Path) -> object:
        return await anext(FileSource(path).watch())

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DiscoveryError, match="is not a regular file"):
        asyncio.run(first(tmp_path / "pipe"))
    with (tmp_path / "large").open("wb") as large:
        large.truncate(65 << 20)
    with pytest.raises(DiscoveryError, match="has more than 64 MiB"):
        asyncio.run(first(tmp_path / "large"))


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_registry_cannot_fill_the_memory(coding: str) -> None:
    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            size = 80 << 20
            body = zlib.compress(bytes(size), 9, 31) if coding == "gzip" else b""
            self.send_header("Content-Length", str(len(body) or size))
            if coding == "gzip":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            try:
                self.wfile.write(body)
                for _ in range(0 if body else size >> 16):
                    self.wfile.write(bytes(65536))
            except OSError:
                pass  # the client has left, as it should

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    async def ask() -> None:
        url = f"http://127.0.0.1:{server.server_port}"
        async with _http.client("consul", url, timeout=30) as client:
            await _http.fetch(client, "GET", "/")

    expected = "content coding 'gzip'" if coding == "gzip" else "more than 64 MiB"
    try:
        with pytest.raises(DiscoveryError, match=expected):
            asyncio.run(ask())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
