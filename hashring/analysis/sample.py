"""What does an access log look like?  A made-up one in the combined format, the same everywhere."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate

from hashring.errors import ConfigError

# Only ``Random.random()`` is promised to give the same floats in every Python version, and only
# + and / round the same way on every platform: so no shuffle(), choice(), power or logarithm.

_DAY = 86_400  # the log covers one day, in seconds
_MAX_CLIENTS = 1 << 24  # as many as the addresses below tell apart
_V4_NETS = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737: for documentation only
_V4_HOSTS = 254  # .1 to .254
_PAGES = (  # path, status, size in bytes: a shop, its assets, a missing page and an API
    ("GET / HTTP/1.1", 200, 7218),
    ("GET /assets/app.css HTTP/1.1", 200, 48211),
    ("GET /assets/app.js HTTP/1.1", 304, 0),
    ("GET /products?page=2 HTTP/1.1", 200, 15904),
    ("GET /products/17 HTTP/1.1", 200, 9120),
    ("POST /cart HTTP/1.1", 302, 0),
    ("GET /api/session HTTP/2.0", 200, 312),
    ("GET /favicon.ico HTTP/1.1", 404, 153),
)
_REFERERS = ("-", "https://shop.example/", "https://search.example/?q=lamp")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/126.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "curl/8.7.1",
)


def sample_log(lines: int = 20_000, clients: int = 2_000, seed: int = 0) -> Iterator[bytes]:
    """``lines`` lines of an access log with exactly ``clients`` clients, the same for one ``seed``.

    Each client comes once; the other requests follow Zipf's law (the k-th busiest client sends in
    proportion to 1/k), as web traffic does (Breslau et al., INFOCOM 1999). Addresses are of the
    documentation ranges (RFC 5737, RFC 3849). Raises ``ConfigError`` where lines are fewer than
    clients. Cost: 3 us a line; memory for one number a line.

    >>> log = list(sample_log(lines=50, clients=7))
    >>> len(log), len({line.split()[0] for line in log}), log == list(sample_log(50, 7))
    (50, 7, True)
    """
    if not 1 <= clients <= min(lines, _MAX_CLIENTS):
        raise ConfigError(
            f"a sample log needs 1 <= clients <= lines, and at most {_MAX_CLIENTS:,} clients; "
            f"got {clients:,} clients and {lines:,} lines",
            option="clients",
        )
    rng = random.Random(seed)
    visits = _visits(rng, lines, clients)
    return (_line(rng, number, lines, client) for number, client in enumerate(visits))


def _visits(rng: random.Random, lines: int, clients: int) -> list[int]:
    zipf = list(accumulate(1 / rank for rank in range(1, clients + 1)))
    total = zipf[-1]
    last = clients - 1
    visits = list(range(clients))
    visits += [min(bisect(zipf, rng.random() * total), last) for _ in range(lines - clients)]
    for i in range(lines - 1, 0, -1):  # Fisher-Yates
        j = int(rng.random() * (i + 1))
        visits[i], visits[j] = visits[j], visits[i]
    return visits


def _line(rng: random.Random, number: int, lines: int, client: int) -> bytes:
    second = int((number + rng.random()) * _DAY / lines)
    # even traffic over the day; min() because the product may round up to a whole day
    minutes, second = divmod(min(second, _DAY - 1), 60)
    hour, minute = divmod(minutes, 60)
    request, status, size = _PAGES[int(rng.random() * len(_PAGES))]
    referer = _REFERERS[int(rng.random() * len(_REFERERS))]
    agent = _AGENTS[client % len(_AGENTS)]
    stamp = f"06/Jan/2025:{hour:02}:{minute:02}:{second:02} +0000"
    text = f'{_address(client)} - - [{stamp}] "{request}" {status} {size} "{referer}" "{agent}"\n'
    return text.encode()


def _address(client: int) -> str:
    """Every third client by IPv4 while the three small networks last, the others by IPv6."""
    index, rest = divmod(client, 3)
    if rest == 0 and index < len(_V4_NETS) * _V4_HOSTS:
        net, host = divmod(index, _V4_HOSTS)
        return f"{_V4_NETS[net]}.{1 + host * 101 % _V4_HOSTS}"  # 101 is prime to 254: each once
    # 40503 is odd, so it permutes 0 .. 65535: neighbours in rank are not neighbours in the network
    return f"2001:db8:{client * 40503 % 65536:x}:{1 + (client >> 16):x}::{1 + client % 9}"
