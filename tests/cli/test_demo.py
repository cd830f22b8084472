"""Does the demo keep its promise, and leave nothing behind?"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
RUN = [sys.executable, "-c", f"{HEED}from hashring.cli import main; main()", "demo"]
EVENTS = ("web5 joins", "web2 drains", "web3 is killed", "web3 is back")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="it kills hosts as POSIX does"),
]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


@contextmanager
def demo(*args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*RUN, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        killer = threading.Timer(60, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            if process.poll() is None:
                process.kill()


def rows(text: str) -> dict[str, list[int]]:
    """Event -> sessions, kept, broken, minimum, broken by hash % n."""
    found = re.findall(
        r"^(\w+ [a-z ]+?)  +(\d+)  +(\d+)  +(\d+)  +(\d+)  +(\d+)$", text, re.MULTILINE
    )
    return {event: list(map(int, numbers)) for event, *numbers in found}


def nobody_listens(addresses: list[str]) -> bool:
    for address in addresses:
        name, _, port = address.partition(":")
        with socket.socket() as probe:
            if probe.connect_ex((name, int(port))) == 0:
                return False
    return True


def test_no_session_breaks_that_need_not_and_nothing_is_left() -> None:
    with demo("--clients", "60", "--stay") as process:
        assert process.stdout
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("Ctrl-C"):
                break
        addresses = re.findall(r"http://([\d.:]+)", text.partition("\ngateway  ")[2])
        assert len(addresses) == 7, text  # the gateway's, the state's and five hosts'
        assert not nobody_listens(addresses[-1:])
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr
        assert process.stderr.read() == ""
    table = rows(text)
    assert tuple(table) == EVENTS
    for event, (sessions, kept, broken, minimum, modulo) in table.items():
        assert (sessions, kept) == (60, 60 - broken)
        assert broken == minimum, event
        assert modulo > broken
    assert table["web3 is killed"][2] > 0
    assert "; 0 failed" in text
    for event in EVENTS:
        assert re.search(rf"\d s  {event}\n", text), "it is announced"
    assert nobody_listens(addresses)


@pytest.mark.parametrize("words", ["gateway at", "web5 joins", "web3 is killed"])
def test_ctrl_c_leaves_nothing_behind(words: str) -> None:
    with demo("--clients", "20") as process:
        assert process.stdout
        gateway = re.search(r"http://([\d.:]+), its", first := process.stdout.readline())
        assert gateway, first
        for line in chain([first], process.stdout):
            if words in line:
                break
        children = hosts_of(process.pid)
        assert children
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr
        assert process.stderr.read() == ""
    assert nobody_listens([gateway[1]])
    assert gone(children)


def test_hosts_end_even_when_the_demo_is_killed() -> None:
    with demo("--clients", "5") as process:
        assert process.stdout
        process.stdout.readline()
        children = hosts_of(process.pid)
        assert len(children) == 4
        process.kill()
        process.wait()
    assert gone(children)


def hosts_of(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(word) for word in listing.stdout.split()]


def gone(pids: list[int]) -> bool:
    """Whether all of them end, within some seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    # whose parent was killed may wait as a zombie for init: it has ended all the same
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_terminal_sees_it_live() -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*RUN, "--clients", "20"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment(), "TERM": "xterm-256color"},
    ) as process:
        os.close(theirs)
        received = b""
        try:
            while piece := os.read(ours, 1 << 16):
                received += piece
        except OSError:  # Linux says so when the last program closes the terminal
            pass
        os.close(ours)
        assert process.wait() == 0
    text = received.decode()
    for word in ("requests/s", "\x1b[32mup", "\x1b[33mdraining", "\x1b[31mdown"):
        assert word in text
