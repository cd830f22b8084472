"""What a Kubernetes API says: slices, endpoints, bookmarks, failures, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

GROUP = "discovery.k8s.io"
PREFIX = f"/apis/{GROUP}/v1"


def endpoint(ip: str, pod: str | None = None, **conditions: bool) -> dict[str, Any]:
    """One endpoint, with all the fields that Kubernetes gives it."""
    found: dict[str, Any] = {
        "addresses": [ip],
        "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
        "nodeName": "node-1",
        "zone": "zone-a",
    }
    if pod is not None:
        found["targetRef"] = {
            "kind": "Pod",
            "namespace": "shop",
            "name": pod,
            "uid": "5f2c7e1a-0000-4000-8000-000000000000",
        }
    return found


def piece(
    name: str,
    *endpoints: Mapping[str, Any],
    service: str = "web",
    family: str = "IPv4",
    ports: Mapping[str, int | None] | None = None,
) -> dict[str, Any]:
    """One EndpointSlice, which has null where it has no endpoints, as the API answers it."""
    named = {"http": 8080} if ports is None else ports
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": "9d7d0c5e-0000-4000-8000-000000000000",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service,
            },
        },
        "addressType": family,
        "endpoints": list(endpoints) or None,
        "ports": [{"name": n, "protocol": "TCP", "port": p} for n, p in named.items()] or None,
    }


def matches(item: Mapping[str, Any], query: Mapping[str, str], namespace: str | None) -> bool:
    """Whether an object is of the namespace and has the labels of a query."""
    wanted = [
        each.partition("=")[::2] for each in query.get("labelSelector", "").split(",") if each
    ]
    labels = item["metadata"]["labels"]
    return namespace in (None, item["metadata"]["namespace"]) and all(
        labels.get(name.rstrip("=")) == value.lstrip("=") for name, value in wanted
    )


def status(code: HTTPStatus, reason: str, message: str) -> dict[str, Any]:
    """A failure as the API says it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": int(code),
    }


def typed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it stands alone: in a list its kind is that of the list."""
    return {"kind": "EndpointSlice", "apiVersion": f"{GROUP}/v1", **item}


_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0", "platform": "linux/amd64"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": GROUP,
                "versions": [{"groupVersion": f"{GROUP}/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": f"{GROUP}/v1", "version": "v1"},
            }
        ],
    },
    PREFIX: {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/v1",
        "resources": [
            {
                "name": "endpointslices",
                "singularName": "endpointslice",
                "namespaced": True,
                "kind": "EndpointSlice",
                "verbs": _VERBS,
            }
        ],
    },
}


def bookmark(version: int) -> dict[str, Any]:
    """Only the kind and the version; the other fields are there and empty."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return typed({"metadata": metadata, "addressType": "", "endpoints": None, "ports": None})
