"""Layouts of logs: one small file for each, and lines that must not be misread."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import ConfigError
from hashring.analysis import BadLines, Clients, LogError, _sources, read_arrivals, read_clients
from hashring.analysis._formats import FORMATS
from hashring.analysis.layouts import IDS, LAYOUTS, PREFIXES

LOGS = Path(__file__).parent / "logs"
THREE = {b"192.0.2.1": 2, b"192.0.2.2": 1, b"192.0.2.3": 1}
KEYS = {b"cart:1": 2, b"cart:2": 1, b"cart:3": 1}
HASHES = {b"9a3c4c3d": 2, b"0b3c4c3d": 1, b"77777777": 1}
CORPUS = {
    "alb": "alb",
    "caddy": "caddy",
    "cloudfront": "w3c",
    "combined": "combined",
    "common": "combined",
    "compose": "compose+combined",
    "cri": "cri+combined",
    "docker": "docker+combined",
    "docker-json": "docker-json+combined",
    "envoy": "envoy",
    "forwarded_for": "combined",
    "gateway": "gateway",
    "gateway-json": "gateway-json",
    "gcp": "gcp",
    "haproxy": "haproxy",
    "haproxy_syslog": "syslog+haproxy",
    "iis": "w3c",
    "kubectl": "kubectl+combined",
    "nginx-json": "nginx-json",
    "nlb": "nlb",
    "redis-monitor": "redis-monitor",
    "squid": "squid",
    "syslog": "syslog+combined",
    "traefik": "traefik",
    "traefik_clf": "combined",
    "uvicorn": "uvicorn",
    "vhost_combined": "vhost_combined",
}
CLF = '- - [01/Mar/2026:10:00:{:02d} +0000] "GET / HTTP/1.1" 200 5\n'


def read(text: str | bytes, **options: str) -> Clients:
    raw = text.encode() if isinstance(text, str) else text
    return read_clients(["-"], stdin=io.BytesIO(raw), **options)  # type: ignore[arg-type]


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.stem for path in LOGS.iterdir()} == set(CORPUS)


@pytest.mark.parametrize("name", CORPUS)
def test_a_layout_is_recognised_and_its_clients_counted(name: str) -> None:
    found = read_clients([LOGS / f"{name}.log"])
    expected = {"redis-monitor": KEYS, "gateway": HASHES, "gateway-json": HASHES}
    assert dict(found.counts) == expected.get(name, THREE)
    assert found.format == CORPUS[name]
    assert {bad.kind for bad in found.kinds} <= {"directive"}


@pytest.mark.parametrize("name", sorted(set(CORPUS) & set(FORMATS)))
def test_a_layout_is_read_by_its_name(name: str) -> None:
    by_name = read_clients([LOGS / f"{name}.log"], format=name)
    assert by_name.counts == read_clients([LOGS / f"{name}.log"]).counts


@pytest.mark.parametrize("name", [name for name in CORPUS if name != "uvicorn"])
def test_the_times_of_a_layout_are_read(name: str) -> None:
    arrivals = read_arrivals([LOGS / f"{name}.log"])
    assert len(arrivals) == 4
    assert 1_772_359_200 <= arrivals.at[0] < 1_772_359_201
    assert arrivals.seconds <= 3


def test_a_line_of_one_layout_reads_as_no_other() -> None:
    for name in CORPUS:
        data = (LOGS / f"{name}.log").read_bytes()
        hits = [key for key, layout in LAYOUTS.items() if layout.pattern.findall(data)]
        assert len(hits) <= 1, name


@pytest.mark.parametrize("format", ["auto", "combined", "common"])
def test_a_dash_is_not_a_client(format: str) -> None:
    lines = "".join(("- " if s % 2 else "192.0.2.1 ") + CLF.format(s) for s in range(20))
    found = read(lines, format=format)
    assert (dict(found.counts), found.unreadable) == ({b"192.0.2.1": 10}, 10)


def test_whole_lines_are_not_ids() -> None:
    with pytest.raises(LogError, match="use --format haproxy"):
        read_clients([LOGS / "haproxy.log"], format="ids")
    with pytest.raises(LogError, match="use --format redis-monitor"):
        read_clients([LOGS / "redis-monitor.log"], format="ids")


def test_a_table_needs_the_column_of_the_client() -> None:
    rows = "ts,client,bytes\n" + "".join(
        f"2026-01-01T00:00:{n % 60:02d}Z,10.0.0.{n % 5},1\n" for n in range(100)
    )
    with pytest.raises(LogError, match=r"--key COLUMN \(line 1 has ts, client, bytes\)"):
        read(rows)
    for text in (rows, rows.replace(",", "\t")):
        found = read(text, key="client")
        assert (len(found.counts), found.used) == (5, 100)
    times = read_arrivals(["-"], key="client", time="ts", stdin=io.BytesIO(rows.encode()))
    assert (len(times), times.seconds) == (100, 59.0)


def test_a_csv_header_is_not_a_line_even_repeated(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    text = "ts,user\n1,ann\n2,bob\n"
    path.write_text(text * 4 + "3\n4,ann\n")
    found = read_clients([path, path], key="user")
    assert (dict(found.counts), found.format) == ({b"ann": 10, b"bob": 8}, "csv")
    assert (found.lines, found.used, found.unreadable) == (20, 18, 2)
    assert found.kinds == (BadLines("malformed", 2, 13, str(path)),)
    arrivals = read_arrivals([path], key="user", time="ts")
    assert arrivals.log is not None
    assert (len(arrivals), arrivals.seconds, arrivals.log.unreadable) == (9, 3.0, 1)
    for more, column in (({"key": "usr"}, "usr"), ({"key": "user", "time": "at"}, "at")):
        with pytest.raises(LogError, match=rf"no column '{column}': .* \(ts, user\)"):
            read_arrivals([path], format="csv", **more)  # type: ignore[arg-type]  # texts


def test_a_log_of_one_endless_line_names_the_bound() -> None:
    endless = "x" * 3_000_000
    for name in ("auto", "combined", "ids"):
        with pytest.raises(LogError, match="only line is longer than 1 MiB, the bound of") as error:
            read(endless, format=name)
        assert "--format" not in str(error.value)
    with pytest.raises(LogError, match="each of its 2 lines is longer than 1 MiB"):
        read_arrivals(["-"], stdin=io.BytesIO(f"{endless}\n{endless}".encode()))


def test_parquet_is_counted_by_a_column(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["ann", "bob", "ann", None, ""]}).write_parquet(path)
    found = read_clients([path], key="user")
    assert (dict(found.counts), found.unreadable) == ({b"ann": 2, b"bob": 1}, 2)
    path.rename(tmp_path / "log")
    assert dict(read_clients([tmp_path / "log"], key="user").counts) == dict(found.counts)
    with pytest.raises(ConfigError, match="it has user"):
        read_clients([tmp_path / "log"], key="name")
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(LogError, match="cannot read"):
        read_clients([path], key="user")


TIMES = [datetime(2026, 3, 1, 10, 0, second) for second in (5, 1, 3)]
SECONDS = [int(at.replace(tzinfo=UTC).timestamp()) for at in TIMES]


@pytest.mark.parametrize(
    "times",
    [
        TIMES,
        [at.replace(tzinfo=UTC) for at in TIMES],
        [f"{at.isoformat()}Z" for at in TIMES],
        SECONDS,
        [at * 1000 for at in SECONDS],
        [float(at) for at in SECONDS],
    ],
    ids=["dates", "dates with zone", "text", "seconds", "milliseconds", "floats"],
)
def test_parquet_with_times_is_replayed_in_order(tmp_path: Path, times: list[object]) -> None:
    pl = pytest.importorskip("polars")
    path = tmp_path / "log.parquet"
    users = ["ann", "bob", None, "cid", "dan"]
    pl.DataFrame({"user": users, "at": [*times, times[0], None]}).write_parquet(path)
    found = read_arrivals([path], key="user", time="at")
    assert list(found) == [(SECONDS[1], b"bob"), (SECONDS[0], b"ann"), (SECONDS[0], b"cid")]
    assert found.log is not None
    assert (found.log.lines, found.log.used, found.log.unreadable) == (5, 3, 2)
    with pytest.raises(ConfigError, match=r"of the time as --time COLUMN \(it has user, at\)"):
        read_arrivals([path], key="user")
    with pytest.raises(LogError, match="a time in user"):
        read_arrivals([path], key="user", time="user")


def test_a_pattern_of_ones_own_reads_any_line() -> None:
    text = "at 1772359200 user=ann\nat 1772359201 user=bob\nnothing\n"
    pattern = r"at (?P<time>\d+) user=(?P<client>\w+)"
    found = read(text, pattern=pattern)
    assert (dict(found.counts), found.unreadable) == ({b"ann": 1, b"bob": 1}, 1)
    arrivals = read_arrivals(["-"], pattern=pattern, stdin=io.BytesIO(text.encode()))
    assert arrivals.seconds == 1.0
    for wrong in ("(", "x", "(?P<time>x)"):
        with pytest.raises(ConfigError, match="pattern"):
            read(text, pattern=wrong)


def test_the_client_of_a_combined_log_is_chosen() -> None:
    line = "10.0.0.9 " + CLF.format(1).rstrip() + ' "-" "agent{}" "{}"\n'
    text = line.format(1, "192.0.2.1, 10.0.0.1") + line.format(1, "192.0.2.2") * 2
    assert dict(read(text, client="xff").counts) == {b"192.0.2.1": 1, b"192.0.2.2": 2}
    cookies = line.format(1, "a=1; sid=ann") + line.format(1, "sid=bob") + line.format(1, "-")
    assert dict(read(cookies, client="cookie:sid").counts) == {b"ann": 1, b"bob": 1}
    plain = "10.0.0.9 " + CLF.format(1).rstrip() + ' "-" "curl"\n'
    assert dict(read(plain, client="ip+agent").counts) == {b"10.0.0.9 curl": 1}
    with pytest.raises(ConfigError, match="did you mean 'xff'"):
        read(plain, client="xf")


def test_doubtful_clients_are_warned_of() -> None:
    same = "10.0.0.9 " + CLF.format(1)
    assert "--client xff" in read(same * 20).warnings[0]
    unique = "".join(f"10.1.{n // 250}.{n % 250} {CLF.format(1)}" for n in range(300))
    assert "as many clients as lines (300)" in read(unique).warnings[0]
    proxies = "".join(f"10.0.0.{n % 2} {CLF.format(1)}" for n in range(300))
    assert "private addresses" in read(proxies).warnings[0]
    for name in ("gateway", "gateway-json"):
        hashed = read_clients([LOGS / f"{name}.log"])
        assert "keyed hashes" in hashed.warnings[0]
        assert hashed.served == {"web1": 3, "web2": 1}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_log_is_recognised_by_its_content(pack: object, tmp_path: Path) -> None:
    plain = (LOGS / "combined.log").read_bytes() * 5_000
    path = tmp_path / "log"
    path.write_bytes(pack(plain))  # type: ignore[operator]  # a function of bytes
    assert read_clients([path]).used == 20_000
    path.write_bytes(pack(plain)[:-20])  # type: ignore[operator]
    assert "ends too early" in " ".join(read_clients([path]).warnings)
    path.write_bytes(pack(plain) + pack(plain))  # type: ignore[operator]
    assert read_clients([path]).used == 40_000


def test_zstd_is_read_where_it_is_installed(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "log.zst"
    path.write_bytes(zstandard.compress((LOGS / "combined.log").read_bytes() * 5_000))
    assert read_clients([path]).used == 20_000
    path.write_bytes(b"\x28\xb5\x2f\xfd garbage")
    with pytest.raises(LogError):
        read_clients([path])


def test_a_compressed_bomb_stops_at_the_stated_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sources, "_BOMB_BYTES", 1 << 20)
    path = tmp_path / "bomb"
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        path.write_bytes(pack(b"\n" * (3 << 20)))
        with pytest.raises(LogError, match="more than 300 times its size"):
            read_clients([path], format="ids")


def test_a_line_without_end_needs_little_memory() -> None:
    class Endless(io.RawIOBase):
        left = 80 << 20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            size = min(len(buffer), self.left)  # type: ignore[arg-type]  # a memoryview
            buffer[:size] = b"x" * size  # type: ignore[index]
            self.left -= size
            return size

    tracemalloc.start()
    with pytest.raises(LogError):
        read_clients(["-"], stdin=io.BufferedReader(Endless()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


STEPS = ["1.1.1.1", "-", " ", ",", ", ", '"', "\\", "[", "]", ":", "a", "0", "  ", "=", "\t", "| "]


@pytest.mark.parametrize("name", [*LAYOUTS, *PREFIXES, "ids"])
def test_a_crafted_line_takes_linear_work(name: str) -> None:
    """No pattern has a repetition that may give back what it took, so none backtracks twice."""
    pattern = IDS if name == "ids" else PREFIXES.get(name) or LAYOUTS[name].pattern
    text = re.sub(rb"\[(?:[^\]\\]|\\.)*\]", b"c", pattern.pattern)
    text = re.sub(rb"\\[\\\"().*+?|\[\]]", b"c", text)
    text = text.replace(b"++", b"").replace(b"*+", b"")
    assert re.findall(rb"[*+]", text) == []


@given(st.lists(st.sampled_from(STEPS), max_size=60), st.sampled_from(FORMATS))
def test_any_line_is_read_or_counted(parts: list[str], format: str) -> None:
    if format == "parquet":
        return
    text = "".join(parts) + "\n" + "192.0.2.1 " + CLF.format(1)
    key = {"key": "a"} if format in ("jsonl", "csv", "tsv") else {}
    try:
        found = read(text, format=format, **key)
    except LogError:
        return
    header = format in ("csv", "tsv")
    assert found.used + found.unreadable == found.lines == 2 - header
    assert len(found.counts) <= 2
