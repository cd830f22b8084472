"""Secrets, read from a file or the environment; no message contains one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hashring.errors import ConfigError

_SHORTEST = 16  # bytes: 128 random bits cannot be guessed
_LONGEST = 4096  # bytes: more is another file, given by mistake


def read_secret(
    file: str | None,
    variable: str | None,
    environ: Mapping[str, str],
    report: Callable[[str, str], None],
) -> bytes | None:
    """The secret of a file or of a variable, without the end of its line; None for neither.

    ``report("file" or "env", what)`` is called for a problem.

    >>> read_secret(None, "S", {"S": "sixteen or more random bytes"}, print)
    b'sixteen or more random bytes'
    """
    if file and variable:
        report("env", "a file is given too: give one of the two")
        return None
    try:
        if file:
            return _check(_from_file(file))
        return _check(_from_variable(variable, environ)) if variable else None
    except ConfigError as error:
        report("file" if file else "env", str(error))
        return None


def _from_file(file: str) -> bytes:
    try:
        with Path(file).open("rb") as source:
            return source.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{file!r} cannot be read: {why}") from None


def _from_variable(variable: str, environ: Mapping[str, str]) -> bytes:
    found = environ.get(variable)
    if found is None:
        raise ConfigError(f"the variable {variable!r} is not set")
    return found.encode("utf-8", "surrogateescape")


def _check(secret: bytes) -> bytes:
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not _SHORTEST <= len(secret) <= _LONGEST:
        raise ConfigError(
            f"a secret must have {_SHORTEST} to {_LONGEST} bytes, this one has "
            f"{'more' if len(secret) > _LONGEST else len(secret)}: "
            "`openssl rand -hex 32` makes one"
        )
    return secret
