"""The OpenAPI document of the admin API, made of one table of its operations."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

_DISTRIBUTION = "sticky-hashring"

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_NUMBER: dict[str, Any] = {"type": "number"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_FRACTION: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_FLAG: dict[str, Any] = {"type": "boolean"}
_NAMES: dict[str, Any] = {"type": "array", "items": _TEXT}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: dict[str, Any] = {
    "Error": _object({"error": _TEXT}),
    "Host": _object(
        {
            "name": _TEXT,
            "address": _or_null(_TEXT),
            "weight": {"type": "number", "exclusiveMinimum": 0},
            "state": {"enum": ["up", "draining", "down"]},
            "down": {"type": "object", "additionalProperties": _TEXT},
            "drains": {
                "type": "array",
                "items": _object({"by": _TEXT, "seconds_left": _or_null(_NUMBER)}),
            },
            "in_flight": _WHOLE,
            "pending": _WHOLE,
            "outstanding": _NUMBER,
            "ok": _WHOLE,
            "failed": _WHOLE,
            "latency": _NUMBER,
            "sessions": _or_null(_WHOLE),
            "share": _or_null(_FRACTION),
        }
    ),
    "Event": _object({"number": _WHOLE, "kind": _TEXT, "epoch": _WHOLE}),
    "Status": _object(
        {
            "schema": _WHOLE,
            "ready": _FLAG,
            "epoch": _WHOLE,
            "fingerprint": _TEXT,
            "placement": _or_null({"type": "object"}),
            "in_flight": _WHOLE,
            "hosts": {"type": "object", "additionalProperties": _WHOLE},
            "stats": {"type": "object"},
            "uptime": _NUMBER,
        }
    ),
    "Where": _object(
        {
            "client_id": _TEXT,
            "from": {"enum": ["id", "token"]},
            "host": _or_null(_TEXT),
            "reason": _or_null(_TEXT),
            "owner": _or_null(_TEXT),
            "position": _or_null(_WHOLE),
            "skipped": {
                "type": "array",
                "items": _object({"host": _TEXT, "by": _TEXT, "why": _TEXT}),
            },
            "walk": _NAMES,
            "epoch": _WHOLE,
        }
    ),
    "HostResult": _object(
        {
            "epoch": _WHOLE,
            "moved": _FRACTION,
            "dry_run": _FLAG,
            "keeps_sessions": _FLAG,
            "host": _ref("Host"),
        }
    ),
    "SessionResult": _object({"changed": _FLAG, "dry_run": _FLAG, "epoch": _WHOLE}),
    "Plan": _object(
        {
            "moved": _FRACTION,
            "flows": {
                "type": "array",
                "items": _object({"from": _TEXT, "to": _TEXT, "share": _FRACTION}),
            },
            "keeps_sessions": _FLAG,
            "epoch": _WHOLE,
        }
    ),
}

_EVENTS = _object({"events": {"type": "array", "items": _ref("Event")}, "next": _WHOLE})
_VIEW = {
    "allOf": [
        _EVENTS,
        _object({"hosts": {"type": "array", "items": _ref("Host")}, "uptime": _NUMBER}),
    ]
}
_AFTER = ("after", _WHOLE, "Number of the last event that is known.")
_DRY_RUN = ("dry_run", {"enum": ["0", "1"]}, "1: report what would happen, and change nothing.")
_REASON = {"type": "string", "description": "For the log and for other operators."}


class Operation(NamedTuple):
    """One operation: where, what it does, what it takes and returns."""

    method: str
    path: str
    summary: str
    returns: dict[str, Any]
    query: tuple[tuple[str, dict[str, Any], str], ...] = ()
    body: dict[str, Any] | None = None
    kind: str = "application/json"


OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/healthz", "The process answers.", _object({"ok": _FLAG})),
    Operation("get", "/readyz", "Whether it should get requests.", _object({"ready": _FLAG})),
    Operation("get", "/metrics", "Metrics for Prometheus.", _TEXT, kind="text/plain"),
    Operation("get", "/state", "The gateway as one object.", {"type": "object"}),
    Operation("get", "/v1/openapi.json", "This document.", {"type": "object"}),
    Operation("get", "/v1/status", "Readiness and counts.", _ref("Status")),
    Operation(
        "get",
        "/v1/hosts",
        "All hosts.",
        _object({"epoch": _WHOLE, "hosts": {"type": "array", "items": _ref("Host")}}),
    ),
    Operation(
        "get",
        "/v1/where",
        "The host of a client, and why. Give the ID or the cookie.",
        _ref("Where"),
        (
            ("id", _TEXT, "A client ID."),
            ("cookie", _TEXT, "The cookie of a client, or the token in it."),
        ),
    ),
    Operation(
        "get",
        "/v1/events",
        "The events after a number.",
        _EVENTS,
        (
            _AFTER,
            ("wait", {"type": "number", "minimum": 0}, "Seconds to wait for one, at most 30."),
        ),
    ),
    Operation("get", "/v1/view", "State, hosts, counts and events in one.", _VIEW, (_AFTER,)),
    Operation(
        "get",
        "/v1/stream",
        "A view every second, as server-sent events; not with several workers.",
        _TEXT,
        (_AFTER,),
        kind="text/event-stream",
    ),
    Operation(
        "get",
        "/v1/ring",
        "The owners of 720 equal parts of the circle.",
        _object({"hosts": _NAMES, "cells": {"type": "array", "items": _WHOLE}}),
    ),
    Operation(
        "post",
        "/v1/plan",
        "What a change would move. It changes nothing.",
        _ref("Plan"),
        body=_object(
            {},
            add=_NAMES,
            remove=_NAMES,
            weights={"type": "object", "additionalProperties": _NUMBER},
        ),
    ),
    Operation(
        "post",
        "/v1/hosts/{name}/drain",
        "Send a host no new clients; with a deadline in seconds, then none at all.",
        _ref("HostResult"),
        (_DRY_RUN,),
        _object({}, deadline={"type": "number", "minimum": 0}, reason=_REASON),
    ),
    *(
        Operation(
            "post",
            f"/v1/hosts/{{name}}/{action}",
            summary,
            _ref("HostResult"),
            (_DRY_RUN,),
            _object({}, reason=_REASON),
        )
        for action, summary in (
            ("resume", "End a drain by hand."),
            ("down", "Take a host out: its clients go to others."),
            ("up", "End a mark by hand."),
        )
    ),
    Operation(
        "post",
        "/v1/hosts/{name}/weight",
        "Set the weight of a host; 0 drains it.",
        _ref("HostResult"),
        (_DRY_RUN,),
        _object({"weight": {"type": "number", "minimum": 0}}, reason=_REASON),
    ),
    Operation(
        "post",
        "/v1/sessions/assign",
        "Put a client on a host.",
        _ref("SessionResult"),
        (_DRY_RUN,),
        _object({"client_id": _NAME, "host": _NAME}),
    ),
    Operation(
        "post",
        "/v1/sessions/forget",
        "Let a client be placed again.",
        _ref("SessionResult"),
        (_DRY_RUN,),
        _object({"client_id": _NAME}),
    ),
    Operation(
        "delete",
        "/v1/sessions/{client_id}",
        "End the session of a client; as forget.",
        _ref("SessionResult"),
        (_DRY_RUN,),
    ),
)


def openapi_document() -> dict[str, Any]:
    """The document, of OpenAPI 3.1.

    >>> document = openapi_document()
    >>> document["openapi"], sorted(document["paths"]["/v1/sessions/{client_id}"])
    ('3.1.0', ['delete'])
    """
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    try:
        number = version(_DISTRIBUTION)
    except PackageNotFoundError:  # a checkout that is not installed
        number = "0"
    return {
        "openapi": "3.1.0",
        "info": {"title": "hashring admin API", "version": number},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # on loopback and on a Unix socket none is needed
        "security": [{}, {"token": []}],
    }


def _operation(each: Operation) -> dict[str, Any]:
    words = each.path.strip("/").replace("{", "").replace("}", "").replace(".", "/").split("/")
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _NAME}
        for name in ("name", "client_id")
        if f"{{{name}}}" in each.path
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema, "description": about}
        for name, schema, about in each.query
    ]
    made: dict[str, Any] = {
        "summary": each.summary,
        "operationId": "_".join([each.method, *words]),
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {each.kind: {"schema": each.returns}}},
            "default": {
                "description": "Refused, or not ready.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
        },
    }
    if each.body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": each.body}}}
    return made
