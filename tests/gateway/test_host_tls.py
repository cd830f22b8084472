"""Hosts behind TLS and Unix sockets: who is trusted, what is sent, and what ``check`` reports."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hashring import LoadBalancer
from hashring.config import ProblemsError, Settings, read
from hashring.errors import ConfigError
from hashring.gateway import Gateway
from hashring.hosts import Host
from hashring.tls import HostTls
from tests.gateway.running import Response, opened, response, served


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with the certificates of a host, web.test, and of a gateway."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    made = tmp_path_factory.mktemp("tls")
    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    not_authority = "-addext basicConstraints=critical,CA:FALSE"
    named = "-addext subjectAltName=DNS:web.test"
    signed = f"req -x509 {new} -CA ca.pem -CAkey ca.key {not_authority}"
    for words in (
        f"req -x509 {new} -subj /CN=authority -keyout ca.key -out ca.pem",
        f"{signed} -subj /CN=web {named} -keyout host.key -out host.pem",
        f"{signed} -subj /CN=gateway -keyout gateway.key -out gateway.pem",
        f"req -x509 {new} -subj /CN=other -keyout other.key -out other.pem",
        "ec -in gateway.key -aes128 -passout pass:word -out locked.key",
    ):
        subprocess.run([openssl, *words.split()], check=True, capture_output=True, cwd=made)
    return made


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with the name in SNI, the client's certificate, and the Host."""
    peer = (writer.get_extra_info("peercert") or {}).get("subject", ())
    with contextlib.suppress(EOFError, OSError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            host = head.lower().partition(b"host: ")[2].partition(b"\r\n")[0].decode()
            body = f"{peer} {host}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()


@contextlib.asynccontextmanager
async def _host(files: Path, *, asks_certificate: bool = False) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "host.pem", files / "host.key")
    if asks_certificate:
        context.load_verify_locations(files / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    async with await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _ask(address: str, tls: HostTls, *, keep_host: bool = True, times: int = 1) -> Response:
    lb = LoadBalancer([Host("web1", address=address)])
    async with served(Gateway(lb, tls=tls, keep_host=keep_host)) as front:
        reader, writer = await opened(front)
        for _ in range(times):
            writer.write(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            found = await response(reader)
        writer.close()
    return found


def _read(options: dict[str, object]) -> Settings:
    return read(options=options, names=dict.fromkeys(options, "--option"), environ={})


def _run(files: Path, tls: HostTls, *, asks_certificate: bool = False) -> Response:
    async def main() -> Response:
        async with _host(files, asks_certificate=asks_certificate) as address:
            return await _ask(address, tls)

    return asyncio.run(main())


def test_a_host_of_a_named_authority_is_accepted(files: Path) -> None:
    tls = HostTls(ca=str(files / "ca.pem"), server_name="web.test")
    assert _run(files, tls).status == 200


@pytest.mark.parametrize(
    ("ca", "name"),
    [(None, "web.test"), ("other.pem", "web.test"), ("ca.pem", None), ("ca.pem", "db.test")],
    ids=["system", "other authority", "by address", "other name"],
)
def test_a_host_that_cannot_prove_its_name_gets_nothing(
    files: Path, ca: str | None, name: str | None
) -> None:
    tls = HostTls(ca=None if ca is None else str(files / ca), server_name=name)
    found = _run(files, tls)
    assert found.status == 502
    assert b"host_unreachable" in found.body


def test_without_verify_any_certificate_is_accepted(files: Path) -> None:
    assert _run(files, HostTls(verify=False)).status == 200


def test_a_host_that_asks_gets_the_gateways_certificate(files: Path) -> None:
    tls = HostTls(
        ca=str(files / "ca.pem"),
        server_name="web.test",
        certificate=str(files / "gateway.pem"),
        key=str(files / "gateway.key"),
    )
    assert b"gateway" in _run(files, tls, asks_certificate=True).body
    bare = HostTls(ca=str(files / "ca.pem"), server_name="web.test")
    assert _run(files, bare, asks_certificate=True).status == 502


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"ca": "none.pem"}, "none.pem is not one that can be read (No such file"),
        ({"ca": "ca.key"}, "ca must be a PEM file of certificates, and ca.key"),
        (
            {"certificate": "gateway.pem", "key": "host.key"},
            "gateway.pem cannot be used (key values mismatch",
        ),
        (
            {"certificate": "gateway.pem", "key": "locked.key"},
            "a key that has no password, and gateway.pem",
        ),
        ({"certificate": "gateway.pem"}, "certificate must be a PEM file with a key"),
        ({"key": "gateway.key"}, "key needs a certificate too"),
    ],
    ids=["missing", "no certificate", "other key", "locked key", "no key", "key alone"],
)
def test_a_file_that_cannot_be_used_is_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], why: str
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(ConfigError) as caught:
        HostTls(**options).context()  # type: ignore[arg-type]  # paths only
    assert why in str(caught.value)
    given = {f"host_tls.{name}": value for name, value in options.items()}
    with pytest.raises(ProblemsError) as found:
        _read({"pool.hosts": ["https://web1"], **given})
    assert all(each.key.startswith("host_tls.") for each in found.value.problems)


@pytest.mark.parametrize("keep_host", [True, False], ids=["keep", "set"])
def test_a_host_may_be_a_unix_socket(tmp_path: Path, keep_host: bool) -> None:
    async def main() -> Response:
        async with await asyncio.start_unix_server(_answer, tmp_path / "web1.sock"):
            address = f"unix:{tmp_path}/web1.sock"
            return await _ask(address, HostTls(), keep_host=keep_host, times=3)

    found = asyncio.run(main())
    assert found.status == 200
    assert found.body.endswith(b"example.org" if keep_host else b"localhost")


def test_a_socket_that_is_not_there_is_a_host_down(tmp_path: Path) -> None:
    found = asyncio.run(_ask(f"unix:{tmp_path}/none", HostTls()))
    assert found.status == 502
    assert b"host_unreachable" in found.body


@pytest.mark.parametrize("address", ["https://web1", "https://[::1]:8443", "unix:/run/a.sock"])
def test_settings_take_the_address(address: str) -> None:
    settings = _read({"pool.hosts": [address]})
    assert settings.pool.hosts[0].address == address


@pytest.mark.parametrize(
    "address", ["unix:run/a", "unix:/" + "a" * 107, "ftp://a:1", "https://", "https://a:99999"]
)
def test_settings_refuse_an_invalid_address(address: str) -> None:
    with pytest.raises(ProblemsError, match=r"https://ADDRESS:PORT or unix:/PATH"):
        _read({"pool.hosts": [address]})
