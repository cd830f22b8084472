"""TLS towards clients: by real certificates, with bodies, streams and upgrades, and renewed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hashring.config import ProblemsError, read
from hashring.errors import ConfigError
from hashring.gateway import Gateway, serve
from hashring.hosts import Host
from hashring.tls import ListenerTls
from tests.gateway.running import get, response
from tests.gateway.session_hosts import PageHost, started
from tests.waiting import wait_in_loop


def make_pair(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for localhost that signs itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return str(certificate), str(key)


@contextlib.asynccontextmanager
async def tls_gateway(hosts: Sequence[Any], pair: tuple[str, str]) -> AsyncIterator[Any]:
    """A gateway whose clients connect by TLS: its port, and itself."""
    given = {
        "pool.hosts": [{"name": host.name, "address": host.address} for host in hosts],
        "tokens.secret_env": "SECRET",
        "health.probe": "none",
        "tls.certificate": pair[0],
        "tls.key": pair[1],
    }

    def settings() -> Any:
        names = dict.fromkeys(given, "of a test")
        return read(options=given, names=names, environ={"SECRET": "a secret only tests know"})

    gateway, stop = Gateway.from_settings(settings(), settings), asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            gateway,
            listen="127.0.0.1:0",
            linger=0,
            grace=1,
            tls=settings().tls,
            started=lambda front, _: ready.set_result(front),
            stop=stop,
        )
    )
    try:
        address = await asyncio.wait_for(ready, 30)
        yield int(address.rpartition(":")[2]), gateway
    finally:
        stop.set()
        await task


async def connect(port: int, authority: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )


def test_requests_and_cookies_by_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "one")

    async def main() -> None:
        async with started([PageHost("web0")]) as hosts, tls_gateway(hosts, pair) as (port, _):
            reader, writer = await connect(port, pair[0])
            session = writer.get_extra_info("ssl_object")
            assert session.selected_alpn_protocol() == "http/1.1"
            assert session.version() in ("TLSv1.2", "TLSv1.3")
            for _ in range(3):  # one connection
                writer.write(get("/"))
                found = await response(reader)
                assert (found.status, found.body) == (200, b"web0")
            assert b"; Secure" in (found.header(b"set-cookie") or b"")
            body = b"x" * 3_000_000
            head = get("/", f"Content-Length: {len(body)}", method="POST")
            writer.write(head + body)
            await writer.drain()
            assert (await response(reader)).status == 200
            writer.close()
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                await writer.wait_closed()

    asyncio.run(main())


def test_a_websocket_by_tls(tmp_path: Path) -> None:
    client_of = pytest.importorskip("websockets.asyncio.client")
    server_of = pytest.importorskip("websockets.asyncio.server")
    pair = make_pair(tmp_path, "one")

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with server_of.serve(echo, "127.0.0.1", 0) as server:
            host = Host("web0", address="{}:{}".format(*server.sockets[0].getsockname()))
            async with tls_gateway([host], pair) as (port, _):
                context = ssl.create_default_context(cafile=pair[0])
                url = f"wss://localhost:{port}/"
                async with client_of.connect(url, ssl=context, host="127.0.0.1") as client:
                    for message in ("hello", "x" * 500_000):
                        await client.send(message)
                        assert await client.recv() == message

    asyncio.run(main())


def test_plain_http_and_old_versions_are_refused(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "one")

    async def main() -> None:
        async with started([PageHost("web0")]) as hosts, tls_gateway(hosts, pair) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/"))
            assert b"HTTP/1.1 200" not in await reader.read(1000)
            writer.close()
            old = ssl.create_default_context(cafile=pair[0])
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=old, server_hostname="localhost"
                )
            _, writer = await connect(port, pair[0])  # it goes on
            writer.close()
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                await writer.wait_closed()

    asyncio.run(main())


def test_a_reload_takes_the_new_certificate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "two")

    async def name_of(port: int) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
        one = ssl.PEM_cert_to_DER_cert(first)
        return "one" if der == one else "two"

    first = Path(pair[0]).read_text()

    def break_certificate() -> None:
        Path(pair[0]).write_text("not a certificate")

    def renew() -> None:
        for new, old in zip(other, pair, strict=True):
            Path(old).write_bytes(Path(new).read_bytes())

    async def main() -> None:
        async with started([PageHost("web0")]) as hosts, tls_gateway(hosts, pair) as (port, live):
            assert await name_of(port) == "one"
            break_certificate()
            live.reload()
            await wait_in_loop(lambda: "the settings stay as they were" in caplog.text)
            assert await name_of(port) == "one"
            renew()
            live.reload()
            async with asyncio.timeout(30):
                while await name_of(port) != "two":  # noqa: ASYNC110  # no event for it
                    await asyncio.sleep(0.02)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"tls.key": "key.pem"}, "needs a certificate"),
        ({"tls.certificate": "none.pem"}, "No such file"),
    ],
)
def test_what_cannot_be_used_is_a_problem(options: dict[str, str], what: str) -> None:
    given = {"pool.hosts": ["127.0.0.1:9001"], **options}
    with pytest.raises(ProblemsError, match=what):
        read(options=given, names=dict.fromkeys(given, "of a test"), environ={})


def test_a_key_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    pair, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "two")
    tls = ListenerTls(*pair)
    context = tls.context()
    Path(pair[1]).write_bytes(Path(other[1]).read_bytes())
    with pytest.raises(ConfigError, match="cannot be used"):
        tls.refresh(context)
