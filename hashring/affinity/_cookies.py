"""Reading Cookie headers, and the attributes of a cookie that is set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from hashring.errors import ConfigError
from hashring.validators import FLAG, Validator, check_options, choice, option, optional

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
            f"give the cookie's name without its prefix, got {name!r}: cookie_secure=True adds it",
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


_ATTRIBUTE = re.compile(r"[ -:<-~]{1,1024}")  # RFC 6265, section 4.1.1: no control, no semicolon
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+", re.IGNORECASE)


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not _ATTRIBUTE.fullmatch(value):
        raise ValueError
    return value


def _domain(value: object) -> str:
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise ValueError
    return value


_DOMAIN_NAME = Validator("a domain such as example.com, without a port", _domain)


@dataclass(frozen=True, slots=True)
class CookieOptions:
    """The attributes of the cookie that keeps a client on its host. Source: RFC 6265bis.

    The defaults suit an application on one site. A page that is embedded in other sites needs
    ``cookie_samesite="None"``, and for browsers that block such cookies ``cookie_partitioned``
    (CHIPS) as well. Raises ``ConfigError``.

    >>> CookieOptions().attributes(60, secure=True)
    '; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure'
    >>> CookieOptions(cookie_samesite="None", cookie_max_age=0).attributes(60, secure=False)
    '; Path=/; HttpOnly; SameSite=None; Secure'
    """

    cookie_samesite: Literal["Lax", "Strict", "None"] = option(
        "Lax",
        check=choice("Lax", "Strict", "None"),
        help="The SameSite attribute. None, for pages embedded in other sites, implies Secure.",
    )
    cookie_path: str = option(
        "/",
        check=Validator("a path that begins with /", _path),
        help="Path that the cookie is for.",
    )
    cookie_domain: str | None = option(
        None,
        check=optional(_DOMAIN_NAME, ""),
        help="Domain whose subdomains get the cookie too. Empty means this host only.",
    )
    cookie_max_age: float | None = option(
        None,
        check=optional(choice(0), "", "that of the token"),
        help="0 means until the browser ends its session. Empty means max_age.",
    )
    cookie_partitioned: bool = option(
        False,
        check=FLAG,
        help="The Partitioned attribute: a cookie of its own under each embedding site. It implies "
        "Secure.",
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def needs_secure(self) -> bool:
        """Whether browsers refuse the cookie without ``Secure``."""
        return self.cookie_samesite == "None" or self.cookie_partitioned

    @property
    def prefix(self) -> str:
        """What may stand before the name of a cookie that is always ``Secure``."""
        is_host_only = self.cookie_path == "/" and self.cookie_domain is None
        return "__Host-" if is_host_only else "__Secure-"

    def attributes(self, max_age: float, *, secure: bool) -> str:
        """What follows the value in a ``Set-Cookie`` header; scripts do not see the cookie."""
        parts = ["", f"Path={self.cookie_path}"]
        if self.cookie_domain is not None:
            parts.append(f"Domain={self.cookie_domain}")
        if self.cookie_max_age is None:
            parts.append(f"Max-Age={int(max_age)}")
        parts += ["HttpOnly", f"SameSite={self.cookie_samesite}"]
        parts += ["Secure"] * (secure or self.needs_secure)
        parts += ["Partitioned"] * self.cookie_partitioned
        return "; ".join(parts)
