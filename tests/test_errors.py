"""What can go wrong, and does each error say so, carry its data and travel?"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import hashring
from hashring import errors
from hashring.errors import (
    ConfigError,
    DiscoveryError,
    DuplicateHostError,
    HashringError,
    InvalidKeyError,
    InvalidWeightError,
    NoHostsError,
    PoolFullError,
    TokenError,
    UnknownHostError,
)

TREE: dict[str, type[Exception]] = {
    "NoHostsError": LookupError,
    "UnknownHostError": KeyError,
    "DuplicateHostError": ValueError,
    "PoolFullError": RuntimeError,
    "InvalidKeyError": TypeError,
    "InvalidWeightError": ValueError,
    "ConfigError": ValueError,
    "DiscoveryError": ConnectionError,
    "TokenError": ValueError,
}

FULL: list[tuple[HashringError, dict[str, Any], str]] = [
    (
        NoHostsError(reasons=[("web1", "probe", "down"), ("web2", "ops", "disk")], total=3),
        {"reasons": (("web1", "probe", "down"), ("web2", "ops", "disk")), "total": 3},
        "none of the pool's 3 hosts can serve: web1 (probe: down), web2 (ops: disk) and 1 more",
    ),
    (
        errors.NoCapacityError(host="web1"),
        {"host": "web1"},
        str(errors.NoCapacityError(host="web1")),
    ),
    (
        errors.SessionUnavailableError("web1", "probe", "timeout"),
        {"host": "web1", "reasons": (("web1", "probe", "timeout"),), "total": 1},
        "the client's own host web1 cannot serve (probe: timeout): retry later",
    ),
    (NoHostsError("my own words"), {"reasons": (), "total": 0}, "my own words"),
    (
        UnknownHostError("web9", known=["web1", "web2"]),
        {"name": "web9", "known": ("web1", "web2")},
        "there is no host 'web9'; the hosts are web1, web2",
    ),
    (
        DuplicateHostError("web1"),
        {"name": "web1"},
        "there is already a host 'web1': use another name, set_weight() or replace()",
    ),
    (DuplicateHostError("web1", "given twice"), {"name": "web1"}, "given twice"),
    (PoolFullError("full", capacity=3), {"capacity": 3}, "full"),
    (InvalidKeyError("no", key_type="float"), {"key_type": "float"}, "no"),
    (InvalidWeightError("no", host="web1", weight=-1), {"host": "web1", "weight": -1}, "no"),
    (ConfigError("bad", option="vnodes"), {"option": "vnodes"}, "bad"),
    (DiscoveryError("refused", source="dns:web"), {"source": "dns:web"}, "refused"),
    (TokenError("expired", reason="expired"), {"reason": "expired"}, "expired"),
]
each_error = pytest.mark.parametrize(
    ("error", "data", "message"), FULL, ids=[type(error).__name__ for error, _, _ in FULL]
)


def is_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, BaseException)


@pytest.mark.parametrize(("name", "builtin"), TREE.items())
def test_each_error_is_a_hashring_error_and_a_builtin(name: str, builtin: type[Exception]) -> None:
    error = getattr(errors, name)
    assert error.__bases__ == (HashringError, builtin)
    with pytest.raises(builtin):
        raise error
    assert str(error()), "even without a word it has a message"
    assert str(error()) != "None"


def test_the_tree_is_complete_and_the_front_door_shows_it() -> None:
    defined = {name for name, each in vars(errors).items() if is_error(each)}
    assert defined == {*TREE, "HashringError", "NoCapacityError", "SessionUnavailableError"}
    assert issubclass(errors.NoCapacityError, NoHostsError)
    assert issubclass(errors.SessionUnavailableError, NoHostsError)
    for name in defined:
        assert getattr(hashring, name) is getattr(errors, name)


@each_error
def test_each_error_carries_its_data(
    error: HashringError, data: dict[str, Any], message: str
) -> None:
    assert {name: getattr(error, name) for name in data} == data
    assert str(error) == message


@each_error
def test_each_error_travels(error: HashringError, data: dict[str, Any], message: str) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))
        assert type(twin) is type(error)
        assert {name: getattr(twin, name) for name in data} == data
        assert str(twin) == message
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert (type(twin), str(twin)) == (type(error), message)
        assert {name: getattr(twin, name) for name in data} == data


def test_an_unknown_host_is_not_quoted_twice() -> None:
    # KeyError shows the repr of its argument, so a sentence would come in quotes
    said = str(UnknownHostError("web9"))
    assert said.startswith("there is no host 'web9'")
    assert '"' not in said


def test_an_unknown_host_lists_some_that_are_known() -> None:
    said = str(UnknownHostError("x", known=[f"web{i}" for i in range(500)]))
    assert "web0, web1" in said
    assert said.endswith("...")
    assert len(said) < 200


def test_no_hosts_shows_at_most_five_and_a_count() -> None:
    error = NoHostsError(reasons=((f"web{i}", "probe", "timeout") for i in range(100)), total=100)
    assert len(error.reasons) == 5
    assert error.total == 100
    assert "web4 (probe: timeout)" in str(error)
    assert "web5" not in str(error)
    assert "95 more" in str(error)


def test_an_empty_pool_has_a_hint() -> None:
    assert "register a host" in str(NoHostsError())


def test_an_errno_does_not_repeat_the_message() -> None:
    # OSError formats itself anew when it is given two arguments
    error = DiscoveryError("refused", source="dns:web")
    assert error.args == ("refused",)
    assert error.errno is None
