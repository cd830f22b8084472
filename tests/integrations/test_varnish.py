"""Varnish: the shard director, weighted, with few replicas, ``alt`` and a sick backend."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS, http_bodies
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    Proxy,
    free_port,
    program,
    running,
    version_of,
)

NAMES = ("web10", "web1", "b", "web2", "x")
WEIGHTS = (1.0, 2.5, 1.1, 4.0, 1.75)
SICK = 1
REPLICAS = {"plain": 67, "few": 13}
CASES = {
    "plain": "weighted",
    "few": f"weighted, replicas={REPLICAS['few']}",
    "sick": "weighted, one sick",
    "alt": "weighted, alt=2",
}

VCL = """
vcl 4.1;
import directors;
probe never {{ .url = "/"; .interval = 3600s; .initial = 0; .window = 8; .threshold = 8; }}
{backends}
sub vcl_init {{ {directors} }}
sub vcl_recv {{
  set req.backend_hint = plain.backend(by=KEY, key=plain.key(req.http.x-key));
  if (req.url == "/few") {{
    set req.backend_hint = few.backend(by=KEY, key=few.key(req.http.x-key));
  }} elseif (req.url == "/alt") {{
    set req.backend_hint =
      plain.backend(by=KEY, key=plain.key(req.http.x-key), alt=2, healthy=IGNORE);
  }} elseif (req.url == "/sick") {{
    set req.backend_hint = sick.backend(by=KEY, key=sick.key(req.http.x-key));
  }}
  return (pass);
}}
"""


def director(name: str, replicas: int, backends: list[str]) -> str:
    added = " ".join(
        f'{name}.add_backend({backend}, ident="{ident}", weight={weight});'
        for backend, ident, weight in zip(backends, NAMES, WEIGHTS, strict=True)
    )
    return f"new {name} = directors.shard(); {added} {name}.reconfigure(replicas={replicas});"


def configuration(addresses: list[str]) -> str:
    backends = []
    for index, address in enumerate(addresses):
        host, port = address.split(":")
        where = f'.host = "{host}"; .port = "{port}";'
        backends.append(f"backend b{index} {{ {where} }}")
        if index == SICK:  # a probe that starts at 0 of 8 and needs 8
            backends.append(f"backend sick_one {{ {where} .probe = never; }}")
    names = [f"b{index}" for index in range(len(addresses))]
    with_sick = [*names[:SICK], "sick_one", *names[SICK + 1 :]]
    directors = [
        *(director(name, replicas, names) for name, replicas in REPLICAS.items()),
        director("sick", REPLICAS["plain"], with_sick),
    ]
    return VCL.format(backends="\n".join(backends), directors="\n".join(directors))


@pytest.fixture(scope="module")
def varnish(http_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    path = program("varnishd", "varnish")
    program("cc", "gcc and libc6-dev")
    folder = tmp_path_factory.mktemp("varnish")
    port = free_port()
    (folder / "shard.vcl").write_text(configuration(http_backends.addresses))
    command = [path, "-F", "-n", str(folder / "work"), "-f", str(folder / "shard.vcl")]
    options = ["-a", f"{LOOPBACK}:{port}", "-s", "malloc,8m", "-T", "none", "-j", "none"]
    with running([*command, *options], folder, [port]):
        yield Proxy(version_of("Varnish", path, "-V"), port)


@pytest.mark.parametrize("case", CASES)
def test_varnish_agrees(varnish: Proxy, http_backends: Backends, parity: Parity, case: str) -> None:
    named = dict(zip(http_backends.addresses, NAMES, strict=True))
    answers = {key: named[host] for key, host in http_bodies(varnish.port, f"/{case}", KEYS)}
    hosts = zip(NAMES, WEIGHTS, strict=True)
    table = create("varnish-shard", hosts, replicas=REPLICAS.get(case, REPLICAS["plain"]))
    gone = [NAMES[SICK]] if case == "sick" else []

    def ours(key: str) -> str | None:
        if case == "alt":
            return next(islice(table.walk(key), 2, None))
        return table.lookup(key, unavailable=gone)

    parity.agrees(varnish.version, "varnish-shard", CASES[case], answers, ours)
