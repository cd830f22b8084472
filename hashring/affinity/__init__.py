"""Client identity, tokens and pins.

``identity/`` reads a client ID from a request. The host of a client is in the token that it carries
(``tokens.py``; ``token_affinity.py`` connects tokens to a balancer), or in a store of pins:
``PinTable`` for one router process, ``redis_pins.py`` for several. ``load_exchange.py`` lets
several routers place by the load of all.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["web1", "web2", "web3"])
>>> who = first_of(header("x-user"), cookie("sid"))
>>> lb.pick(who({"headers": {"Cookie": "sid=session-42"}})).name
'web3'
"""

from __future__ import annotations

from hashring.affinity._cookies import CookieOptions
from hashring.affinity.identity import (
    IdentitySource,
    TrustedProxies,
    Unusable,
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    llm_session,
    path_part,
    prompt_prefix,
    query,
)
from hashring.affinity.load_exchange import LoadExchange
from hashring.affinity.redis_pins import BlockingRedisPins, RedisPins
from hashring.affinity.token_affinity import Answer, TokenAffinity, Visit
from hashring.affinity.tokens import Token, Tokens
from hashring.balancer.pin_table import PinTable

__all__ = [
    "Answer",
    "BlockingRedisPins",
    "CookieOptions",
    "IdentitySource",
    "LoadExchange",
    "PinTable",
    "RedisPins",
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
    "llm_session",
    "path_part",
    "prompt_prefix",
    "query",
]
