"""Every strategy that is found keeps the contract of a strategy."""

from __future__ import annotations

import pytest

from hashring import strategies
from hashring.testing import check_strategy


@pytest.mark.parametrize("name", strategies.names())
def test_a_strategy_keeps_the_contract(name: str) -> None:
    check_strategy(lambda: strategies.create(name), max_examples=50)
