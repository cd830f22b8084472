"""gRPC: the ring_hash policy of C-core, weighted, small, and with servers down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS
from tests.integrations._parity import Parity

WEIGHTS = (3, 1, 4, 2, 5)
SCRIPT = Path(__file__).with_name("_grpc_asking.py")
HEADER_AS_KEY = "GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY"
ENDS_WITHIN = 120.0  # seconds


@pytest.mark.parametrize(
    ("smallest", "largest", "down"), [(1024, 4096, 0), (3, 29, 0), (1024, 4096, 2)]
)
def test_grpc_agrees(parity: Parity, smallest: int, largest: int, down: int) -> None:
    if find_spec("grpc") is None:
        pytest.skip("gRPC is not installed (package grpcio of PyPI)")
    keys = [key for key in KEYS if key.isascii()]  # metadata is ASCII
    numbers = map(str, (smallest, largest, down, *WEIGHTS))
    said = subprocess.run(
        [sys.executable, SCRIPT, *numbers],
        input="\n".join(keys),
        env={**os.environ, HEADER_AS_KEY: "true"},
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    addresses = found["addresses"]
    table = create(
        "grpc-ring",
        zip(addresses, WEIGHTS, strict=True),
        min_ring_size=smallest,
        max_ring_size=largest,
    )
    case = f"weighted, ring of {smallest} to {largest}, {down} down"
    ours = partial(table.lookup, unavailable=addresses[:down])
    parity.agrees(f"gRPC {found['version']}", "grpc-ring", case, found["answers"], ours)
