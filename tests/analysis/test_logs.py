"""Is every line of a log counted, once, whatever its bytes are?"""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import LogError, read_clients
from hashring.analysis._sources import MAX_LINE, TOO_LONG, blocks
from hashring.analysis.bad_lines import fault
from hashring.errors import ConfigError
from hashring.text import printable

REAL = Path(__file__).resolve().parents[3] / "shared/data/access.log.gz"
TAIL = b' - - [06/Jan/2025:00:00:01 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n'
ANN, BOB = b"192.0.2.1" + TAIL, b"192.0.2.2" + TAIL


def counts(data: bytes, **options: str) -> dict[bytes, int]:
    return dict(read_clients(["-"], stdin=io.BytesIO(data), **options).counts)  # type: ignore[arg-type]  # only format and key are given


def test_the_real_log_is_read_whole() -> None:
    if not REAL.exists():
        pytest.skip(f"the sample log is not here: {REAL.name}")
    clients = read_clients([REAL])
    assert (clients.format, clients.lines, clients.used) == ("combined", 10_000, 10_000)
    assert len(clients.counts) == 1753
    assert sum(sorted(clients.counts.values())[-5:]) in range(1550, 1650)  # "16 % of all requests"


def test_each_format_is_recognised() -> None:
    assert counts(ANN + BOB + ANN) == {b"192.0.2.1": 2, b"192.0.2.2": 1}
    assert counts(b"ann\nbob\nann\n") == {b"ann": 2, b"bob": 1}
    assert counts(b'{"u": {"id": "ann"}}\n{"u": {"id": 7}}\n', key="u.id") == {b"ann": 1, b"7": 1}


def test_the_common_format_and_escaped_quotes_are_combined() -> None:
    common = b'::1 - ann [06/Jan/2025:00:00:01 +0000] "GET /\\"x\\\\ HTTP/1.1" 404 -\n'
    assert counts(common) == {b"::1": 1}
    assert counts(common.replace(b"- ann", b"- ann of host"), format="combined") == {b"::1": 1}


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"192.0.2.9\n",
        b"\0\0\0" + ANN,  # what a log truncated under its writer begins with
        b" " + ANN,
        b"\x1b[31m" + ANN,
        ANN.replace(b" 200 ", b" OK "),
        ANN.replace(b'"GET', b"GET"),
        ANN[:-40] + b"\n",
        b"x" * 10_000_000 + b"\n",
        ANN[:-1] + b"y" * 10_000_000 + b"\n",
    ],
    ids=lambda line: printable(line, 12),
)
def test_a_bad_line_is_counted_and_harms_no_other(bad: bytes) -> None:
    clients = read_clients(["-"], stdin=io.BytesIO(ANN * 20 + bad + BOB * 20))
    assert dict(clients.counts) == {b"192.0.2.1": 20, b"192.0.2.2": 20}
    assert (clients.lines, clients.used, clients.unreadable) == (41, 40, 1)
    assert clients.first_unreadable == 21


def test_a_line_is_too_long_wherever_a_read_ends() -> None:
    def lines(length: int, size: int) -> list[bytes]:
        data = b"a\n" + b"x" * length + b"\nb\n"
        pieces = (data[i : i + size] for i in range(0, len(data), size))
        return b"".join(blocks(pieces)).split(b"\n")

    for size in (1000, 4096, 1 << 18):
        assert lines(MAX_LINE, size) == [b"a", b"x" * MAX_LINE, b"b", b""]
        assert lines(MAX_LINE + 1, size) == [b"a", TOO_LONG[:-1], b"b", b""]


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    assert counts(b"\xef\xbb\xbfann\r\nbob\r\nann") == {b"ann": 2, b"bob": 1}
    assert counts(b"\xef\xbb\xbf" + (ANN + BOB).replace(b"\n", b"\r\n")[:-2]) == {
        b"192.0.2.1": 1,
        b"192.0.2.2": 1,
    }


def test_clients_that_are_not_utf8_stay_apart() -> None:
    assert counts(b"\xff" + TAIL + b"\xfe" + TAIL) == {b"\xff": 1, b"\xfe": 1}
    assert printable(b"\xff") == "\\xff"


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"k": null}',
        b'{"k": true}',
        b'{"k": 1.5}',
        b'{"k": ""}',
        b'{"k": ["a"]}',
        b'{"k": ' + b"9" * 5000 + b"}",
        b'{"k": 18446744073709551616}',
        b'{"k": "a"',
        b'{"k": "\xff"}',
        b'["k"]',
        b"[" * 100_000,
        b'{"j": {"k": "a"}}',
    ],
    ids=lambda line: printable(line, 30),
)
def test_a_json_line_without_a_usable_key_is_unreadable(line: bytes) -> None:
    clients = read_clients(
        ["-"], format="jsonl", key="k", stdin=io.BytesIO(b'{"k": "a"}\n' + line + b"\n")
    )
    assert (clients.used, clients.unreadable, clients.first_unreadable) == (1, 1, 2)


def test_json_keys_may_hold_dots_and_lone_surrogates() -> None:
    log = b'{"client.ip": "a"}\n{"client": {"ip": "a"}}\n{"client": {"ip": "\\ud83d"}}\n'
    assert counts(log, key="client.ip") == {b"a": 2, b"\xed\xa0\xbd": 1}


def kinds(data: bytes, **options: str) -> dict[str, tuple[int, int]]:
    clients = read_clients(["-"], stdin=io.BytesIO(data), **options)  # type: ignore[arg-type]  # only format and key are given
    return {bad.kind: (bad.lines, bad.first) for bad in clients.kinds}


def test_each_kind_of_bad_line_has_its_count_and_first_line() -> None:
    bad = [
        b"x" * 10_000_000,
        b"",
        b'{"client": "192.0.2.1"}',
        b"\0\0\0" + ANN[:-1],
        b"\xff\xfe is no text",
        b"192.0.2.9 - - [",
    ]
    log = ANN * 300 + b"\n".join(bad) + b"\n" + BOB * 3000 + b"\n".join(bad[::-1]) + b"\n"
    assert kinds(log) == {
        "too long": (2, 301),
        "empty": (2, 302),
        "another format": (2, 303),
        "zero bytes": (2, 304),
        "not UTF-8": (2, 305),
        "malformed": (2, 306),
    }
    # nothing but bad lines makes no log, whatever their kinds are
    with pytest.raises(LogError):
        kinds(b"\n".join(bad), format="combined")


def test_json_lines_have_kinds_of_their_own() -> None:
    good = b'{"k": "a"}\n'
    bad = {
        b'{"j": 1}': "without the key",
        b'{"k": null}': "without the key",
        b'{"k": true}': "unusable key",
        b'{"k": ""}': "unusable key",
        b'{"k": "a"': "malformed",
        b'["k"]': "malformed",
        b"[" * 100_000: "malformed",
        ANN[:-1]: "another format",
        b'{"k": "\xff"}': "not UTF-8",
        b"\0": "zero bytes",
        b" \r": "empty",
    }
    for line, kind in bad.items():
        assert kinds(good + line + b"\n" + good, format="jsonl", key="k") == {kind: (1, 2)}


def test_a_line_that_damaged_gzip_cuts_is_not_a_client(tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress(b"".join(b"%d%s" % (i, TAIL) for i in range(50_000)))[:-9000])
    clients = read_clients([log])
    assert [(bad.kind, bad.lines, bad.first) for bad in clients.kinds] == [
        ("cut off", 1, clients.lines)
    ]


def test_the_kinds_of_several_logs_say_where(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(ANN * 20 + b"\n")
    two.write_bytes(ANN * 20 + b"?\n\n")
    found = read_clients([one, two]).to_dict()["kinds"]
    assert found == [
        {"kind": "empty", "lines": 2, "first": 21, "source": str(one)},
        {"kind": "malformed", "lines": 1, "first": 21, "source": str(two)},
    ]


def test_gzip_is_known_by_its_content_and_may_have_members(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(gzip.compress(ANN * 3, mtime=0) + gzip.compress(BOB) + b"\0" * 100)
    clients = read_clients([log])
    assert dict(clients.counts) == {b"192.0.2.1": 3, b"192.0.2.2": 1}
    assert clients.warnings == ()


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage"])
def test_damaged_gzip_gives_what_was_read_and_states_so(tmp_path: Path, damage: str) -> None:
    lines = [b"%d.%d.2.1" % (i % 251, i) + TAIL for i in range(20_000)]
    whole = gzip.compress(b"".join(lines))
    middle = len(whole) // 2
    log = tmp_path / "log.gz"
    log.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + b"\xff" * 64 + whole[middle + 64 :],
            "garbage": whole + b"garbage",
        }[damage]
    )
    clients = read_clients([log])
    warning, *_ = clients.warnings
    assert "gzip" in warning
    assert clients.used + clients.unreadable == clients.lines
    known = {line.split()[0] for line in lines}
    if damage == "cut":
        # the line that the cut went through is no client: half an address is another address
        assert 1000 < clients.used < 20_000
        assert set(clients.counts) <= known
        assert clients.unreadable <= 1
    if damage == "garbage":
        assert clients.used == 20_000


def test_several_logs_are_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(ANN)
    two.write_bytes(gzip.compress(BOB * 10 + b"x\n" + ANN, mtime=0))
    clients = read_clients([one, two, "-"], stdin=io.BytesIO(ANN))
    assert dict(clients.counts) == {b"192.0.2.1": 3, b"192.0.2.2": 10}
    assert (clients.first_unreadable, clients.first_unreadable_in) == (11, str(two))
    assert clients.sources == (str(one), str(two), "-")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (gzip.compress(ANN, mtime=0)[:10], "empty (the gzip data ends too early)"),
        (gzip.compress(ANN, mtime=0)[:12], "the gzip data ends too early"),
        (b"\n\n\n", "begins with lines that are empty"),
        (b"x" * 3_000_000, "is longer than 1 MiB, the bound of a line"),
        (b"\x7fELF\0\1\2\3\0\0\0\n\0\0\n", "binary"),
        ("ann\nbob\n".encode("utf-16"), "binary"),
        (b"BZh91AY&SY", "the bzip2 data ends too early"),
        (b"PK\x03\x04\0\0", "unzip -p"),
        (b"ts,client\n1,ann\n2,bob\n", "--key COLUMN (line 1 has ts, client)"),
        (b"one two\nthree four\n", "'one two'"),
        (b"one two\nthree four\n", "--format"),
        (b"\x1b[31mred\x1b[0m " + b"x" * 500, r"\x1b[31mred"),
        (b'{"a": 1, "b": 2}\n', "--key FIELD"),
        (b'{"a": 1, "b": 2}\n', "line 1 has a, b"),
        (b"\xff\xfe\xfd\n", "cannot tell the format"),
        (ANN * 89 + b"x y\n" * 11, "cannot tell the format"),
    ],
)
def test_what_is_not_a_log_is_one_clear_error(tmp_path: Path, data: bytes, words: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(data)
    with pytest.raises(LogError) as caught:
        read_clients([log])
    assert words in str(caught.value)
    assert caught.value.source == str(log)
    assert str(caught.value).isprintable()


def test_nine_lines_of_ten_decide(tmp_path: Path) -> None:
    assert sum(counts(ANN * 90 + b"x y\n" * 10).values()) == 90
    # what comes after the sample is counted, not judged
    late = read_clients(["-"], stdin=io.BytesIO(ANN * 1000 + b"x\n" * 5000))
    assert (late.used, late.unreadable, late.first_unreadable) == (1000, 5000, 1001)


@pytest.mark.parametrize("format", ["combined", "ids", "jsonl"])
def test_a_log_without_a_readable_line_is_an_error(format: str) -> None:
    with pytest.raises(LogError, match=f"none of its 2 lines reads as {format}"):
        counts(b" x\n\n", format=format, **({"key": "k"} if format == "jsonl" else {}))


def test_what_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing", ".", "loop", "nul\0"):
        with pytest.raises(LogError, match="cannot read"):
            read_clients([f"{tmp_path}/{name}"])


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no permissions of files")
def test_a_file_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody: root may read every file
    try:
        with pytest.raises(LogError, match="Permission denied"):
            read_clients([log])
    finally:
        os.seteuid(user)


def test_options_that_do_not_fit_are_refused() -> None:
    for sources, options in (
        ([], {}),
        (["-", "-"], {}),
        (["-"], {"format": "xml"}),
        (["-"], {"format": "jsonl"}),
        (["-"], {"format": "ids", "key": "k"}),
    ):
        with pytest.raises(ConfigError):
            read_clients(sources, **options)  # type: ignore[arg-type]  # only format and key are given


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(ANN * 10_000)
    heard: list[int] = []
    read_clients([log], progress=heard.append)
    assert sum(heard) == log.stat().st_size
    assert len(heard) > 1


class Endless(io.RawIOBase):
    """40 MB of log lines that exist only while they are read."""

    left = 40_000_000

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= MAX_LINE, "a stream must be read in pieces"
        lines = min(size, self.left) // len(ANN)
        self.left -= size
        return ANN * lines if lines > 0 else b""


def test_memory_does_not_grow_with_the_lines() -> None:
    tracemalloc.start()
    try:
        clients = read_clients(["-"], stdin=Endless())  # type: ignore[arg-type]  # only read() is called
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert clients.used > 400_000
    # a sample of 1,000 lines and a few pieces of 256 KiB; the log itself would be 40 MB
    assert peak < 4_000_000


LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [ANN, BOB, b"ann\n", b'{"k": "a"}\n', b'{"k": 1}\r\n', b"\0\n", b"\n", b" "]
        ),
    ),
    max_size=30,
).map(b"".join)


@given(LINES, st.sampled_from(["auto", "combined", "jsonl", "ids"]))
def test_any_bytes_give_exact_totals(data: bytes, format: str) -> None:
    key = "k" if format == "jsonl" else None
    try:
        clients = read_clients(["-"], format=format, key=key, stdin=io.BytesIO(data))
    except LogError:
        return
    if not data.startswith(b"\x1f\x8b"):
        assert clients.lines == len(data.split(b"\n")) - (data[-1:] == b"\n")
    assert clients.used + clients.unreadable == clients.lines
    assert clients.used == sum(clients.counts.values())
    assert (clients.first_unreadable is None) == (clients.unreadable == 0)
    assert sum(bad.lines for bad in clients.kinds) == clients.unreadable
    assert [bad.first for bad in clients.kinds] == sorted(bad.first for bad in clients.kinds)
    if not data.startswith((b"\x1f\x8b", b"\xef\xbb\xbf")):
        lines = data.split(b"\n")
        for bad in clients.kinds:
            assert fault(lines[bad.first - 1], clients.format, key) == bad.kind
    json.dumps(clients.to_dict())


@given(LINES, st.lists(st.integers(0, 200), max_size=10))
def test_where_a_read_ends_changes_nothing(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    made = list(blocks(iter(pieces)))
    assert b"".join(made) == data
    assert all(block.endswith(b"\n") for block in made[:-1])
