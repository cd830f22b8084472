"""Sources of client IDs, and their combination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping

from hashring.affinity._counters import Counters
from hashring.affinity.identity._request import Fields, Request, fields_of
from hashring.errors import ConfigError

MOST_BYTES = 256
"""An ID is a name, not a document: four times a SHA-256 in hex; more would be logged and pinned."""

_REASONS = ("empty", "too_long", "undecodable", "ambiguous")


class Unusable(Exception):  # noqa: N818  # a signal between a source and its caller, no error
    """The value where the ID should be does not identify a client; ``args[0]`` is the reason.

    The reason is one of ``empty``, ``too_long``, ``undecodable`` and ``ambiguous``.
    """


class IdentitySource(ABC):
    """Reads the client ID of a request; a subclass defines where (``find``).

    ``body_limit`` is how many bytes of the body it reads: 0 for none. The caller reads at most one
    byte more of a stream and gives what it has; a longer body is not looked into. ``stats`` counts
    requests that are anonymous although something was there: ``empty``, ``too_long`` (the ID over
    256 bytes, or the body over its limit), ``undecodable`` and ``ambiguous`` (two that differ).

    >>> class Fixed(IdentitySource):
    ...     def find(self, fields, body):
    ...         return body
    >>> fixed = Fixed()
    >>> fixed({}, b"ann"), fixed({}, b"x" * 257), fixed({}, b"\\xff"), dict(fixed.stats)["too_long"]
    ('ann', None, None, 1)
    """

    body_limit: int = 0

    def __init__(self) -> None:
        self._counters = Counters(*_REASONS)

    @abstractmethod
    def find(self, fields: Fields, body: bytes) -> bytes | str | None:
        """The ID where it stands; None where there is nothing. Raises ``Unusable``."""

    @property
    def stats(self) -> Mapping[str, int]:
        """How many requests were anonymous although something was there, by reason."""
        return self._counters.stats

    @property
    def plain_header(self) -> str | None:
        """The header whose value is the ID where it comes once, in ASCII, not empty or too long.

        A caller that has the headers may then read it itself, which costs a tenth. None: ask.
        """
        return None

    @property
    def places(self) -> tuple[str, ...]:
        """Where it looks, in order, as a configuration names it: ``header:x-user``, ...

        A source without places of its own is shown by the name of its class.

        >>> from hashring.affinity.identity import cookie, header
        >>> first_of(header("x-user"), cookie("sid")).places
        ('header:x-user', 'cookie:sid')
        """
        return (type(self).__name__,)

    def __call__(self, request: Request | Fields, body: bytes = b"") -> str | None:
        """The client ID of ``request``, None if it is anonymous. Cost: 1 to 5 us without a body."""
        return self._read(fields_of(request), body)

    def _read(self, fields: Fields, body: bytes) -> str | None:
        try:
            found = self.find(fields, body)
            return None if found is None else _check(found)
        except Unusable as why:
            self._counters.add(why.args[0])
            return None


def _check(found: bytes | str) -> str:
    try:
        text = found if isinstance(found, str) else found.decode()
        size = len(text.encode()) if isinstance(found, str) else len(found)
    except UnicodeError:  # bytes that are not UTF-8, or a lone surrogate
        raise Unusable("undecodable") from None
    if not size:
        raise Unusable("empty")
    if size > MOST_BYTES:
        raise Unusable("too_long")
    return text


class _FirstOf(IdentitySource):
    def __init__(self, sources: tuple[IdentitySource, ...]) -> None:
        super().__init__()
        self._sources = sources
        self.body_limit = max(source.body_limit for source in sources)

    def find(self, fields: Fields, body: bytes) -> str | None:
        for source in self._sources:
            found = source._read(fields, body)
            if found is not None:
                return found
        return None

    def _read(self, fields: Fields, body: bytes) -> str | None:
        return self.find(fields, body)  # which a source has checked

    @property
    def stats(self) -> Mapping[str, int]:
        """The sums over the sources, each of which has its own."""
        sums: Counter[str] = Counter()
        for source in self._sources:
            sums.update(source.stats)
        return dict(sums)

    @property
    def plain_header(self) -> str | None:
        """That of the first source."""
        return self._sources[0].plain_header

    @property
    def places(self) -> tuple[str, ...]:
        """Those of the sources, in order."""
        return tuple(place for source in self._sources for place in source.places)

    def __repr__(self) -> str:
        return f"first_of({', '.join(map(repr, self._sources))})"


def first_of(*sources: IdentitySource) -> IdentitySource:
    """The answer of the first source that has one, in the order given.

    >>> from hashring.affinity.identity import header, query
    >>> who = first_of(header("x-user"), query("user"))
    >>> who({"query_string": "user=ann"})
    'ann'
    """
    if not sources or not all(isinstance(source, IdentitySource) for source in sources):
        raise ConfigError(
            f"first_of takes one or more sources, such as header('x-user'), got {sources!r}"
        )
    return _FirstOf(sources)
