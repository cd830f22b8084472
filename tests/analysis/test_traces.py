"""Traces of LLM serving: every format is read right, and what is not a trace is one clear error."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import ConfigError
from hashring.analysis import LogError, traces
from hashring.analysis.traces import (
    FORMATS,
    TraceRequest,
    derive_sessions,
    read_trace,
    sample_trace,
)

MOONCAKE = """\
{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 600, "output_length": 7, "hash_ids": [0, 9]}
{"timestamp": 9000, "input_length": 1700, "output_length": 9, "hash_ids": [0, 1, 3, 4]}
"""
BAILIAN = """\
{"chat_id": 7, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 20, "output_length": 3,\
 "type": "text", "turn": 1, "hash_ids": [1, 2]}
{"chat_id": 8, "parent_chat_id": -1, "timestamp": 1.0, "input_length": 20, "output_length": 3,\
 "type": "text", "turn": 1, "hash_ids": [1, 5]}
{"chat_id": 9, "parent_chat_id": 7, "timestamp": 2.0, "input_length": 40, "output_length": 3,\
 "type": "text", "turn": 2, "hash_ids": [1, 2, 6]}
"""
BURSTGPT = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,17,1.5,ChatGPT,472,18,490,Conversation log
45,18,3.5,GPT-4,1087,230,1317,Conversation log
118,17,2.5,ChatGPT,1030,276,1306,Conversation log
"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
JSONL = """\
{"timestamp": 1, "input_length": 10, "output_length": 1, "session": "ann"}
{"timestamp": 2, "input_length": 10, "output_length": 1, "session": "bob"}
{"timestamp": 3, "input_length": 30, "output_length": 1, "session": "ann"}
"""
CSV = """\
timestamp,input_length,output_length,session
2026-03-01T10:00:01Z,10,1,ann
2026-03-01T10:00:02Z,10,1,"bob, the second"
2026-03-01T10:00:03Z,30,1,ann
"""
TEXTS = {
    "mooncake": (MOONCAKE, [0, 1, 0], [0.0, 3.0, 9.0]),
    "bailian": (BAILIAN, [0, 1, 0], [0.0, 0.5, 1.5]),
    "burstgpt": (BURSTGPT, [0, 1, 0], [0.0, 40.0, 113.0]),
    "azure": (AZURE, [0, 1], [0.0, 4.314579]),
    "jsonl": (JSONL, [0, 1, 0], [0.0, 1.0, 2.0]),
    "csv": (CSV, [0, 1, 0], [0.0, 1.0, 2.0]),
    "tsv": (CSV.replace(", ", " ").replace(",", "\t"), [0, 1, 0], [0.0, 1.0, 2.0]),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_trace_is_recognised_and_read(name: str, packed: bool, tmp_path: Path) -> None:
    text, sessions, times = TEXTS[name]
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    trace = read_trace(path)
    assert trace.format == name
    assert [request.session for request in trace.requests] == sessions
    assert [request.at for request in trace.requests] == pytest.approx(times, abs=1e-5)
    assert trace.unreadable == 0
    assert read_trace(path, name) == trace


@pytest.mark.parametrize("name", [*TEXTS, "blocks"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_each_format_may_be_in_each_kind_of_file(name: str, kind: str, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    text = JSONL.replace('"session"', '"hash_ids": [1, 2], "session"')
    path, other = tmp_path / "trace", tmp_path / "other"
    path.write_text(TEXTS[name][0] if name in TEXTS else text)
    trace = read_trace(path)
    columns = name in ("burstgpt", "azure", "csv")
    frame = (
        pl.read_csv(path, separator="\t" if name == "tsv" else ",")
        if columns or name == "tsv"
        else pl.read_ndjson(path)
    )
    if kind == "parquet":
        frame.write_parquet(other)
    elif kind == "jsonl":
        frame.write_ndjson(other)
    else:
        lists = [column for column, type_ in frame.schema.items() if isinstance(type_, pl.List)]
        cells = [pl.col(column).cast(pl.List(pl.String)).list.join(" ") for column in lists]
        frame.with_columns(cells).write_csv(other, separator="\t" if kind == "tsv" else ",")
    again = read_trace(other)
    plain = trace.format in ("jsonl", "csv", "tsv")
    assert again.format == (kind if plain else trace.format)
    assert again.requests == trace.requests
    assert (again.block, again.unreadable) == (trace.block, 0)
    assert read_trace(other, trace.format).requests == trace.requests


def test_fields_of_time_and_session_are_given(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    text = CSV.replace("timestamp", "when").replace("session", "chat")
    path.write_text(text * 2)
    with pytest.raises(LogError, match="has no request of the format csv"):
        read_trace(path)
    trace = read_trace(path, time="when", session="chat")
    assert [request.session for request in trace.requests] == [0, 0, 1, 1, 0, 0]
    assert (trace.seconds, trace.unreadable) == (2.0, 0)


def test_blocks_in_a_cell_are_json_or_numbers_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    many = " ".join(map(str, range(40_000)))
    head = "timestamp,input_length,output_length,hash_ids,session"
    path.write_text(f'{head}\n1,9,1,{many},a\n2,9,1,"[1, 2]",b\n3,9,1,,c\n4,9,1,x,d\n')
    trace = read_trace(path)
    assert [len(request.blocks) for request in trace.requests] == [40_000, 2, 1]
    assert trace.unreadable == 1


def test_one_endless_line_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("x" * 3_000_000)
    with pytest.raises(LogError, match="only line is longer than 1 MiB, the bound of a line"):
        read_trace(path)


def test_sizes_and_blocks_are_those_of_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(MOONCAKE)
    assert read_trace(path).requests[2] == TraceRequest(9.0, 0, 1700, 9, (0, 1, 3, 4))
    assert read_trace(path, limit=2).sessions == 2


def test_without_blocks_a_session_continues_its_prompt(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(BURSTGPT)
    first, other, again = (request.blocks for request in read_trace(path).requests)
    assert (len(first), len(other), len(again)) == (1, 3, 3)
    assert again[:1] == first
    assert not set(other) & set(again)


def test_a_session_field_overrides_the_one_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(BURSTGPT)
    assert [each.session for each in read_trace(path, session="Model").requests] == [0, 1, 0]
    with pytest.raises(LogError, match="has no request"):
        read_trace(path, session="User")


def test_files_are_put_in_order_of_time(tmp_path: Path) -> None:
    lines = MOONCAKE.splitlines(keepends=True)
    late, early = tmp_path / "late", tmp_path / "early"
    late.write_text(lines[2])
    early.write_text("".join(lines[:2]))
    assert [each.at for each in read_trace([late, early]).requests] == [0.0, 3.0, 9.0]


def test_bad_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    good = MOONCAKE.splitlines()[0]
    bad = ["{", "[]", '{"timestamp": 1}', "null", good.replace('": 0,', '": NaN,', 1)]
    bad += [good.replace("1100", "-5"), good.replace("1100", "1e99")]
    path.write_text(MOONCAKE + "\n".join(bad))
    trace = read_trace(path)
    assert (len(trace.requests), trace.unreadable) == (3, len(bad))


@pytest.mark.parametrize("text", ["", "hello\n", "{}\n", "1,2,3\n", "\x00\x01\n"])
def test_what_is_not_a_trace_is_one_clear_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(LogError, match=r"trace is not a trace of a known format|is empty"):
        read_trace(path)


def test_an_unknown_format_is_refused_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="no trace format 'moncake': did you mean 'mooncake'"):
        read_trace("any", "moncake")


@given(st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=20))
def test_sessions_are_numbered_in_order_of_appearance(chains: list[list[int]]) -> None:
    # an ID stands for its whole prefix, so IDs of one chain are made from all before them
    blocks = [[hash(tuple(ids[: at + 1])) for at in range(len(ids))] for ids in chains]
    numbers = list(derive_sessions(blocks))
    seen = -1
    for number in numbers:
        assert number <= seen + 1
        seen = max(seen, number)


@given(st.binary(max_size=400))
def test_no_bytes_make_a_traceback(data: bytes) -> None:
    path = Path(tempfile.mkdtemp()) / "trace"
    path.write_bytes(data)
    for name in ("auto", *FORMATS):
        try:
            read_trace(path, name)
        except LogError:
            continue


def test_a_json_line_of_great_depth_is_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(MOONCAKE + "[" * 100_000 + "\n" + json.dumps({"timestamp": []}) + "\n")
    assert read_trace(path).unreadable == 2


def test_the_shipped_slice_is_small_and_whole() -> None:
    trace = sample_trace()
    assert (len(trace.requests), trace.unreadable) == (3000, 0)
    folder = Path(str(traces.__file__)).parent / "data"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
