"""Where does libmemcached send a key?  The C library through ctypes; needs no server."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping

import pytest

__all__ = ["DISTRIBUTIONS", "HASHES", "Libmemcached"]

# memcached_behavior_t, memcached_server_distribution_t and memcached_hash_t of libmemcached-1.0
_BEHAVIOR_HASH = 2
_BEHAVIOR_DISTRIBUTION = 9
_BEHAVIOR_KETAMA_WEIGHTED = 16
DISTRIBUTIONS: Mapping[str, int] = {"modula": 0, "ketama": 2, "spy": 4}
HASHES: Mapping[str, int] = {
    "one_at_a_time": 0,
    "md5": 1,
    "crc32": 2,
    "fnv1_64": 3,
    "fnv1a_64": 4,
    "fnv1_32": 5,
    "fnv1a_32": 6,
}


class Libmemcached:
    """The loaded library; skips the test where there is none."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libmemcached.so.11")
        except OSError:
            pytest.skip("libmemcached.so.11 is not installed (package libmemcached11)")
        self._lib = library
        pointer, number = ctypes.c_void_p, ctypes.c_uint32
        library.memcached_lib_version.restype = ctypes.c_char_p
        library.memcached_create.argtypes = [pointer]
        library.memcached_create.restype = pointer
        library.memcached_free.argtypes = [pointer]
        library.memcached_behavior_set.argtypes = [pointer, ctypes.c_int, ctypes.c_uint64]
        add = library.memcached_server_add_with_weight
        add.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint16, number]
        library.memcached_generate_hash.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t]
        library.memcached_generate_hash.restype = number
        self.version: str = f"libmemcached {library.memcached_lib_version().decode()}"

    def ask(
        self,
        hosts: Iterable[tuple[str, int, int]],
        keys: Iterable[str],
        *,
        distribution: str,
        key_hash: str | None = None,
        weighted: bool = False,
    ) -> dict[str, int]:
        """The index of each key's server among ``hosts``, which are (name, port, weight)."""
        lib, pool = self._lib, self._lib.memcached_create(None)
        try:
            settings = [(_BEHAVIOR_DISTRIBUTION, DISTRIBUTIONS[distribution])]
            if weighted:
                settings = [(_BEHAVIOR_KETAMA_WEIGHTED, 1)]
            if key_hash is not None:
                settings.append((_BEHAVIOR_HASH, HASHES[key_hash]))
            for behavior, value in settings:
                _check(lib.memcached_behavior_set, pool, behavior, value)
            for name, port, weight in hosts:
                _check(lib.memcached_server_add_with_weight, pool, name.encode(), port, weight)
            return {
                key: lib.memcached_generate_hash(pool, key.encode(), len(key.encode()))
                for key in keys
            }
        finally:
            lib.memcached_free(pool)


def _check(function: Callable[..., int], *arguments: object) -> None:
    code = function(*arguments)
    assert code == 0, (arguments, code)
