"""Which client is this, and is it known?

``tokens.py`` is what a client carries, ``token_affinity.py`` keeps a balancer's clients by it.
"""

from __future__ import annotations

from hashring.affinity.token_affinity import Answer, TokenAffinity, Visit
from hashring.affinity.tokens import Token, Tokens

__all__ = ["Answer", "Token", "TokenAffinity", "Tokens", "Visit"]
