"""vllm-router: its ``consistent_hash`` policy by the header ``x-session-id``."""

from __future__ import annotations

import http.client
import importlib.util
import sys
from collections.abc import Iterator

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    HttpTalk,
    Proxy,
    free_port,
    running,
)

SESSIONS = (
    *(key for key in KEYS if key.isascii()),
    *(f"conversation/{number}" for number in range(9_500)),
)
BODY = b'{"model": "m", "prompt": "x"}'


class Worker(HttpTalk):
    """Answers its own name to each POST and each probe; a body stands before the next request."""

    def answer(self, request: bytes) -> bytes:
        return super().answer(b"GET " + request)


@pytest.fixture(scope="module")
def workers() -> Iterator[Backends]:
    backends = Backends(5, Worker)
    yield backends
    backends.stop()


@pytest.fixture(scope="module")
def router(workers: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    if importlib.util.find_spec("vllm_router") is None:
        pytest.skip("vllm-router is not installed (package vllm-router)")
    port, metrics = free_port(), free_port()
    urls = [f"http://{address}" for address in workers.addresses]
    command = [
        *(sys.executable, "-m", "vllm_router.launch_router", "--policy", "consistent_hash"),
        *("--host", LOOPBACK, "--port", str(port), "--prometheus-port", str(metrics)),
        *("--log-level", "error", "--worker-urls", *urls),
    ]
    with running(command, tmp_path_factory.mktemp("router"), [port]):
        yield Proxy("vllm-router", port)


def test_vllm_router_agrees(router: Proxy, workers: Backends, parity: Parity) -> None:
    table = create("vllm-ring", [f"http://{address}" for address in workers.addresses])
    answers: dict[str, str | None] = {}
    connection = http.client.HTTPConnection(LOOPBACK, router.port, timeout=20)
    for key in SESSIONS:
        headers = {"x-session-id": key, "Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", BODY, headers)
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, (key, body)
        answers[key] = f"http://{body}"
    connection.close()
    parity.agrees(router.version, "vllm-ring", "x-session-id", answers, table.lookup)
