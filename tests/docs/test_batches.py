"""The data engines of the page on columns count what `hashring spread` counts."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hashring import HashRing
from hashring.analysis import PlacedHosts, sample_log, spread
from tests.docs.pages import DOCS
from tests.test_pages import FENCE

pyarrow = pytest.importorskip("pyarrow", reason="columns come from Arrow: a development tool")
pytest.importorskip("polars_hash", reason="columns of keys are an extra: [analysis]")

PAGE = (DOCS / "batches.md").read_text(encoding="utf-8")
EXAMPLES = {
    found["body"].split(":")[0].removeprefix("# "): found["body"]
    for found in FENCE.finditer(PAGE)
    if found["skip"]
}
LIBRARIES = {"polars": "polars", "DuckDB": "duckdb", "Dask": "dask", "Ray Data": "ray"}
HOSTS = ["web1", "web2", "web3", "web4"]


@pytest.fixture(scope="module")
def clients() -> list[str]:
    return [line.split(b" ", 1)[0].decode() for line in sample_log()]


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small cluster of one worker, ended after the test."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv(
        "PYSPARK_SUBMIT_ARGS", "--master local[1] --conf spark.ui.enabled=false pyspark-shell"
    )
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    yield
    if (ray := sys.modules.get("ray")) is not None:
        ray.shutdown()
    if (spark := sys.modules.get("pyspark.sql")) is not None:
        session = spark.SparkSession.getActiveSession()
        if session is not None:
            session.stop()


def rows_of(engine: str, clients: list[str]) -> Counter[str]:
    ring = HashRing(HOSTS)
    names: dict[str, Any] = {"ring": ring, "log": pyarrow.table({"client": clients})}
    exec(compile(EXAMPLES[engine], f"batches.md, {engine}", "exec"), names)
    return Counter({ring.hosts[int(code)]: int(count) for code, count in names["rows"]})


@pytest.mark.parametrize("engine", EXAMPLES)
@pytest.mark.filterwarnings("ignore")  # of the engines' own
@pytest.mark.usefixtures("one_process")
def test_an_engine_counts_the_requests_of_spread(engine: str, clients: list[str]) -> None:
    if engine == "Spark":
        pytest.importorskip("pyspark", reason="Spark is installed by hand: pip install pyspark")
        if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
            pytest.skip("Spark needs Java: apt-get install default-jre-headless")
    else:
        pytest.importorskip(LIBRARIES[engine], reason="a data engine: a development tool")
    counts = Counter(client.encode() for client in clients)
    report = spread(counts, PlacedHosts.of(HOSTS))
    assert rows_of(engine, clients) == {host.host: host.requests for host in report.hosts}


def test_the_page_has_five_engines() -> None:
    assert set(EXAMPLES) == {*LIBRARIES, "Spark"}
    assert re.search(r"five engines", PAGE)
