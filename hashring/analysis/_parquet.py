"""Parquet files, by polars: the clients of a column, counted without a line of Python for each."""

from __future__ import annotations

from typing import Any

from hashring.analysis._sources import LogError
from hashring.errors import ConfigError, InvalidKeyError, requires_extra
from hashring.keys import key_bytes
from hashring.text import printable


def count_clients(names: list[str], key: str | None) -> tuple[dict[bytes, int], int, int]:
    """The requests of each value of the column ``key``, all rows, and the rows that count.

    Raises ``LogError``, ``ConfigError``.
    """
    counts: dict[bytes, int] = {}
    lines = used = 0
    for name in names:
        found, rows = _count_values(name, key)
        before = used
        for value, count in found:
            lines += count
            client = _client(value)
            if client is not None:
                counts[client] = counts.get(client, 0) + count
                used += count
        if used == before:
            raise LogError(
                f"{printable(name)}: none of its {rows:,} rows has a client in "
                f"{printable(key or '')}",
                source=name,
            )
    return counts, lines, used


def _client(value: Any) -> bytes | None:
    if isinstance(value, bool) or not isinstance(value, (str, bytes, int)):
        return None
    try:
        return key_bytes(value) or None
    except InvalidKeyError:
        return None


def _count_values(name: str, key: str | None) -> tuple[list[tuple[Any, int]], int]:
    with requires_extra("analysis", "Parquet files"):
        import polars as pl
    try:
        frame = pl.scan_parquet(name, glob=False)
        columns = frame.collect_schema().names()
        if key is None or key not in columns:
            known = ", ".join(printable(column, 20) for column in columns[:8])
            raise ConfigError(
                f"{printable(name)} is Parquet: give the column of the client as --key COLUMN "
                f"(it has {known})",
                option="key",
            )
        table = frame.group_by(pl.col(key)).len("requests").collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        why = str(error).partition("\n")[0]
        raise LogError(
            f"cannot read {printable(name, 200)}: {printable(why, 200)}", source=name
        ) from error
    values, sizes = table.get_column(key).to_list(), table.get_column("requests").to_list()
    return list(zip(values, sizes, strict=True)), sum(sizes)
