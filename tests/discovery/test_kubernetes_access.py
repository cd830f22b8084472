from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
from base64 import b64encode
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hashring import ConfigError, DiscoveryError
from hashring.discovery import Membership, source
from hashring.discovery._kube_access import from_kubeconfig, in_cluster
from hashring.discovery.kubernetes import KubernetesSource
from tests.discovery.kube_objects import endpoint, piece
from tests.discovery.kube_server import KubeServer

pytest.importorskip("httpx2", reason="httpx2 is not installed")


async def first(found: KubernetesSource) -> Membership:
    async with aclosing(found.watch()) as memberships, asyncio.timeout(20.0):
        return await anext(memberships)


def config(server: str, user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "there", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


def written(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_a_kubeconfig_with_a_token_and_its_namespace(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with KubeServer() as kube:
        kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
        kube.rights = {"secret": {"list", "watch"}}
        for user in ({"token": "secret"}, {"tokenFile": "token"}):  # beside the kubeconfig
            file = written(tmp_path / "config", config(f"http://{kube.endpoint}", user))
            found = source("kubernetes:web", kubeconfig=file)
            assert isinstance(found, KubernetesSource)
            assert str(found) == f"kubernetes://{kube.endpoint}/shop/web"
            assert "secret" not in repr(from_kubeconfig(file))
            assert len(asyncio.run(first(found)).hosts) == 1
        with pytest.raises(ConfigError, match="no user 'nobody'"):
            source("kubernetes:web", kubeconfig=file, context="there")


def test_the_usual_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", written(tmp_path / "c", config("http://k:1", {})))
    assert str(source("kubernetes:web")) == "kubernetes://k:1/shop/web"
    assert str(source("kubernetes:other/web")) == "kubernetes://k:1/other/web"


def test_a_kubeconfig_in_yaml_reads_as_in_json(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    content = config("http://k:1", {"token": "secret"})
    (tmp_path / "yaml").write_text(yaml.safe_dump(content))
    as_json = from_kubeconfig(written(tmp_path / "json", content))
    assert from_kubeconfig(tmp_path / "yaml") == as_json
    (tmp_path / "odd").write_text("a: [")
    with pytest.raises(ConfigError, match="neither JSON nor YAML"):
        from_kubeconfig(tmp_path / "odd")


def test_without_pyyaml_json_works_and_yaml_names_what_to_do(tmp_path: Path) -> None:
    written(tmp_path / "json", config("http://k:1", {}))
    (tmp_path / "yaml").write_text("kind: Config\n")
    program = f"""
import sys
sys.modules["yaml"] = None  # as if it were not installed
from hashring.discovery._kube_access import from_kubeconfig
from hashring.errors import ConfigError
print(from_kubeconfig({str(tmp_path / "json")!r}).url)
try:
    from_kubeconfig({str(tmp_path / "yaml")!r})
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510  # what it prints is what is checked
    assert done.stdout.startswith("http://k:1\n"), done.stderr
    assert "sticky-hashring[kubernetes]" in done.stdout


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"exec": {"command": "aws"}}, "'exec'"),
        ({"auth-provider": {"name": "gcp"}}, "'auth-provider'"),
        ({"username": "ann", "password": "x"}, "'username'"),
        ("odd", "not a kubeconfig"),
    ],
)
def test_a_login_that_is_not_known_is_refused(tmp_path: Path, user: Any, why: str) -> None:
    file = written(tmp_path / "config", config("https://k:1", user))
    with pytest.raises(ConfigError, match=why):
        from_kubeconfig(file)


def test_what_is_not_a_kubeconfig_is_refused(tmp_path: Path) -> None:
    for content in ("[]", "{}", '{"contexts": 7, "current-context": "a"}'):
        (tmp_path / "config").write_text(content)
        with pytest.raises(ConfigError):
            from_kubeconfig(tmp_path / "config")
    with pytest.raises(ConfigError, match="cannot be read"):
        from_kubeconfig(tmp_path / "none")


def test_urls_that_cannot_be_meant(tmp_path: Path) -> None:
    for url in (
        "kubernetes:web?token=x",  # for which API?
        "kubernetes://a,b/shop/web?tls=false",
        f"kubernetes://a/shop/web?tls=false&kubeconfig={tmp_path}",
        "kubernetes://a/shop/?tls=false",
        "kubernetes://a/shop/w%3Feb?tls=false",
        "kubernetes://a/shop/web?tls=false&lasting=0",
    ):
        with pytest.raises(ConfigError):
            source(url)


class Tls(KubeServer):
    """Speaks TLS, and asks for a client certificate."""

    def __init__(self, cert: Path, key: Path) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._context.load_verify_locations(cert)
        self._context.verify_mode = ssl.CERT_REQUIRED

    def start(self) -> None:
        super().start()
        assert self._server is not None
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kube -addext"
    made = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_a_client_certificate_by_file_and_in_place(pair: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = (b64encode(file.read_bytes()).decode() for file in pair)
    in_place = {"client-certificate-data": cert, "client-key-data": key}
    by_file = {"client-certificate": str(pair[0]), "client-key": str(pair[1])}
    authority: tuple[dict[str, Any], ...] = (
        {"certificate-authority-data": cert},
        {"certificate-authority": str(pair[0])},
        {"insecure-skip-tls-verify": True},
    )
    with Tls(*pair) as kube:
        kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
        for cluster in authority:
            for user in (in_place, by_file):
                content = config(f"https://{kube.endpoint}", user, **cluster)
                found = source("kubernetes:web", kubeconfig=written(tmp_path / "config", content))
                assert isinstance(found, KubernetesSource)
                assert len(asyncio.run(first(found)).hosts) == 1
        files = {"ca": str(pair[0]), "cert": str(pair[0]), "key": str(pair[1])}
        url = f"kubernetes://{kube.endpoint}/shop/web"
        trusted, untrusted = source(url, **files), source(url)
        assert isinstance(trusted, KubernetesSource)
        assert isinstance(untrusted, KubernetesSource)
        assert len(asyncio.run(first(trusted)).hosts) == 1
        with pytest.raises(DiscoveryError, match=r"(?i)certificate"):
            asyncio.run(first(untrusted))


def test_the_account_of_a_pod(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for name, text in {"token": "one", "namespace": "shop", "ca.crt": pair[0].read_text()}.items():
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(environment, tmp_path)
    assert (access.url, access.namespace) == ("https://[fd00::1]:6443", "shop")
    assert access.headers() == {"Authorization": "Bearer one"}
    (tmp_path / "token").write_text("two\n")
    assert access.headers() == {"Authorization": "Bearer two"}
    with pytest.raises(ConfigError, match="not a pod"):
        in_cluster({}, tmp_path)
