"""Own messages of the gateway, and where its access log goes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from hashring.config import LogSettings
from hashring.errors import ConfigError
from hashring.gateway import AccessEntry, AccessLog
from hashring.gateway.line_writer import LineWriter, SyslogOutput, output_of
from hashring.gateway.own_log import LogFilter, LogFormatter, component_of
from hashring.health import runner
from hashring.testing import FakeClock
from tests.gateway.running import ask, get
from tests.gateway.session_hosts import PageHost, gateway_of, started
from tests.waiting import wait_in_loop


def record(
    message: str = "%s is down", *values: object, level: int = logging.WARNING, line: int = 1
) -> logging.LogRecord:
    found = logging.LogRecord("hashring", level, runner.__file__, line, message, values, None)
    found.created, found.msecs = 0.0, 250.0
    return found


def test_a_line_has_time_level_and_component() -> None:
    line = LogFormatter("text").format(record("health: %s is down", "web1"))
    assert line == "1970-01-01T00:00:00.250Z WARNING health: web1 is down"


def test_json_has_the_same_and_the_traceback() -> None:
    made = record('say "%s"', "a\nb")
    try:
        raise ValueError("wrong")
    except ValueError as error:
        made.exc_info = type(error), error, error.__traceback__
    lines = LogFormatter("json").format(made).splitlines()
    assert len(lines) == 1
    found = json.loads(lines[0])
    assert found.pop("traceback").endswith("ValueError: wrong")
    assert found == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "component": "health",
        "message": 'say "a\nb"',
    }


def test_a_record_of_another_package_has_its_logger_s_name() -> None:
    assert component_of(logging.LogRecord("asyncio", 20, __file__, 1, "x", (), None)) == "asyncio"


def test_levels_of_components() -> None:
    options = LogSettings(level="error", levels=("health=debug", "gateway=info"))
    passes = LogFilter(options).filter
    assert passes(record(level=logging.DEBUG))  # from the room health
    assert not LogFilter(LogSettings(level="error")).filter(record())
    assert LogFilter(options).lowest == logging.DEBUG


def test_repeated_messages_are_counted_and_not_written() -> None:
    clock = FakeClock()
    log_filter, form = LogFilter(LogSettings(repeats=3), clock), LogFormatter("text")
    assert [log_filter.filter(record(line=1)) for _ in range(8)] == [True] * 3 + [False] * 5
    assert log_filter.filter(record(line=2))  # another kind
    clock.advance(60)
    later = record("%s is down", "web9", line=1)
    assert log_filter.filter(later)
    assert form.format(later).endswith("web9 is down (5 more like this were left out)")
    no_limit = LogFilter(LogSettings(repeats=0), clock)
    assert all(no_limit.filter(record()) for _ in range(100))


def entry(**given: Any) -> AccessEntry:
    return AccessEntry("GET", "/", "192.0.2.1", **given)


def test_plain_client_ids_are_one_word_each() -> None:
    lines: list[str] = []
    log = AccessLog("text", lines.append, plain=True)
    for client in ("ann b", "x\ny", b"\xff", "\ud800", 7):
        log(entry(client=client))
    shown = [line.split(" client=")[1].split(" GET ")[0] for line in lines]
    assert shown == ["ann%20b", "x%0Ay", "%FF", "%ED%A0%80", "7"]


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log = AccessLog("text", LineWriter(output=output_of(str(path))))
    assert isinstance(log.write, LineWriter)
    log(entry(request_id="one"))
    log.write.flush(30)
    path.rename(old)
    log(entry(request_id="two"))  # before the signal: still the old file
    log.write.flush(30)
    log.reopen()
    log(entry(request_id="three"))
    log.write.flush(30)
    assert [line.split("id=")[1] for line in old.read_text().splitlines()] == ["one", "two"]
    assert path.read_text().endswith("id=three\n")
    assert path.stat().st_mode & 0o777 == 0o640 & ~umask()


def umask() -> int:
    present = os.umask(0)
    os.umask(present)
    return present


def test_syslog_gets_a_datagram_for_each_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(30)
        daemon.bind(str(tmp_path / "log"))
        writer = LineWriter(output=output_of(f"syslog:{tmp_path / 'log'}"))
        writer("one\n")
        writer("two\n")
        assert [daemon.recv(1000).rstrip(b"\0") for _ in range(2)] == [
            b"<134>hashring: one",
            b"<134>hashring: two",
        ]
        output = writer.output
        assert isinstance(output, SyslogOutput)
        output.close()


def test_a_syslog_that_is_not_there_costs_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LineWriter(output=output_of(f"syslog:{tmp_path / 'none'}"))
    for _ in range(3):
        writer("line\n")
        writer.flush(30)
    assert writer.lost == 3
    assert caplog.text.count("the access log loses lines") == 1


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        output_of(str(tmp_path / "none" / "access.log"))


def test_the_signal_reopens_the_log_of_a_gateway(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    options = {
        "gateway.access_log": "json",
        "gateway.access_log_to": str(path),
        "gateway.access_log_client": "plain",
        "identity.sources": ["header:X-User"],
    }

    async def main() -> None:
        async with started([PageHost("web0")]) as pool, gateway_of(pool, options) as (front, _):
            await ask(front, get("/one", "X-User: ann"))
            await wait_in_loop(lambda: path.exists() and path.read_text())
            path.rename(old)
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0)
            await ask(front, get("/two", "X-User: bob"))
            await wait_in_loop(lambda: path.exists() and path.read_text())
        found = [json.loads(file.read_text()) for file in (old, path)]
        assert [(line["target"], line["client"]) for line in found] == [
            ("/one", "ann"),
            ("/two", "bob"),
        ]

    asyncio.run(main())
