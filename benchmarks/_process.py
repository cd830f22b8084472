"""How is something measured in a fresh process?  Run it, and read what it took or printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

__all__ = ["Took", "launch", "printed_json", "python_into"]

_HERE = Path(__file__).parent
_LAUNCH = str(_HERE / "_launch.py")
_ROOT = _HERE.parent  # where `hashring` and `benchmarks` are importable, installed or not
# an installed package has its bytecode; without it an import would measure the compiler
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


class Took(NamedTuple):
    """Wall seconds of a process and the most memory that it held, in MB of 10^6 bytes."""

    seconds: float
    peak: float


def launch(*arguments: str) -> Took:
    """Run ``python ARGUMENTS``, its output thrown away. Raises RuntimeError where it fails."""
    # -I -S: the process that starts and waits reads no site packages and stays at some 10 MB
    launcher = (sys.executable, "-I", "-S", _LAUNCH)
    seconds, peak, code = json.loads(_run(*launcher, sys.executable, *arguments))
    if code:
        raise RuntimeError(f"python {' '.join(arguments)} ended with exit code {code}")
    return Took(seconds, peak * 1024 / 1e6)


def printed_json(*arguments: str) -> Any:
    """What ``python ARGUMENTS`` prints, which is JSON."""
    return json.loads(_run(sys.executable, *arguments))


def python_into(path: Path, *arguments: str) -> None:
    """Write what ``python ARGUMENTS`` prints to ``path``."""
    with path.open("wb") as out:
        _started((sys.executable, *arguments), out)


def _run(*command: str) -> bytes:
    return _started(command, subprocess.PIPE).stdout


def _started(command: tuple[str, ...], out: IO[bytes] | int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, stdout=out, cwd=_ROOT, env=_ENVIRONMENT, check=True)
