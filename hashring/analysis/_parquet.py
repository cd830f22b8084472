"""Parquet files, by polars: the clients of a column, the times of another, the rows of a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashring.analysis._formats import moment
from hashring.analysis._sources import LogError
from hashring.errors import ConfigError, InvalidKeyError, requires_extra
from hashring.keys import key_bytes
from hashring.text import printable

if TYPE_CHECKING:
    import polars as pl

MAGIC = b"PAR1"


def is_parquet(name: str) -> bool:
    """Whether ``name`` is a Parquet file, by its name or its first bytes."""
    if name.endswith(".parquet"):
        return True
    try:
        with Path(name).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):  # the reader of the log has the message for it
        return False


def count_clients(names: list[str], key: str | None) -> tuple[dict[bytes, int], int, int]:
    """The requests of each value of the column ``key``, all rows, and the rows that count.

    Raises ``LogError``, ``ConfigError``.
    """
    counts: dict[bytes, int] = {}
    lines = used = 0
    for name in names:
        frame = _Frame(name)
        column = frame.column(key, "client", "--key")
        table = frame.collect(frame.scan.group_by(column).len("requests"))
        before = used
        for value, count in table.iter_rows():
            lines += count
            client = _client(value)
            if client is not None:
                counts[client] = counts.get(client, 0) + count
                used += count
        if used == before:
            rows = table.get_column("requests").sum()
            raise LogError(
                f"{printable(name)}: none of its {rows:,} rows has a client in "
                f"{printable(key or '')}",
                source=name,
            )
    return counts, lines, used


def timed_rows(
    names: list[str], key: str | None, time: str | None
) -> Iterator[tuple[float, bytes] | None]:
    """The (seconds, client) of each row by the columns ``time`` and ``key``; None for a bad row.

    A time is a date, an epoch in s, ms, us or ns, or text. Cost: memory for both columns of a file.
    Raises ``LogError``, ``ConfigError``.
    """
    for name in names:
        frame = _Frame(name)
        client = frame.column(key, "client", "--key")
        at = frame.seconds(frame.column(time, "time", "--time"))
        some = False
        for value, when in frame.collect(frame.scan.select(client, at.alias("at"))).iter_rows():
            found, seconds = _client(value), moment(when)
            good = found is not None and seconds is not None
            some = some or good
            yield (seconds, found) if seconds is not None and found is not None else None
        if not some:
            raise LogError(
                f"{printable(name)}: none of its rows has a client in {printable(key or '')} and a "
                f"time in {printable(time or '')}",
                source=name,
            )


def records(name: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The columns of a file, and its rows as dicts. Raises ``LogError``. Cost: memory for all."""
    frame = _Frame(name)
    return frame.columns, frame.collect(frame.scan).iter_rows(named=True)


def _client(value: Any) -> bytes | None:
    if isinstance(value, bool) or not isinstance(value, (str, bytes, int)):
        return None
    try:
        return key_bytes(value) or None
    except InvalidKeyError:
        return None


class _Frame:
    """A file that polars reads; what it cannot read is a ``LogError``."""

    def __init__(self, name: str) -> None:
        with requires_extra("analysis", "Parquet files"):
            import polars as pl
        self.name = name
        try:
            self.scan = pl.scan_parquet(name, glob=False)
            self._types = self.scan.collect_schema()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._unreadable(error) from error

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._types.names()

    def column(self, name: str | None, what: str, flag: str) -> pl.Expr:
        """The column ``name``. Raises ``ConfigError`` with the columns that there are."""
        import polars as pl

        if name is None or name not in self.columns:
            known = ", ".join(printable(column, 20) for column in self.columns[:8])
            raise ConfigError(
                f"{printable(self.name)} is Parquet: give the column of the {what} as {flag} "
                f"COLUMN (it has {known})",
                option=flag[2:],
            )
        return pl.col(name)

    def seconds(self, column: pl.Expr) -> pl.Expr:
        """``column``, as seconds since the epoch where it has dates: in UTC without a zone."""
        import polars as pl

        kind = self._types[column.meta.output_name()]
        if kind == pl.Date or isinstance(kind, pl.Datetime):
            return column.cast(pl.Datetime("us") if kind == pl.Date else kind).dt.epoch("us") / 1e6
        return column

    def collect(self, query: pl.LazyFrame) -> pl.DataFrame:
        """The result of a query."""
        import polars as pl

        try:
            return query.collect(engine="streaming")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> LogError:
        why = printable(str(error).partition("\n")[0], 200)
        return LogError(f"cannot read {printable(self.name, 200)}: {why}", source=self.name)
