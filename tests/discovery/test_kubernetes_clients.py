"""Does the tests' API server speak as Kubernetes does?  kubectl and the official client read it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.kube_objects import endpoint, piece
from tests.discovery.kube_server import KubeServer

WITHIN = 60.0  # seconds until a test that waits for something gives up


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    with KubeServer() as server:
        server.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
        server.put(piece("web-b", endpoint("10.0.0.2", "web-1", ready=False, terminating=True)))
        server.put(piece("other-a", endpoint("10.9.9.9", "other-0"), service="other"))
        yield server


class Kubectl:
    def __init__(self, kube: KubeServer, folder: Path) -> None:
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("kubectl is not installed (package kubernetes-client)")
        here = [f"--server=http://{kube.endpoint}", f"--cache-dir={folder}", "--namespace=shop"]
        here.append(f"--request-timeout={WITHIN:.0f}s")
        self._words = [program, *here]
        self._environment = {**os.environ, "KUBECONFIG": str(folder / "none"), "HOME": str(folder)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._words, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN,
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._words, *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )


def test_kubectl_lists_it(kube: KubeServer, tmp_path: Path) -> None:
    kube.page = 1  # it follows the pages
    kubectl = Kubectl(kube, tmp_path)
    words = ["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "json"]
    done = kubectl.run(*words)
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    assert [item["metadata"]["name"] for item in items] == ["web-a", "web-b"]
    assert items[1]["endpoints"][0]["conditions"]["terminating"] is True
    assert "NAME" in kubectl.run("get", "endpointslices", "-o", "custom-columns=NAME:.kind").stdout


def test_kubectl_is_refused_in_the_words_of_kubernetes(kube: KubeServer, tmp_path: Path) -> None:
    kubectl = Kubectl(kube, tmp_path)
    kube.rights = {"": set()}  # who has no token may do nothing
    done = kubectl.run("get", "endpointslices")
    assert "Error from server (Forbidden): endpointslices.discovery.k8s.io is" in done.stderr
    kube.rights = {"another": {"list"}}
    assert "(Unauthorized)" in kubectl.run("get", "endpointslices").stderr


def test_kubectl_watches_it(kube: KubeServer, tmp_path: Path) -> None:
    kubectl = Kubectl(kube, tmp_path)
    words = ("get", "endpointslices", "--watch", "--output-watch-events", "-o", "json")
    with kubectl.begin(*words) as watching:
        try:
            objects = read(watching)
            first = [next(objects) for _ in range(3)]
            assert {event["type"] for event in first} == {"ADDED"}
            kube.put(piece("web-a", endpoint("10.0.0.7", "web-0")))
            changed = next(objects)
            assert changed["type"] == "MODIFIED"
            assert changed["object"]["endpoints"][0]["addresses"] == ["10.0.0.7"]
            kube.remove("web-b")
            gone = next(objects)
            assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", "web-b")
        finally:
            watching.kill()


def read(watching: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects that it prints, one after the other."""
    assert watching.stdout is not None
    text = ""
    for line in watching.stdout:
        text += line
        try:
            yield json.loads(text)
        except ValueError:
            continue  # an object has more lines
        text = ""
    raise AssertionError(f"kubectl ended: {text}")


@pytest.fixture
def official(kube: KubeServer) -> Iterator[Any]:
    client = pytest.importorskip("kubernetes.client", reason="kubernetes is not installed")
    configuration = client.Configuration(host=f"http://{kube.endpoint}")
    with client.ApiClient(configuration) as made:
        yield client.DiscoveryV1Api(made)


SELECTOR = "kubernetes.io/service-name=web"


def test_the_official_client_lists_it(kube: KubeServer, official: Any) -> None:
    listed = official.list_namespaced_endpoint_slice("shop", label_selector=SELECTOR)
    assert [item.metadata.name for item in listed.items] == ["web-a", "web-b"]
    assert listed.metadata.resource_version == str(kube.version)
    first = listed.items[0]
    assert first.endpoints[0].target_ref.name == "web-0"
    assert first.endpoints[0].conditions.ready is True
    assert first.ports[0].port == 8080


def test_the_official_client_watches_it(kube: KubeServer, official: Any) -> None:
    watch = pytest.importorskip("kubernetes.watch", reason="kubernetes is not installed")
    version = str(kube.version)
    kube.put(piece("web-c", endpoint("10.0.0.3", "web-2")))
    kube.remove("web-a")
    kube.put(piece("other-b", service="other"))
    events = watch.Watch().stream(
        official.list_namespaced_endpoint_slice,
        "shop",
        label_selector=SELECTOR,
        resource_version=version,
        allow_watch_bookmarks=True,
        timeout_seconds=1,
    )
    said = [(event["type"], event["raw_object"]["metadata"].get("name")) for event in events]
    assert said[:2] == [("ADDED", "web-c"), ("DELETED", "web-a")]
    assert {kind for kind, _ in said[2:]} <= {"BOOKMARK"}


def test_the_official_client_reads_410_and_403(kube: KubeServer, official: Any) -> None:
    client = pytest.importorskip("kubernetes.client", reason="kubernetes is not installed")
    watch = pytest.importorskip("kubernetes.watch", reason="kubernetes is not installed")
    version = str(kube.version)
    kube.compact()
    events = watch.Watch().stream(
        official.list_namespaced_endpoint_slice, "shop", resource_version=version, timeout_seconds=2
    )
    with pytest.raises(client.ApiException) as gone:
        list(events)
    assert gone.value.status == 410
    kube.rights = {"": {"watch"}}
    with pytest.raises(client.ApiException) as refused:
        official.list_namespaced_endpoint_slice("shop")
    assert (refused.value.status, json.loads(refused.value.body)["reason"]) == (403, "Forbidden")
