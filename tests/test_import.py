"""What `import hashring` loads, and that every public name is found at its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hashring


def modules_after(statement: str) -> set[str]:
    """The modules that a new interpreter has loaded after ``statement``."""
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_import_of_the_package_loads_no_room() -> None:
    loaded = modules_after("import hashring")
    assert {name for name in loaded if name.startswith("hashring.")} == set()
    assert not loaded & {"asyncio", "dataclasses", "inspect", "logging", "mmh3", "typing"}


def test_the_balancer_imports_no_statistics_and_no_asyncio() -> None:
    loaded = modules_after("from hashring import LoadBalancer")
    assert "hashring.balancer" in loaded
    assert not loaded & {"asyncio", "statistics", "decimal", "platform", "click", "numpy", "polars"}


@pytest.mark.parametrize("name", hashring.__all__)
def test_a_public_name_is_found_and_kept(name: str) -> None:
    value = getattr(hashring, name)
    assert vars(hashring)[name] is value
    assert name in dir(hashring)


@pytest.mark.parametrize("room", ["balancer", "errors", "hosts", "placement", "ring", "strategies"])
def test_a_room_is_an_attribute_without_an_import_of_its_own(room: str) -> None:
    assert f"hashring.{room}" in modules_after(f"import hashring; hashring.{room}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hashring' has no attribute 'Ring'"):
        hashring.Ring  # noqa: B018  # the access is what is tested
