"""The files under packaging/: valid, and true to what the gateway accepts."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hashring.config import read
from tests.cli.serving import hosts, serving

PACKAGING = Path(__file__).resolve().parents[1] / "packaging"
MANIFESTS = sorted(PACKAGING.glob("kubernetes/*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("unit", ["hashring.service", "hashring.socket"])
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    for path in PACKAGING.glob("hashring.s*"):
        # the command of the unit exists where it is installed, not here
        text = path.read_text().replace("/opt/hashring/bin/hashring", "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        [tool, "verify", "--man=no", str(tmp_path / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to" in done.stderr and "hashring" not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    assert "hashring" not in done.stderr, done.stderr


def test_the_service_manager_is_notified(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, hosts("a") as (host,):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        with serving("--hosts", host, NOTIFY_SOCKET=str(tmp_path / "notify")) as gateway:
            assert manager.recv(100) == b"READY=1"
            assert gateway.address
            gateway.process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"


def test_a_passed_socket_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as front, hosts("a") as (host,):
        words = ["-m", "hashring", "serve", "--hosts", host, "--listen", "127.0.0.1:1"]
        start = (  # as systemd does: the socket is number 3, and the variables name the process
            "import os, sys\n"
            f"os.dup2({front.fileno()}, 3, inheritable=True)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            f"os.execv(sys.executable, [sys.executable, *{words}])\n"
        )
        process = subprocess.Popen([sys.executable, "-c", start], pass_fds=(front.fileno(),))
        try:
            connection = http.client.HTTPConnection("127.0.0.1", front.getsockname()[1], timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_complete(path: Path) -> None:
    for document in documents(path):
        assert document["apiVersion"]
        assert document["kind"]
        assert document["metadata"]["name"] == "hashring"


def test_the_manifests_agree_with_each_other() -> None:
    found = {each["kind"]: each for path in MANIFESTS for each in documents(path)}
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} <= ports
    assert container["readinessProbe"]["httpGet"]["port"] in ports
    assert pod["spec"]["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert found["Role"]["rules"][0]["resources"] == ["endpointslices"]


def test_the_configuration_of_the_manifests_is_accepted(tmp_path: Path) -> None:
    found = {each["kind"]: each for path in MANIFESTS for each in documents(path)}
    text = found["ConfigMap"]["data"]["hashring.toml"]
    for name in ("token", "admin"):
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef\n")
    # a cluster has the secrets at their path, and the API of the source
    text = text.replace("/run/secrets/hashring", str(tmp_path))
    text = text.replace("kubernetes:web", "static:web1@127.0.0.1:1")
    (tmp_path / "h.toml").write_text(text)
    settings = read(str(tmp_path / "h.toml"), environ={})
    grace = settings.gateway.linger + settings.gateway.shutdown_grace
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > grace
    assert settings.admin.public == ("healthz", "readyz", "metrics")


def test_the_image_runs_without_privileges() -> None:
    text = (PACKAGING / "Dockerfile").read_text()
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    assert sum(line.startswith("FROM ") for line in lines) == 2, "the build stage is left behind"
    assert any(re.fullmatch(r"USER [1-9][0-9]*", line) for line in lines)
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    extras = re.search(r'"\.\[([a-z,]+)\]"', text)
    assert extras is not None
    project = (PACKAGING.parent / "pyproject.toml").read_text()
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_compose_uses_the_image_and_keeps_sessions() -> None:
    services = documents(PACKAGING / "compose.yaml")[0]["services"]
    assert services["gateway"]["build"]["dockerfile"] == "packaging/Dockerfile"
    assert services["gateway"]["environment"]["HASHRING_TOKENS_SECRET_ENV"] == "TOKEN_SECRET"
    assert {"web1", "web2", "web3"} <= set(services)


# -- monitoring ------------------------------------------------------------------------------------

_SELECTOR = re.compile(r"\b(hashring_[a-z_]+)(?:\{([^}]*)\})?")


def exposed(tmp_path: Path) -> dict[str, set[str]]:
    """The series of a gateway that has served requests, with the labels of each."""
    parser = pytest.importorskip("prometheus_client.parser")
    file = tmp_path / "hashring.toml"
    with hosts("a", "b") as (one, other):
        file.write_text(
            f'[pool]\nhosts = {[one, other]}\n[sessions]\nstore = "memory"\n'
            '[identity]\nsources = ["header:X-User"]\n[tokens]\nenabled = false\n'
            '[gateway]\nadmin = "127.0.0.1:0"\n'
        )
        with serving(str(file)) as gateway:
            for number in range(10):
                assert fetched(gateway.address, "/", {"X-User": str(number)})
            admin = gateway.hear("admin listener at").rpartition("//")[2]
            text = fetched(admin, "/metrics", {})
    found: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(text):
        # a counter may have no sample yet
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    found["hashring_gateway_sessions_moved_total"].add("cause")  # no session has moved
    return found


def fetched(address: str, path: str, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    assert response.status == 200
    text = response.read().decode()
    connection.close()
    return text


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    return [
        (name, set(re.findall(r"([a-z_]+)\s*[!=]", labels or "")) - {"instance"})
        for name, labels in _SELECTOR.findall(expression)
    ]


def test_dashboard_and_alerts_ask_for_series_that_exist(tmp_path: Path) -> None:
    panels = json.loads((PACKAGING / "grafana-dashboard.json").read_text())["panels"]
    (rules,) = (group["rules"] for group in documents(PACKAGING / "alerts.yml")[0]["groups"])
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [rule["expr"] for rule in rules]
    found = exposed(tmp_path)
    assert len(asked) > 20
    for expression in asked:
        names = selectors(expression)
        assert names, expression
        for name, labels in names:
            assert name in found, f"no gateway has {name}: {expression}"
            assert labels <= found[name], expression
        groups = re.findall(r"by \(([^)]*)\)", expression)
        by = {label for text in groups for label in text.split(", ")}
        assert by <= {"instance"}.union(*(found[name] for name, _ in names)), expression
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert all(rule["annotations"]["summary"] for rule in rules)


def test_promtool_accepts_the_alerts() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (package prometheus)")
    done = subprocess.run(
        [tool, "check", "rules", str(PACKAGING / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
