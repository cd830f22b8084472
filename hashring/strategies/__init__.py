"""Who serves an anonymous request?  One file per strategy; a file's name is the strategy's name.

A strategy is anything with ``choose(view) -> Host``, or a plain callable of that form. To add one,
add a file ``my_own.py`` with a ``Strategy`` subclass; it is then known as ``"my-own"``.
"""

from __future__ import annotations

from hashring.strategies._base import Strategy, View

__all__ = ["Strategy", "View"]
