"""Text for messages: counts with their nouns, suggestions, values that stay short."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 200


def plural(count: int, noun: str, several: str = "") -> str:
    """A count and its noun; ``several`` is a plural that does not end in a plain "s".

    >>> plural(1, "host"), plural(2, "host"), plural(0, "strategy", "strategies")
    ('1 host', '2 hosts', '0 strategies')
    """
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def closest(word: object, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be. Cost: O(words).

    >>> closest("lisen", ["listen", "admin"]), closest("zzz", ["listen", "admin"])
    ('listen', None)
    """
    from difflib import get_close_matches

    text, words = str(word)[:_LONGEST].lower(), list(known)
    for spelled in (text.replace("-", "_"), text.replace("_", "-")):
        near = get_close_matches(spelled, words, 1, 0.6)
        if near:
            return near[0]
    return None


def suggestion(word: object, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or all known words.

    >>> suggestion("lisen", ["listen", "admin"]), suggestion("zzz", ["listen", "admin"])
    ("did you mean 'listen'?", 'known are admin, listen')
    """
    words = sorted(known)
    near = closest(word, words)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known are {', '.join(words)}" if words else "none are known"


def bounded_repr(value: object) -> str:
    """The repr of a value from outside, at most 200 characters long.

    >>> bounded_repr("a"), len(bounded_repr("a" * 1000)), bounded_repr(10 ** 5000)
    ("'a'", 200, '<int>')
    """
    try:
        text = repr(value)
    except Exception:  # an int of more than 4,300 digits, or a repr that fails
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: bytes | str, limit: int = 60) -> str:
    r"""``text`` from outside, at most ``limit`` characters, with control characters escaped.

    >>> printable(b"a\xff\x1b[31m")
    'a\\xff\\x1b[31m'
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."
