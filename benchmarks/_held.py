"""How many bytes does a thing hold?  All that it alone refers to, without building it again.

It counts what ``tracemalloc`` counts, to some percent or some ten bytes, without the build that
tracing makes five times as slow.
"""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["held"]

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)  # code, of which there is one copy
_SMALL = tuple(range(-5, 257))  # and numbers that the interpreter keeps


def held(thing: object, *, beside: object = ()) -> int:
    """Bytes of ``thing`` and what it refers to, except for ``beside`` and what that refers to."""
    seen: set[int] = set()
    _weigh((beside, _SMALL), seen)
    return _weigh(thing, seen)


def _weigh(thing: object, seen: set[int]) -> int:
    size = 0
    left = [thing]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, _SHARED):
            seen.add(id(one))
            size += sys.getsizeof(one)
            left += gc.get_referents(one)
    return size
