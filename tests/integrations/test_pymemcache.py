"""The hasher for pymemcache: in its ``HashClient``, and in its own tests."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hashring.errors import ConfigError
from hashring.integrations.pymemcache import Hasher
from hashring.placement import create
from tests.integrations._processes import Backends

hash_client = pytest.importorskip("pymemcache.client.hash")

KEYS = [f"user:{number}" for number in range(500)]
# makes every HashClient of their tests use ours
PLUGIN = """
from pymemcache.client import hash as module
from hashring.integrations.pymemcache import Hasher
init = module.HashClient.__init__
init.__defaults__ = tuple(
    Hasher if value is module.RendezvousHash else value for value in init.__defaults__
)
assert Hasher in init.__defaults__
"""


@pytest.mark.parametrize(
    ("placement", "options"), [("ring", {"vnodes": 64}), ("ketama", {}), ("pymemcache", {})]
)
def test_a_client_sends_each_key_by_the_table(
    memcached_backends: Backends, placement: str, options: dict[str, Any]
) -> None:
    addresses = memcached_backends.addresses
    client = hash_client.HashClient(addresses, hasher=partial(Hasher, placement, **options))
    table = create(placement, addresses, **options)
    found = {key: client.get(key).decode() for key in KEYS}
    client.close()
    assert found == {key: table.lookup(key) for key in KEYS}
    assert len(set(found.values())) == 5


def test_a_server_that_comes_back_has_its_old_place() -> None:
    hasher = Hasher("ketama")
    for node in ("a:1", "b:1", "c:1"):
        hasher.add_node(node)
        hasher.add_node(node)
    before = [hasher.get_node(key) for key in KEYS]
    hasher.remove_node("b:1")
    assert hasher.nodes == ["a:1", "c:1"]
    assert "b:1" not in {hasher.get_node(key) for key in KEYS}
    hasher.add_node("b:1")
    assert hasher.nodes == ["a:1", "b:1", "c:1"]
    assert [hasher.get_node(key) for key in KEYS] == before


def test_errors_are_those_of_pymemcache_and_ours() -> None:
    hasher = Hasher()
    assert hasher.get_node("x") is None
    with pytest.raises(ValueError, match="no such node 'a:1'"):
        hasher.remove_node("a:1")
    with pytest.raises(ConfigError, match="vnodes"):
        Hasher(vnode=3)


def test_pymemcaches_own_tests_pass_with_it(tmp_path: Path) -> None:
    (tmp_path / "use_our_hasher.py").write_text(PLUGIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = unit\n  integration\n")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "use_our_hasher", "-p", "no:cacheprovider"),
        *("-c", "pytest.ini", "-W", "ignore", "--pyargs", "pymemcache.test.test_client_hash"),
    ]
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
