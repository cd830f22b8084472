"""Validators of options, and how an option is declared once with its help.

A validator checks and converts one value: ``SECONDS(5, "interval")`` returns ``5.0``,
``SECONDS(True, "interval")`` raises ``ConfigError`` ("interval must be seconds above 0, got True").
A bool is never a number.

A class of options is a dataclass whose fields are made by ``option``. The configuration file, the
command line and the documentation read the same declaration through ``options_of``.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Rules:
...     interval: float = option(5.0, check=SECONDS, help="Seconds between two probes.")
...
...     def __post_init__(self) -> None:
...         check_options(self)
>>> Rules(interval=2).interval
2.0
>>> [(each.name, each.check.shape, each.default, each.help) for each in options_of(Rules)]
[('interval', 'seconds above 0', 5.0, 'Seconds between two probes.')]
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from hashring.errors import ConfigError
from hashring.net import is_loopback, parse_address, split_endpoint
from hashring.text import bounded_repr, closest

T = TypeVar("T")


class Validator(Generic[T]):
    """``convert`` returns the value to use, or raises ``ValueError`` with a hint or without.

    ``shape`` is what is accepted, in words. ``off`` is how a file spells None: 0 or the empty text.
    """

    __slots__ = ("convert", "off", "shape")

    def __init__(self, shape: str, convert: Callable[[Any], T], off: Any = None) -> None:
        self.shape = shape
        self.convert = convert
        self.off = off

    def __call__(self, value: object, option: str = "") -> T:
        """``value`` as it is used. Raises ``ConfigError``, which names ``option``.

        >>> COUNT(3), COUNT(3, "capacity")
        (3, 3)
        """
        try:
            return self.convert(value)
        except ConfigError:  # has a message of its own
            raise
        except (ValueError, TypeError, OverflowError) as error:
            hint = f": {error}" if error.args else ""
            words = f"must be {self.shape}, got {bounded_repr(value)}{hint}"
        raise ConfigError(f"{option} {words}".lstrip(), option=option or None)

    def __repr__(self) -> str:
        return f"<Validator: {self.shape}>"


def is_number(value: object) -> bool:
    """Whether ``value`` is an int or a float, but no bool and no NaN.

    >>> is_number(1), is_number(1.5), is_number(True), is_number("1")
    (True, True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def is_int(value: object) -> bool:
    """Whether ``value`` is an int, but no bool.

    >>> is_int(1), is_int(True), is_int(1.0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def number(
    shape: str, least: float = -math.inf, most: float = math.inf, *, above: bool = False
) -> Validator[float]:
    """A finite number from ``least`` (or, with ``above``, greater than it) to ``most``.

    >>> number("a fraction from 0 to 1", 0, 1)(1)
    1.0
    """

    def convert(value: Any) -> float:
        if not is_number(value) or value < least or (above and value == least):
            raise ValueError
        if value > most:  # a fraction has its maximum in the shape
            raise ValueError(f"the maximum is {most:g}") if 1 < most < math.inf else ValueError
        result = float(value)
        if not math.isfinite(result):
            raise ValueError
        return result

    return Validator(shape, convert)


def whole(shape: str, least: int, most: int | None = None) -> Validator[int]:
    """An int from ``least`` to ``most``.

    >>> whole("an int from 1 to 3", 1, 3)(4, "replicas")
    Traceback (most recent call last):
    hashring.errors.ConfigError: replicas must be an int from 1 to 3, got 4
    """

    def convert(value: Any) -> int:
        if not is_int(value) or value < least or (most is not None and value > most):
            raise ValueError
        return int(value)

    return Validator(shape, convert)


def int_between(least: int, most: int) -> Validator[int]:
    """An int from ``least`` to ``most``, both included.

    >>> int_between(1, 65535)(80, "port")
    80
    """
    return whole(f"an int from {least} to {most}", least, most)


def text(shape: str) -> Validator[str]:
    """A text that is neither empty nor has control characters."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ValueError
        return value

    return Validator(shape, convert)


def choice(*words: Any) -> Validator[Any]:
    """One of ``words``.

    >>> choice("text", "json")("jsn", "log")
    Traceback (most recent call last):
    hashring.errors.ConfigError: log must be "text" or "json", got 'jsn': did you mean 'json'?
    """

    def convert(value: Any) -> Any:
        # 1 equals True in Python, and is another value in a file
        if any(value == word and type(value) is type(word) for word in words):
            return value
        known = [word for word in words if isinstance(word, str)]
        near = closest(value, known) if isinstance(value, str) else None
        raise ValueError(f"did you mean {near!r}?") if near else ValueError

    return Validator(" or ".join(map(_spell_word, words)), convert)


def optional(check: Validator[T], off: Any, meaning: str = "none") -> Validator[T | None]:
    """``check``, or None, which a file spells ``off``.

    >>> NEVER = optional(SECONDS, 0, "no limit")
    >>> NEVER(0), NEVER(None), NEVER(5), NEVER.shape
    (None, None, 5.0, 'seconds above 0, or 0 for no limit')
    """

    def convert(value: Any) -> T | None:
        # False equals 0, and is no number
        if value is None or (value == off and not isinstance(value, bool)):
            return None
        return check.convert(value)

    return Validator(f"{check.shape}, or {_spell_word(off)} for {meaning}", convert, off)


def _spell_word(word: Any) -> str:
    return str(word).lower() if isinstance(word, bool) else repr(word).replace("'", '"')


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _statuses(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError
    if not all(is_int(each) and 400 <= each <= 599 for each in value):
        raise ValueError("each from 400 to 599")
    return tuple(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        hint = f"did you mean [{bounded_repr(value)}]?"
        raise ValueError(hint)  # noqa: TRY004  # becomes a ConfigError
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ValueError
    return tuple(value)


def _is_unix_address(value: Any) -> bool:
    """Whether it is ``unix:PATH``. Raises ``ValueError`` for a path that no socket can have."""
    if not isinstance(value, str) or not value.startswith("unix:"):
        return False
    path = value.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > _SOCKET_PATH:
        raise ValueError(
            f"the path of a Unix socket begins with / and has at most {_SOCKET_PATH} bytes"
        )
    return True


def _listen_address(value: Any) -> str:
    if not _is_unix_address(value):
        parse_address(value, any_port=True)
    return str(value)


def _loopback_address(value: Any) -> str:
    if _is_unix_address(value):
        return str(value)
    host, _ = parse_address(value, any_port=True)
    if not is_loopback(host):
        raise ValueError("without a token, only this machine may reach it")
    return str(value)


def _header(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise TypeError
    if not value.replace("-", "").isalnum():
        raise ValueError("use letters, digits and hyphens")
    return value


def _address(value: Any) -> str:
    if isinstance(value, str) and ("://" in value or value.startswith("unix:")):
        split_endpoint(value)
    else:
        parse_address(value)
    return str(value)


_SOCKET_PATH = 107  # bytes of a path that sockaddr_un holds
_THIRTY_YEARS = 1e9  # seconds; more is a slip, and poll() and asyncio fail on it

SECONDS = number("seconds above 0", 0, _THIRTY_YEARS, above=True)
SECONDS_OR_ZERO = number("0 or more seconds", 0, _THIRTY_YEARS)
NUMBER = number("a number of 0 or more", 0)
ABOVE_0 = number("a number above 0", 0, above=True)
ABOVE_1 = number("a number above 1", 1, above=True)
FRACTION = number("a fraction from 0 to 1", 0, 1)
COUNT = whole("an int of at least 1", 1)
WHOLE = whole("an int of 0 or more", 0)
BYTES = COUNT
PORT = int_between(1, 65535)
SEED = whole("an int from 0 to 2^32-1", 0, (1 << 32) - 1)
FLAG = Validator("true or false", _flag)
TEXT = text("a text")
PATH = text("the path of a file")
TEXTS = Validator("a list of texts", _texts)
STATUSES = Validator("a list of HTTP statuses", _statuses)
HEADER = Validator("the name of a header", _header)
ADDRESS = Validator("ADDRESS:PORT, https://ADDRESS:PORT or unix:/PATH", _address)
LISTEN_ADDRESS = Validator("ADDRESS:PORT or unix:PATH", _listen_address)
LOOPBACK_ADDRESS = Validator("ADDRESS:PORT on loopback, or unix:PATH", _loopback_address)


class Option(NamedTuple):
    """One declared option: its name, validator, default and help."""

    name: str
    check: Validator[Any]
    default: Any
    help: str


def option(default: Any, *, check: Validator[Any], help: str, **field_options: Any) -> Any:
    """A dataclass field that declares an option; ``field_options`` are those of ``field``.

    ``help`` has the effect of the value, its unit, and the meaning of 0 or empty.
    """
    from dataclasses import field  # imports inspect, which `import hashring` does without

    return field(default=default, metadata={"check": check, "help": help}, **field_options)


def inherit_option(declaration: type, name: str) -> Any:
    """A dataclass field with the same option as ``declaration`` has under ``name``."""
    for each in options_of(declaration):
        if each.name == name:
            return option(each.default, check=each.check, help=each.help)
    raise AttributeError(f"{declaration.__name__} declares no option {name!r}")


def inherit_options(declaration: type[T], source: Any) -> T:
    """A ``declaration`` made of the options of ``source`` that have the same names."""
    return declaration(
        **{each.name: getattr(source, each.name) for each in options_of(declaration)}
    )


def options_of(declaration: type) -> Iterator[Option]:
    """The options that a dataclass declares, in their order; other fields are left out."""
    from dataclasses import fields

    for each in fields(declaration):
        if "check" in each.metadata:
            name = each.name.rstrip("_")  # a key may be a keyword of Python
            yield Option(name, each.metadata["check"], each.default, each.metadata["help"])


def check_options(declared: Any) -> None:
    """Put the checked value at each option of a dataclass; to be called in ``__post_init__``.

    Raises ``ConfigError``, which names the option.
    """
    for each in options_of(type(declared)):
        attribute = attribute_of(declared, each.name)
        value = each.check(getattr(declared, attribute), each.name)
        object.__setattr__(declared, attribute, value)  # a frozen dataclass sets its fields so


def attribute_of(declared: Any, name: str) -> str:
    """The attribute of the option ``name``: with an underscore if the name is a keyword.

    >>> attribute_of(int, "real"), attribute_of(int, "from")
    ('real', 'from_')
    """
    return name if hasattr(declared, name) else f"{name}_"
