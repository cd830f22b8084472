"""Does the command behave among other programs?  Pipes, terminals, signals, missing extras."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hashring.analysis import sample_log

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "hashring")
POSIX = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals and signals are POSIX's")


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}


def run(*args: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *args], input=stdin, capture_output=True, env=environment(**more), check=False
    )


def on_a_terminal(*args: str, **more: str) -> str:
    """What a terminal of 100 columns receives, stdout and stderr together."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(COLUMNS="100", **more),
    ) as process:
        os.close(theirs)
        received = b""
        try:
            while piece := os.read(ours, 1 << 16):
                received += piece
        except OSError:  # Linux says so when the last program closes the terminal
            pass
        finally:
            os.close(ours)
        assert process.wait() == 0
    return received.decode()


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "access.log"
    path.write_bytes(b"".join(sample_log(3000, 300)))
    return str(path)


def test_stdin_is_read_as_it_comes() -> None:
    args = [*COMMAND, "spread", "-", "--hosts", "a,b"]
    with subprocess.Popen(
        args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(3):  # far more than a pipe holds: it is being read before its end
            process.stdin.writelines(sample_log(5000, 10))
            process.stdin.flush()
        assert process.poll() is None
        process.stdin.close()
        assert b"15,000 lines used" in process.stdout.read()
    assert process.returncode == 0


@pytest.mark.parametrize("args", [("sample-log", "--lines", "100000"), ("route",)])
def test_a_reader_that_has_seen_enough_ends_it_quietly(args: tuple[str, ...]) -> None:
    if args[0] == "route":
        args = ("route", *(f"key-{i}" for i in range(20_000)), "--hosts", "a,b")
    with subprocess.Popen(
        [*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("args", [("sample-log",), ("route", "x", "--hosts", "a")])
def test_a_full_disk_is_one_line(args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *args], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"hashring: cannot write: No space left on device\n"


@POSIX
def test_ctrl_c_ends_it_quietly() -> None:
    # a shell that runs the tests in the background lets its children ignore SIGINT
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = f"{heed}from hashring.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "spread", "-", "--hosts", "a"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin
        process.stdin.write(b"ann\n" * 500_000)  # returns when most of it has been read
        for _ in range(10):  # a signal just before a read begins is seen when the read ends
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
                break
        else:
            process.kill()
        assert process.returncode == 130
        assert process.stdout
        assert process.stderr
        assert process.stdout.read() == b""
        assert process.stderr.read().strip() == b""  # but for the end of the line with the ^C


@POSIX
def test_a_terminal_gets_colour_unless_it_asked_for_none(log: str) -> None:
    args = ("plan", log, "--hosts", "a,b", "--add", "c")
    assert "\x1b[36m" in on_a_terminal(*args)
    plain = on_a_terminal(*args, NO_COLOR="1")
    assert not any(f"\x1b[{colour}m" in plain for colour in range(30, 50))
    assert "all of them to c" in plain


@POSIX
def test_a_terminal_sees_how_far_the_reading_is(tmp_path: Path) -> None:
    big = tmp_path / "ids"
    with big.open("wb") as ids:
        for _ in range(20):
            ids.write(b"some-client-id\nanother-client\n" * 35_000)
    assert "reading" in on_a_terminal("spread", str(big), "--hosts", "a")
    piped = run("spread", str(big), "--hosts", "a")
    assert piped.stderr == b""
    assert b"1,400,000 lines used" in piped.stdout


def test_an_encoding_without_blocks_or_accents_is_not_a_failure(log: str) -> None:
    done = run("spread", log, "--hosts", "h\u00e9,b", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.isascii()
    assert b"h\\xe9" in done.stdout
    assert b"##" in done.stdout


def test_the_two_ways_to_start_are_one() -> None:
    started = subprocess.run(
        [sys.executable, "-c", "import sys; from hashring.cli import main; main()", "--help"],
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert started.returncode == 0
    assert started.stdout == run("--help").stdout


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_named(missing: str) -> None:
    code = (
        "import importlib.util as util, hashring.cli as cli\n"
        f"cli.find_spec = lambda name: None if name == {missing!r} else util.find_spec(name)\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment(), check=False
    )
    assert done.returncode == 3
    assert done.stderr.decode() == (
        f'hashring: commands need {missing}: pip install "sticky-hashring[cli]"\n'
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom hashring.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    print([m for m in ('rich', 'hashring.analysis', 'hashring.placement') if m in before])"
    ).replace("in before", "in sys.modules")
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "--help"],
        capture_output=True,
        env=environment(),
        check=True,
    )
    assert done.stdout.decode().splitlines()[-1] in ("[]", "['hashring.placement']")
