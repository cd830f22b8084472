"""Which client is this, and is it known?

``identity/`` reads a client ID from a request. Where a client is, it says itself (``tokens.py``
is what it carries, ``token_affinity.py`` ties that to a balancer), or a store of pins remembers:
``pins.py`` for one router process, ``redis_pins.py`` for several.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["web1", "web2", "web3"])
>>> who = first_of(header("x-user"), cookie("sid"))
>>> lb.pick(who({"headers": {"Cookie": "sid=session-42"}})).name
'web3'
"""

from __future__ import annotations

from hashring.affinity.identity import (
    Source,
    TrustedProxies,
    Unusable,
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    path_part,
    prompt_prefix,
    query,
)
from hashring.affinity.pins import PinTable
from hashring.affinity.redis_pins import BlockingRedisPins, RedisPins
from hashring.affinity.token_affinity import Answer, TokenAffinity, Visit
from hashring.affinity.tokens import Token, Tokens

__all__ = [
    "Answer",
    "BlockingRedisPins",
    "PinTable",
    "RedisPins",
    "Source",
    "Token",
    "TokenAffinity",
    "Tokens",
    "TrustedProxies",
    "Unusable",
    "Visit",
    "client_address",
    "cookie",
    "first_of",
    "header",
    "json_field",
    "path_part",
    "prompt_prefix",
    "query",
]
