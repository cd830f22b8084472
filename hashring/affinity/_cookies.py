"""Reading Cookie headers and writing Set-Cookie headers."""

from __future__ import annotations

import re
from functools import lru_cache

from hashring.errors import ConfigError

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_PREFIXES = ("__host-", "__secure-")  # browsers give these prefixes a meaning, in any letter case


def check_name(name: str) -> str:
    """``name`` if it can be a cookie's name, else ``ConfigError``.

    >>> check_name("hashring")
    'hashring'
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ConfigError(
            f"a cookie's name is of letters, digits and !#$%&'*+-.^_`|~, got {name!r}",
            option="cookie",
        )
    return name


def check_bare_name(name: str) -> str:
    """As ``check_name``, and without a prefix that the security option adds."""
    if check_name(name).lower().startswith(_PREFIXES):
        raise ConfigError(
            f"give the cookie's name without its prefix, got {name!r}: cookie_secure=True adds "
            "__Host-",
            option="cookie",
        )
    return name


def cookie_values(header: str, name: str) -> list[str]:
    """The values of the cookies called ``name``, in the order sent: the longest path comes first.

    Quotes around a value are removed; nothing is percent-decoded (RFC 6265, sections 4.1.1
    and 5.4). Parts without a name are skipped. Cost: O(length).

    >>> cookie_values('a=1; sid="x=y"; sid=z; b', "sid")
    ['x=y', 'z']
    """
    if name not in header:
        return []
    values = []
    # each cookie begins with a sign then, which the search jumps to
    for value in _pattern_of(name).findall(";" + header):
        value = value.strip(" \t")
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        values.append(value[1:-1] if quoted else value)
    return values


@lru_cache(64)  # an application has few names
def _pattern_of(name: str) -> re.Pattern[str]:
    return re.compile(r";[ \t]*" + re.escape(name) + r"[ \t]*=([^;]*)")


def set_cookie(name: str, value: str, *, max_age: float, secure: bool) -> str:
    """The value of a Set-Cookie header: for all paths of this one host, unseen by scripts.

    >>> set_cookie("sid", "x", max_age=60, secure=True)
    'sid=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure'
    """
    end = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={int(max_age)}; HttpOnly; SameSite=Lax{end}"
