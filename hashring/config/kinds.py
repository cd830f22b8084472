"""What may stand at a key?  One small check for each kind of value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, TypeAlias

from hashring.errors import ConfigError

__all__ = [
    "ABOVE_1",
    "BYTES",
    "COUNT",
    "ENDPOINT",
    "FLAG",
    "FRACTION",
    "LIST",
    "LOOPBACK",
    "NUMBER",
    "PATH",
    "SECONDS",
    "SECONDS_OR_NEVER",
    "SECONDS_OR_NONE",
    "TEXT",
    "WHOLE",
    "Kind",
    "choice",
    "endpoint",
    "optional",
    "suggestion",
]

Check: TypeAlias = Callable[[Any], Any]
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s/]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Kind:
    """``check`` gives the value to use, or raises ``ConfigError`` that says what it should be.

    ``shape`` says that for people.
    """

    shape: str
    check: Check

    def __call__(self, value: Any) -> Any:
        """``value`` as it is used. Raises ``ConfigError``.

        >>> COUNT(3)
        3
        """
        return self.check(value)


def suggestion(word: object, known: list[str]) -> str:
    """``did you mean 'x'?``, or what there is.

    >>> suggestion("lisen", ["listen", "admin"]), suggestion("zzz", ["listen", "admin"])
    ("did you mean 'listen'?", 'there are admin, listen')
    """
    text = str(word)
    near = get_close_matches(text.lower().replace("-", "_"), known, 1, 0.6)
    near = near or get_close_matches(text.lower().replace("_", "-"), known, 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8080`` or ``[::1]:8080``. Raises ``ConfigError``.

    >>> endpoint("[::1]:8080")
    ('::1', 8080)
    """
    parts = _ENDPOINT.fullmatch(text) if isinstance(text, str) else None
    if parts is None or int(parts[3]) > 65535:
        raise ConfigError(f"must be ADDRESS:PORT, such as '127.0.0.1:8080', got {text!r}")
    return parts[1] or parts[2], int(parts[3])


def choice(*words: Any) -> Kind:
    """One of ``words``.

    >>> choice("text", "json")("jsn")
    Traceback (most recent call last):
    hashring.errors.ConfigError: must be "text" or "json", got 'jsn': did you mean 'json'?
    """
    shape = " or ".join(_spelled(word) for word in words)

    def check(value: Any) -> Any:
        # 1 equals True in Python, and is another value in a file
        if any(value == word and type(value) is type(word) for word in words):
            return value
        known = [word for word in words if isinstance(word, str)]
        near = suggestion(value, known) if isinstance(value, str) else ""
        hint = f": {near}" if near.startswith("did") else ""
        raise ConfigError(f"must be {shape}, got {value!r}{hint}")

    return Kind(shape, check)


def optional(kind: Kind, off: Any) -> Kind:
    """``kind``, or ``off`` for none."""
    shape = f"{kind.shape}, or {_spelled(off)} for none"

    def check(value: Any) -> Any:
        off_too = value == off and not isinstance(value, bool)  # 0 and 0.0 are both off
        return off if off_too else kind(value)

    return Kind(shape, check)


def _spelled(word: Any) -> str:
    return str(word).lower() if isinstance(word, bool) else repr(word).replace("'", '"')


def _number(shape: str, least: float, most: float, *, open_end: bool = False) -> Kind:
    def check(value: Any) -> float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not fits or not least <= value <= most or (open_end and value == least):
            raise ConfigError(f"must be {shape}, got {value!r}")
        return float(value)

    return Kind(shape, check)


def _whole(shape: str, least: int) -> Kind:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"must be {shape}, got {value!r}")
        return value

    return Kind(shape, check)


def _text(shape: str) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ConfigError(f"must be {shape}, got {value!r}")
        return value

    return Kind(shape, check)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"must be true or false, got {value!r}")
    return value


def _list(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigError(f"must be a list of texts, got {value!r}: did you mean [{value!r}]?")
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"must be a list of texts, got {value!r}")
    return tuple(value)


def _endpoint(value: Any) -> str:
    endpoint(value)
    return str(value)


def _loopback(value: Any) -> str:
    name, _ = endpoint(value)
    try:
        own = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        own = False
    if not own:
        raise ConfigError(
            f"must be on loopback, such as '127.0.0.1:9090', got {value!r}: it has no password"
        )
    return str(value)


SECONDS = _number("seconds above 0", 0, 1e9, open_end=True)  # 30 years: more is a slip
SECONDS_OR_NEVER = _number("seconds, 0 for no limit", 0, 1e9)
SECONDS_OR_NONE = _number("seconds, 0 for none", 0, 1e9)
NUMBER = _number("a number of 0 or more", 0, 1e12)
ABOVE_1 = _number("a number above 1", 1, 1e6, open_end=True)
FRACTION = _number("a fraction from 0 to 1", 0, 1)
COUNT = _whole("a whole number of 1 or more", 1)
WHOLE = _whole("a whole number of 0 or more", 0)
BYTES = _whole("bytes, 0 for no limit", 0)
TEXT = _text("a text")
PATH = _text("the path of a file")
FLAG = Kind("true or false", _flag)
LIST = Kind("a list of texts", _list)
ENDPOINT = Kind("ADDRESS:PORT", _endpoint)
LOOPBACK = Kind("ADDRESS:PORT on loopback", _loopback)
