"""Logs read by the workers of a Ray or Spark cluster: each log is a task of its own.

A worker reads its log as ``read_clients`` does and sends back the requests of each client, so the
result is the same as without a cluster. Every worker needs the files at the same absolute paths.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeAlias

from hashring.analysis.logs import (
    Clients,
    LogOptions,
    Tally,
    check_log_options,
    count_source,
    merge_sources,
)
from hashring.errors import ConfigError, HashringError, requires_extra
from hashring.text import bounded_repr, suggestion

_Part: TypeAlias = tuple[Tally, Counter[bytes]]
_Engine: TypeAlias = Callable[[LogOptions, list[str]], "list[_Part | HashringError]"]


def read_clients_in(
    engine: str,
    sources: Iterable[str | os.PathLike[str]],
    *,
    format: str = "auto",
    key: str | None = None,
    pattern: str | None = None,
    client: str = "ip",
) -> Clients:
    """As ``read_clients``, by the workers of ``engine``, which is ``ray`` or ``spark``.

    A cluster that this process is connected to is used; else the library finds one or starts one
    here (``RAY_ADDRESS``, ``PYSPARK_SUBMIT_ARGS``), and it is left or ended afterwards. The report
    has the absolute paths of the files. Cost: the longest log; the memory of this process holds
    the distinct clients.

    Raises what ``read_clients`` raises; ``ConfigError`` for standard input, for a library that is
    not installed, and for an engine that does not start.
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"there is no engine {bounded_repr(engine)}: {suggestion(engine, tuple(ENGINES))}",
            option="engine",
        )
    if "-" in (names := [os.fspath(source) for source in sources]):
        raise ConfigError(
            f"standard input (-) cannot be read by {engine}: name the files", option="engine"
        )
    names = [os.path.abspath(name) for name in names]  # noqa: PTH100  # resolve() follows links
    options = check_log_options(names, LogOptions(format, key, None, pattern, client))
    parts: list[_Part] = []
    for found in ENGINES[engine](options, names):
        if isinstance(found, HashringError):
            raise found
        parts.append(found)
    return merge_sources(options, names, parts)


def _count(options: LogOptions, name: str) -> _Part | HashringError:
    """A task. An error is a result, because the libraries wrap what a task raises."""
    try:
        return count_source(options, name)
    except HashringError as error:
        return error


def _ray(options: LogOptions, names: list[str]) -> list[_Part | HashringError]:
    with requires_extra("ray", "logs read by Ray", option="engine"):
        import ray
    mine = not ray.is_initialized()
    if mine:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        count: Any = ray.remote(_count)
        found: list[_Part | HashringError] = ray.get(
            [count.remote(options, name) for name in names]
        )
    finally:
        if mine:
            ray.shutdown()
    return found


def _spark(options: LogOptions, names: list[str]) -> list[_Part | HashringError]:
    with requires_extra("spark", "logs read by Spark", option="engine"):
        sql = import_module("pyspark.sql")
        errors = import_module("pyspark.errors")
    mine = sql.SparkSession.getActiveSession() is None
    try:
        session = sql.SparkSession.builder.appName("hashring plan").getOrCreate()
    except errors.PySparkRuntimeError as error:
        raise ConfigError(
            f"Spark does not start: {str(error).splitlines()[0]}; it needs Java and JAVA_HOME",
            option="engine",
        ) from error
    try:
        tasks = session.sparkContext.parallelize(names, len(names))
        found: list[_Part | HashringError] = tasks.map(partial(_count, options)).collect()
    finally:
        if mine:
            session.stop()
    return found


ENGINES: Final[dict[str, _Engine]] = {"ray": _ray, "spark": _spark}
"""The engines by name."""
