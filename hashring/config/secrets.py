"""Where is a secret?  In a file or the environment, and never in what is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hashring.errors import ConfigError

__all__ = ["SHORTEST", "secret_in"]

SHORTEST = 16
"""128 random bits cannot be guessed."""

_LONGEST = 4096  # a key is short; a file given by mistake is not


def secret_in(
    file: str, variable: str, environ: Mapping[str, str], tell: Callable[[str, str], None]
) -> bytes | None:
    """The secret of a file or else a variable; None where neither is named.

    A line's end behind it is no part of it. ``tell("file" or "env", what)`` hears what is wrong.

    >>> secret_in("", "S", {"S": "sixteen or more random bytes"}, print)
    b'sixteen or more random bytes'
    """
    if file and variable:
        tell("env", "a file is named too: name one of the two")
        return None
    if not file and not variable:
        return None
    kind = "file" if file else "env"
    try:
        return _checked(_read(file) if file else _looked_up(variable, environ))
    except ConfigError as error:
        tell(kind, str(error))
        return None


def _read(file: str) -> bytes:
    try:
        with Path(file).open("rb") as source:
            return source.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{file!r} cannot be read: {why}") from None


def _looked_up(variable: str, environ: Mapping[str, str]) -> bytes:
    found = environ.get(variable)
    if found is None:
        raise ConfigError(f"the variable {variable!r} is not set")
    return found.encode("utf-8", "surrogateescape")


def _checked(secret: bytes) -> bytes:
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not SHORTEST <= len(secret) <= _LONGEST:
        raise ConfigError(
            f"a secret has {SHORTEST} to {_LONGEST} bytes, this one has "
            f"{'more' if len(secret) > _LONGEST else len(secret)}: "
            "`openssl rand -hex 32` makes one"
        )
    return secret
