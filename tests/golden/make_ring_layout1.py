"""Makes ring_layout1.json by this reference, which imports nothing of hashring.

``python tests/golden/make_ring_layout1.py`` writes the file to standard output.
"""

from __future__ import annotations

import hashlib
import json
import sys
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

__all__ = ["murmur3_x86_32", "whole_file"]

M32 = (1 << 32) - 1

KEYS = [
    "",
    "a",
    "session-42",
    "user:1",
    "#",
    "é",
    "鍵",
    "🔑",
    "\ud83d",
    "x" * 100,
    "-7",
    "18446744073709551615",
]
HOSTS_UTF8 = ["é", "ホスト", "🏠", "\ud83d", "web#1", " ", "a\x00b", "\U0001fae8"]
RINGS: list[tuple[str, int, int, dict[str, float]]] = [
    ("equal", 512, 0, {f"web{i}": 1 for i in range(1, 6)}),
    (
        "weighted",
        512,
        7,
        {"tiny": 0.001, "tenth": 0.1, "one": 1, "half-up": 1.0009765625, "ten": 10},
    ),
    ("highest seed", 160, M32, {"1": 1, "11": 1, "111": 1}),
    ("utf-8 and surrogates", 64, 0, dict.fromkeys(HOSTS_UTF8, 1)),
    ("one vnode", 1, 7, {"only": 1}),
]


def rotl(x: int, r: int) -> int:
    return (x << r | x >> 32 - r) & M32


def scramble(block: int) -> int:
    return rotl(block * 0xCC9E2D51 & M32, 15) * 0x1B873593 & M32


def murmur3_x86_32(data: bytes, seed: int) -> int:
    """MurmurHash3_x86_32 by Austin Appleby, written out so that no library can change it."""
    h, tail = seed, len(data) // 4 * 4
    for i in range(0, tail, 4):
        h ^= scramble(int.from_bytes(data[i : i + 4], "little"))
        h = (rotl(h, 13) * 5 + 0xE6546B64) & M32
    h ^= scramble(int.from_bytes(data[tail:], "little"))  # nothing left scrambles to 0
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & M32
    h = (h ^ h >> 13) * 0xC2B2AE35 & M32
    return h ^ h >> 16


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def fingerprint(vnodes: int, seed: int, counts: Mapping[str, int]) -> str:
    # ascii(), not repr(): what repr() escapes depends on the Unicode version of the Python
    text = ascii(("ring", 1, vnodes, seed, tuple(sorted(counts.items()))))
    return hashlib.blake2b(raw(text), digest_size=8).hexdigest()


def one_ring(title: str, each: int, seed: int, hosts: Mapping[str, float]) -> dict[str, Any]:
    counts = {name: max(1, int(each * weight + 0.5)) for name, weight in hosts.items()}
    vnodes = sorted(
        (murmur3_x86_32(raw(name) + b"#" + str(i).encode(), seed), name)
        for name, count in counts.items()
        for i in range(count)
    )
    places = [position for position, _ in vnodes]

    def walk(key: str) -> list[str]:
        start = bisect_left(places, murmur3_x86_32(raw(key), seed))
        return list(dict.fromkeys(name for _, name in vnodes[start:] + vnodes[:start]))

    shares = dict.fromkeys(sorted(hosts), 0)
    for before, (position, name) in zip([places[-1] - 2**32, *places], vnodes, strict=False):
        shares[name] += position - before  # the first arc comes over the end of the circle
    lines = b"".join(b"%d %b\n" % (position, raw(name)) for position, name in vnodes)
    return {
        "title": title,
        "vnodes": each,
        "seed": seed,
        "hosts": dict(hosts),
        "counts": counts,
        "first": vnodes[:5],
        "digest": hashlib.sha256(lines).hexdigest(),
        "positions": {key: murmur3_x86_32(raw(key), seed) for key in KEYS},
        "lookups": {f"session-{i}": walk(f"session-{i}")[0] for i in range(40)},
        "walks": {key: walk(key) for key in KEYS},
        "shares": shares,
        "fingerprint": fingerprint(each, seed, counts),
    }


def whole_file() -> str:
    rings = [one_ring(*ring) for ring in RINGS]
    return json.dumps({"layout": 1, "rings": rings}, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(whole_file())
