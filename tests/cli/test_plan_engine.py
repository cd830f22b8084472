"""``hashring plan --engine``: the plan of a cluster that reads the logs is that of one process."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hashring import ConfigError
from hashring.analysis import sample_log
from hashring.analysis.cluster import ENGINES, read_clients_in
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/data/access.log.gz"
CHANGE = ("--hosts", "web1,web2,web3,web4", "--add", "web5", "--remove", "web2")
LIBRARIES = {"ray": "ray", "spark": "pyspark"}


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """``hashring ARGS`` in a process of its own, with a cluster of this machine."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    with (Path(tempfile.gettempdir()) / "hashring-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one cluster at a time: each has a dozen processes
        return subprocess.run(
            [sys.executable, "-m", "hashring", *args],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def skip_without(engine: str) -> None:
    if importlib.util.find_spec(LIBRARIES[engine]) is None:
        pytest.skip(f"{engine} is not installed: pip install 'sticky-hashring[{engine}]'")
    if engine == "spark" and not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt-get install default-jre-headless")


def planned(run: Run, *args: str) -> dict[str, Any]:
    done = run("plan", *args, *CHANGE, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_gives_the_plan_of_one_process(run: Run, tmp_path: Path, engine: str) -> None:
    skip_without(engine)
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_bytes(b"".join(sample_log(2_000, 300)) + b"broken\n")
    two.write_bytes(b"".join(sample_log(1_000, 200)) + b"\n\nbroken\n")
    logs = (str(one), str(two), *([str(REAL)] if REAL.exists() else []))
    done = command("plan", *logs, *CHANGE, "--json", "--engine", engine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == planned(run, *logs)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_real_log_has_one_plan(run: Run, engine: str) -> None:
    skip_without(engine)
    if not REAL.exists():
        pytest.skip("the sample of a real log is not here")
    done = command("plan", str(REAL), *CHANGE, "--json", "--engine", engine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == planned(run, str(REAL))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_a_worker_is_one_line(tmp_path: Path, engine: str) -> None:
    skip_without(engine)
    missing = tmp_path / "missing.log"
    done = command("plan", str(missing), *CHANGE, "--engine", engine)
    assert done.returncode == 1
    assert f"hashring: cannot read {missing}: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_standard_input_and_unknown_engines_are_refused(run: Run) -> None:
    done = run("plan", "-", *CHANGE, "--engine", "ray", stdin=b"")
    assert done.exit_code == 2
    assert "standard input (-) cannot be read by ray: name the files" in done.stderr
    with pytest.raises(ConfigError, match="no engine 'rya': did you mean 'ray'"):
        read_clients_in("rya", ["some.log"])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_names_its_extra(engine: str) -> None:
    if importlib.util.find_spec(LIBRARIES[engine]) is not None:
        pytest.skip(f"{engine} is installed")
    with pytest.raises(ConfigError, match=rf"pip install \"sticky-hashring\[{engine}\]\""):
        read_clients_in(engine, ["some.log"])
