"""Which client is this?  Sources that read a client ID from a request, and combine.

A source is called with a request (an ASGI scope, a WSGI environ or a plain mapping) and, where it
reads one, the body; it answers the ID, or None for an anonymous request. IDs that are empty, over
256 bytes or no text are anonymous too, and counted in the source's ``stats``.

>>> who = first_of(header("x-user"), cookie("sid"), client_address(trusted=["10.0.0.0/8"]))
>>> who({"headers": {"Cookie": "theme=dark; sid=session-42"}, "client": ("10.0.0.1", 5000)})
'session-42'
>>> who({"headers": {"X-Forwarded-For": "203.0.113.9"}, "client": ("10.0.0.1", 5000)})
'203.0.113.9'
"""

from __future__ import annotations

from hashring.affinity.identity._address import TrustedProxies, client_address
from hashring.affinity.identity._body import IDENTITY_BODY, json_field, prompt_prefix
from hashring.affinity.identity._fields import cookie, header, path_part, query
from hashring.affinity.identity._llm import LlmSession, llm_session
from hashring.affinity.identity._request import Fields, fields_of
from hashring.affinity.identity._source import MOST_BYTES, IdentitySource, Unusable, first_of

__all__ = [
    "IDENTITY_BODY",
    "MOST_BYTES",
    "Fields",
    "IdentitySource",
    "LlmSession",
    "TrustedProxies",
    "Unusable",
    "client_address",
    "cookie",
    "fields_of",
    "first_of",
    "header",
    "json_field",
    "llm_session",
    "path_part",
    "prompt_prefix",
    "query",
]
