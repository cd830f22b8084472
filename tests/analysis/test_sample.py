"""Is the sample log the same everywhere, and is it a log?"""

from __future__ import annotations

import io
from hashlib import blake2b
from ipaddress import ip_address, ip_network

import pytest

from hashring.analysis import read_clients, sample_log
from hashring.analysis.sample import _address
from hashring.errors import ConfigError

DOCUMENTATION = [
    ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


def test_one_seed_gives_the_same_bytes_everywhere() -> None:
    digest = blake2b(b"".join(sample_log()), digest_size=8).hexdigest()
    assert digest == "51d1bcf94860b639"
    assert list(sample_log(100, 10, seed=1)) != list(sample_log(100, 10))


def test_it_is_read_whole_with_the_clients_asked_for() -> None:
    log = b"".join(sample_log(5000, 700))
    clients = read_clients(["-"], stdin=io.BytesIO(log))
    assert (clients.format, clients.used, clients.unreadable) == ("combined", 5000, 0)
    assert len(clients.counts) == 700


def test_few_clients_send_much() -> None:
    log = b"".join(sample_log())
    counts = sorted(read_clients(["-"], stdin=io.BytesIO(log)).counts.values())
    # by 1/rank the first of 2,000 sends 12 % of what is drawn
    assert counts[-1] > 50 * counts[len(counts) // 2]


def test_time_goes_on_and_stays_in_its_day() -> None:
    stamps = [line.split(b"[")[1].split(b"]")[0] for line in sample_log(3000, 10)]
    assert stamps == sorted(stamps)
    assert {stamp[:11] for stamp in stamps} == {b"06/Jan/2025"}


def test_addresses_are_distinct_and_for_documentation() -> None:
    addresses = [ip_address(_address(client)) for client in range(70_000)]
    assert len(set(addresses)) == len(addresses)
    for address in addresses[:3000]:
        assert any(address in net for net in DOCUMENTATION)


@pytest.mark.parametrize(("lines", "clients"), [(1, 2), (0, 0), (5, 0), (5, -1)])
def test_impossible_numbers_are_refused(lines: int, clients: int) -> None:
    with pytest.raises(ConfigError, match="1 <= clients <= lines"):
        sample_log(lines, clients)
