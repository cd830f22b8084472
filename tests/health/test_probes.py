"""What does a probe say of a real host that is well, sick, slow, frozen or gone?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashring.errors import ConfigError
from hashring.health import HttpProbe, TcpProbe
from hashring.health.probes import Probe, Void, ask
from hashring.hosts import Host
from tests.health.hosts import PATIENCE, Served, refused_port, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(1) as (host,):
        yield host


def say(probe: Probe, host: Host, within: float = PATIENCE) -> str | None:
    return asyncio.run(ask(probe, host, within))


def at(port: int) -> Host:
    return Host("web1", address=f"127.0.0.1:{port}")


def raw(answer: bytes, probe: Probe) -> str | None:
    """What the probe says of a host that sends these bytes to whoever comes, and hangs up."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def main() -> str | None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await ask(probe, at(server.sockets[0].getsockname()[1]), PATIENCE)

    said = asyncio.run(main())
    assert heard
    return said


@pytest.mark.parametrize("probe", [HttpProbe("/"), TcpProbe()])
def test_a_host_that_is_well(probe: Probe, served: Served) -> None:
    assert say(probe, served.host) is None


def test_the_status_decides(served: Served) -> None:
    try:
        served.behave(503)
        said = say(HttpProbe("/healthz"), served.host)
        assert said == "ConnectionError: answered with status 503"
        assert say(HttpProbe("/", expect={503}), served.host) is None
    finally:
        served.behave()


def test_a_slow_host_fails_in_time(served: Served) -> None:
    try:
        served.behave(delay=PATIENCE)
        assert say(HttpProbe(), served.host, 0.05) == "no answer within 0.05 s"
    finally:
        served.behave()


def test_a_frozen_host_accepts_and_never_answers() -> None:
    with serving(1) as (frozen,):
        frozen.freeze()
        assert say(HttpProbe(), frozen.host, 0.1) == "no answer within 0.1 s"
        assert say(TcpProbe(), frozen.host) is None, "its kernel accepts: that is all TCP can see"
        frozen.thaw()
        assert say(HttpProbe(), frozen.host) is None


@pytest.mark.parametrize("probe", [HttpProbe(), TcpProbe()])
def test_a_refused_port(probe: Probe) -> None:
    assert "ConnectionRefusedError" in str(say(probe, at(refused_port())))


def test_the_probes_own_port(served: Served) -> None:
    elsewhere = at(refused_port())
    assert say(TcpProbe(port=served.port), elsewhere) is None
    assert say(HttpProbe(port=served.port), elsewhere) is None
    assert say(TcpProbe(port=served.port), Host("web1", address="127.0.0.1")) is None


def test_an_address_without_a_port_is_explained() -> None:
    assert "give the host an address such as '10.0.0.1:80'" in str(say(TcpProbe(), Host("web1")))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 302\r\n\r\n", None),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "ConnectionError: answered with status 404"),
        (b"", "ConnectionError: hung up"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "ConnectionError: hung up"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "ConnectionError: switched protocols"),
        (b"SSH-2.0-OpenSSH\r\n", "which is not valid HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "which is not valid HTTP/1.1"),
        (b"HTTP/1.1 " + b"2" * 200_000, "ValueError"),
    ],
)
def test_what_comes_back(answer: bytes, said: str | None) -> None:
    found = raw(answer, HttpProbe())
    assert found is None if said is None else said in str(found)


def test_the_request_is_plain_and_names_who_asks() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async def main() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port: int = server.sockets[0].getsockname()[1]
            await HttpProbe("/x?y=1")(at(port))
            await HttpProbe(headers={"host": "web.example"}, method="HEAD")(at(port))
            return port

    port = asyncio.run(main())
    assert heard[0].startswith(b"GET /x?y=1 HTTP/1.1\r\nUser-Agent: hashring-health\r\n")
    assert heard[0].endswith(b"Connection: close\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
    assert heard[1].startswith(b"HEAD / HTTP/1.1\r\n")
    assert heard[1].lower().count(b"host:") == 1


@pytest.fixture
def certified(tmp_path: Path) -> ssl.SSLContext:
    """A server's context with a certificate that it has signed itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = (
        f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=web1 -keyout {key} -out {certificate}"
    )
    subprocess.run([openssl, *made.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_tls_is_verified(certified: ssl.SSLContext) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async def main(probe: Probe) -> str | None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certified) as server:
            return await ask(probe, at(server.sockets[0].getsockname()[1]), PATIENCE)

    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    assert asyncio.run(main(HttpProbe(scheme="https", context=anybody))) is None
    assert "SSLCertVerificationError" in str(asyncio.run(main(HttpProbe(scheme="https"))))


def test_an_https_address_is_probed_by_tls(certified: ssl.SSLContext, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async def main(probe: Probe) -> str | None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certified) as server:
            port = server.sockets[0].getsockname()[1]
            return await ask(probe, Host("web1", address=f"https://127.0.0.1:{port}"), PATIENCE)

    trusting = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
    named = HttpProbe(context=trusting, server_name="web1")
    assert "IP address mismatch" in str(asyncio.run(main(HttpProbe(context=trusting))))
    assert "SSLCertVerificationError" in str(asyncio.run(main(HttpProbe())))
    assert asyncio.run(main(named)) is None


@pytest.mark.parametrize("probe", [TcpProbe(), HttpProbe()], ids=["tcp", "http"])
def test_a_unix_socket_is_probed(probe: Probe, tmp_path: Path) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1000)
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()
            await writer.wait_closed()
        heard.put_nowait(request)

    async def main() -> tuple[str | None, str | None, bytes]:
        host = Host("web1", address=f"unix:{tmp_path}/s")
        before = await ask(probe, host, PATIENCE)
        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            return before, await ask(probe, host, PATIENCE), await heard.get()

    before, while_it_listens, request = asyncio.run(main())
    assert "FileNotFoundError" in str(before)
    assert while_it_listens is None
    assert request == b"" or b"\r\nHost: localhost\r\n" in request


@pytest.mark.parametrize(
    "options",
    [
        {"path": "healthz"},
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
        {"path": "/ü"},
        {"headers": {"X": "a\r\nY: b"}},
        {"scheme": "ftp"},
        {"port": 0},
        {"port": "80"},
    ],
)
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        HttpProbe(**options)
    assert error.value.option in options


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, None), (True, None), (0, None), (False, "the probe returned False")],
)
def test_any_async_callable_is_a_probe(answer: object, said: str | None) -> None:
    async def probe(host: Host) -> object:
        return answer

    assert say(probe, Host("a")) == said


def test_what_a_probe_raises_is_the_reason() -> None:
    async def probe(host: Host) -> None:
        raise KeyError(host.name)

    async def late(host: Host) -> None:
        raise TimeoutError("my own deadline")

    assert say(probe, Host("a")) == "KeyError: 'a'"
    assert say(late, Host("a")) == "TimeoutError: my own deadline"


def test_a_lack_on_this_side_is_not_a_verdict() -> None:
    async def probe(host: Host) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(Void, match="Too many open files"):
        say(probe, Host("a"))
