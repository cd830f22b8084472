"""The OpenAPI document of the admin API: valid, complete, and true to what the gateway answers."""

from __future__ import annotations

import copy
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hashring.gateway.openapi import OPERATIONS, openapi_document
from tests.cli.serving import Serving, hosts, serving

EXAMPLES: dict[str, dict[str, Any]] = {
    "/v1/plan": {"add": ["web9"], "remove": [], "weights": {}},
    "/v1/hosts/{name}/drain": {"deadline": 60, "reason": "deploy"},
    "/v1/hosts/{name}/weight": {"weight": 2},
    "/v1/sessions/assign": {"client_id": "ann"},
    "/v1/sessions/forget": {"client_id": "ann"},
}


class Admin:
    """The admin listener of a running gateway."""

    def __init__(self, process: Serving, host: str) -> None:
        self.host = host
        self.address = process.hear("admin listener at").rpartition("//")[2]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        text = None if body is None else json.dumps(body)
        headers = {} if body is None else {"content-type": "application/json"}
        connection.request(method.upper(), path, text, headers)
        response = connection.getresponse()
        kind = response.headers["content-type"].partition(";")[0]
        stream = kind == "text/event-stream"
        content = response.read(20) if stream else response.read()
        connection.close()
        return response.status, kind, content.decode()


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    pytest.importorskip("prometheus_client")
    file: Path = tmp_path_factory.mktemp("openapi") / "hashring.toml"
    with hosts("a", "b", "c") as found:
        file.write_text(
            f'[pool]\nhosts = {list(found)}\n[sessions]\nstore = "memory"\n'
            '[identity]\nsources = ["header:X-User"]\n[tokens]\nenabled = false\n'
            '[gateway]\nadmin = "127.0.0.1:0"\n'
        )
        with serving(str(file)) as process:
            yield Admin(process, found[0])


def test_the_document_is_valid() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(openapi_document())
    ids = [
        operation["operationId"]
        for path in openapi_document()["paths"].values()
        for operation in path.values()
    ]
    assert len(set(ids)) == len(ids) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_each_operation_answers_as_documented(admin: Admin, operation: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    path = operation.path.replace("{name}", quote(admin.host)).replace("{client_id}", "ann")
    body = None
    if operation.body is not None:
        body = dict(EXAMPLES.get(operation.path, {}))
        if operation.path.endswith("assign"):
            body["host"] = admin.host
        jsonschema.validate(body, operation.body)
    if operation.path == "/v1/where":
        path += "?id=ann"
    if any(name == "dry_run" for name, _, _ in operation.query):
        path += "?dry_run=1"
    status, kind, text = admin.ask(operation.method, path, body)
    assert (status, kind) == (200, operation.kind), text
    if kind == "application/json":
        schema = {**operation.returns, "components": openapi_document()["components"]}
        jsonschema.validate(json.loads(text), schema)


def test_it_is_served(admin: Admin) -> None:
    status, _, text = admin.ask("get", "/v1/openapi.json")
    assert status == 200
    assert json.loads(text) == json.loads(json.dumps(openapi_document()))


def test_the_guide_names_every_path() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    for each in OPERATIONS:
        path = each.path.replace("{name}", "NAME").replace("{client_id}", "CLIENT_ID")
        last = path.rpartition("/")[2]
        assert path in guide or f"/{last}`" in guide, path


@pytest.mark.slow
def test_generated_requests_find_no_server_error(admin: Admin) -> None:
    """Schemathesis makes requests of the document, valid and not."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    document = copy.deepcopy(openapi_document())
    del document["paths"]["/v1/stream"]  # it does not end
    for parameter in document["paths"]["/v1/events"]["get"]["parameters"]:
        if parameter["name"] == "wait":
            parameter["schema"]["maximum"] = 0.01
    schema = schemathesis.openapi.from_dict(document)
    sent = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            nonlocal sent
            response = case.call(base_url=f"http://{admin.address}", timeout=40)
            sent += 1
            known = {"error", "ready", "ok"}
            assert response.status_code != 500, response.text
            if response.status_code >= 400:
                assert known & set(response.json()), response.text

        check()
    assert sent > 100
