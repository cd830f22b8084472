"""The recorded files; ``python -m tests.export.golden`` writes them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hashring.export import Bridge, Checks, Routing, export
from hashring.health import OutlierRules
from hashring.hosts import Host

__all__ = ["FOLDER", "GOLDEN", "text_of"]

FOLDER = Path(__file__).parent / "golden"

PLAIN = [Host("10.0.0.1:8080"), Host("10.0.0.2:8080", 2), Host("[2001:db8::3]:8080")]
NAMED = [
    Host("web1", address="10.0.0.1:8080", id=11),
    Host("web2", 3, address="10.0.0.2:8080", id=7),
    Host("wéb 3", 2, address="web3.example:8080", id=3),
]
PLACES = ("header:X-Session", "cookie:my-sid", "query:user", "path:1", "path:-2", "address")
HTTP = Checks("http", "/healthz", port=9000, interval=2.5, timeout=0.5, fall=2, rise=1)
EJECTION = OutlierRules(failures=3, base=10, cap=60, share=0.25)
TRUSTED = ("10.1.0.0/16", "2001:db8:1::/48")

GOLDEN: Mapping[str, tuple[str, Routing]] = {
    "maglev.yaml": ("envoy", Routing(PLAIN, "envoy-maglev", identity=["header:x-session"])),
    "ring.yaml": (
        "envoy",
        Routing(
            NAMED,
            "envoy-ring",
            {"minimum_ring_size": 2048, "hash_function": "murmur2"},
            identity=PLACES,
            listen="[::]:443",
            checks=HTTP,
            ejection=EJECTION,
            panic=0.3,
            load_factor=1.25,
            trusted=TRUSTED,
        ),
    ),
    "quiet.yaml": (
        "envoy",
        Routing(PLAIN, "envoy-maglev", identity=["address"], checks=None, ejection=None, retries=0),
    ),
    "consistent.cfg": (
        "haproxy",
        Routing(
            NAMED,
            "haproxy-consistent",
            identity=PLACES,
            checks=HTTP,
            ejection=EJECTION,
            load_factor=1.25,
            trusted=TRUSTED,
        ),
    ),
    "xxh32.cfg": (
        "haproxy",
        Routing(
            PLAIN,
            "haproxy-consistent",
            {
                "hash_function": "none",
                "key_hash": "xxh32",
                "avalanche": False,
                "hash_key": "addr-port",
            },
            identity=["cookie:sid"],
        ),
    ),
    "source.cfg": (
        "haproxy",
        Routing(
            PLAIN,
            "haproxy-map",
            {"balance": "source"},
            identity=["address"],
            checks=None,
            ejection=None,
            retries=0,
        ),
    ),
    "bridge.cfg": ("haproxy", Routing(PLAIN, "ring", bridge=Bridge("my-host", "a-key"))),
    "consistent.conf": (
        "nginx",
        Routing(PLAIN, "nginx-consistent", identity=PLACES, trusted=(*TRUSTED, "unix")),
    ),
    "resolved.conf": (
        "nginx",
        Routing(
            [Host("web1.example:8080", address="10.0.0.1:8080"), Host("10.0.0.2:8080")],
            "nginx-consistent",
            identity=["header:x_session"],
            ejection=EJECTION,
            load_factor=1.25,
        ),
    ),
    "ip-hash.conf": (
        "nginx",
        Routing(
            NAMED, "nginx-ip-hash", identity=["address"], checks=None, ejection=None, retries=0
        ),
    ),
    "header.caddyfile": (
        "caddy",
        Routing(
            PLAIN,
            "caddy-hrw",
            identity=["header:X-Session"],
            checks=HTTP,
            ejection=EJECTION,
            load_factor=1.25,
        ),
    ),
    "address.caddyfile": (
        "caddy",
        Routing(
            PLAIN,
            "caddy-hrw",
            identity=["address"],
            checks=None,
            ejection=None,
            retries=0,
            trusted=TRUSTED,
        ),
    ),
    "traefik.yaml": (
        "traefik",
        Routing(
            [
                Host("http://10.0.0.1:8080", address="10.0.0.1:8080"),
                Host("http://[2001:db8::3]:8080", 3, address="[2001:db8::3]:8080"),
            ],
            "traefik-hrw",
            identity=["address"],
            checks=HTTP,
            ejection=EJECTION,
            load_factor=1.25,
        ),
    ),
    "bridge.conf": (
        "nginx",
        Routing({"10.0.0.1:80": 0.5, "10.0.0.2:80": 1}, "ring", bridge=Bridge()),
    ),
}


def text_of(name: str) -> str:
    return export(*GOLDEN[name])


if __name__ == "__main__":
    for name in GOLDEN:
        (FOLDER / name).write_text(text_of(name), encoding="utf-8")
