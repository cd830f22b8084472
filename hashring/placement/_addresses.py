"""Which bytes does a proxy hash when it balances on the client's address?"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton

__all__ = ["packed_address"]


def packed_address(text: bytes) -> bytes | None:
    """The 4 bytes of an IPv4 or the 16 of an IPv6 address; None for everything else.

    >>> [packed_address(text) for text in (b"192.0.2.7", b"user:0")]
    [b'\\xc0\\x00\\x02\\x07', None]
    >>> len(packed_address(b"2001:db8::7"))
    16
    """
    family = AF_INET6 if b":" in text else AF_INET
    try:
        return inet_pton(family, text.decode("ascii"))
    except (OSError, ValueError):  # no address; not ASCII; a NUL inside
        return None
