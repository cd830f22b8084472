"""Options that commands share: hosts and placement, logs and their format, ``--json``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from hashring.errors import HashringError
from hashring.hosts import Host, as_hosts

if TYPE_CHECKING:
    from hashring.analysis import Change, Clients, PlacedHosts

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class PoolOptions:
    """The hosts, the placement and its options."""

    hosts: tuple[Host, ...]
    placement: str
    options: dict[str, Any]

    def membership(self, hosts: tuple[Host, ...] | None = None, **more: bytes) -> PlacedHosts:
        """``hosts``, else those given, under the placement; an invalid one is a usage error.

        ``more`` are options of the placement that are not shown.
        """
        from hashring.analysis import PlacedHosts

        with usage():
            return PlacedHosts.of(
                self.hosts if hosts is None else hosts, self.placement, **self.options, **more
            )

    def settings(self) -> dict[str, Any]:
        """Every option of the placement, the given ones and the defaults."""
        from hashring.placement import options

        return {**options(self.placement), **self.options}


@contextmanager
def usage(kind: type[HashringError] = HashringError) -> Iterator[None]:
    """Inside, errors of hashring (of this ``kind``) are usage errors: exit 2."""
    try:
        yield
    except kind as error:
        raise click.UsageError(str(error), click.get_current_context(silent=True)) from error


def names(given: Iterable[str]) -> tuple[str, ...]:
    """The names in repeated values that are lists with commas.

    >>> names(["a, b", "c"])
    ('a', 'b', 'c')
    """
    parts = (part.strip() for value in given for part in value.split(","))
    return tuple(part for part in parts if part)


def named_weights(given: Iterable[str], option: str) -> tuple[Host, ...]:
    """Hosts from ``NAME`` or ``NAME=WEIGHT``; a bad one is a usage error that names ``option``.

    >>> named_weights(["a=2,b"], "--hosts")
    (Host('a', 2.0), Host('b'))
    """
    pairs: list[tuple[str, float]] = []
    for part in names(given):
        if len(part.split()) > 1:
            raise click.UsageError(
                f"{option} {part!r}: separate the hosts by commas",
                click.get_current_context(silent=True),
            )
        name, sign, weight = part.rpartition("=")
        try:
            pairs.append((name, float(weight)) if sign else (part, 1.0))
        except ValueError:
            raise click.UsageError(
                f"{option} {part}: the weight {weight!r} is not a number",
                click.get_current_context(silent=True),
            ) from None
    if not pairs and option == "--hosts":
        raise click.UsageError("--hosts has no host", click.get_current_context(silent=True))
    with usage():
        return as_hosts(pairs)


def hosts_option(function: Function) -> Function:
    """``--hosts``, for ``named_weights``."""
    return click.option(
        "--hosts",
        "--host",
        "hosts",
        required=True,
        multiple=True,
        metavar="A,B=2,...",
        help="Hosts, each with its weight if that is not 1. Repeatable.",
    )(function)


def pool_options(function: Function) -> Function:
    """Hosts and placement; ``function`` gets them as one ``pool``."""

    @hosts_option
    @click.option(
        "--vnodes", type=click.IntRange(min=1), help="Vnodes of a host of weight 1 (ring)."
    )
    @click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), help="Seed of the hash (ring).")
    @click.option("--placement", default="ring", show_default=True, help="Name of the placement.")
    @click.option(
        "--option",
        "given",
        multiple=True,
        metavar="K=V",
        help="An option of the placement. Repeatable.",
    )
    @wraps(function)
    def with_pool(
        *args: Any,
        hosts: tuple[str, ...],
        vnodes: int | None,
        seed: int | None,
        placement: str,
        given: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        found = named_weights(hosts, "--hosts")
        options = placement_options(placement, given)
        options |= {k: v for k, v in (("vnodes", vnodes), ("seed", seed)) if v is not None}
        return function(*args, pool=PoolOptions(found, placement, options), **kwargs)

    return with_pool


def placement_options(placement: str, given: Iterable[str]) -> dict[str, Any]:
    """The options of ``placement`` in texts ``K=V``; an invalid one is a usage error."""
    from hashring.placement import options

    with usage():
        defaults = options(placement)
    found: dict[str, Any] = {}
    for pair in given:
        name, sign, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise click.UsageError(f"--option {pair}: give K=V", click.get_current_context())
        found[name] = text if isinstance(defaults.get(name), str) else _value(text)
    return found


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class LogFormat(click.ParamType):  # type: ignore[type-arg]  # generic only in new versions of click
    """The name of a log format; the names are imported when one is given."""

    name = "format"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value`` if it is a format."""
        from hashring.analysis._formats import FORMATS
        from hashring.text import suggestion

        if value not in FORMATS:
            self.fail(f"there is no log format {value!r}: {suggestion(value, FORMATS)}", param, ctx)
        return value


@dataclass(frozen=True)
class LogArguments:
    """How logs are read: the arguments of ``read_clients`` and ``read_arrivals``."""

    format: str = "auto"
    key: str | None = None
    time: str | None = None
    pattern: str | None = None
    client: str = "ip"

    def as_options(self) -> dict[str, Any]:
        """All of them but the time, by name."""
        return {
            "format": self.format,
            "key": self.key,
            "pattern": self.pattern,
            "client": self.client,
        }


_LOG_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--key", {"metavar": "FIELD", "help": "Client's field in JSON lines (a.b), CSV or Parquet."}),
    ("--time", {"metavar": "FIELD", "help": "Field of the time in JSON lines, CSV or Parquet."}),
    ("--pattern", {"metavar": "REGEX", "help": "Lines by (?P<client>...) and (?P<time>...)."}),
    (
        "--client",
        {
            "metavar": "WHAT",
            "default": "ip",
            "show_default": True,
            "help": "Client of a combined log: ip, ip+agent, xff, cookie:NAME.",
        },
    ),
)


def reading_options(function: Function) -> Function:
    """How a log is read, without its format; ``function`` gets them as one ``reading``."""

    @wraps(function)
    def with_reading(*args: Any, log_format: str = "auto", **kwargs: Any) -> Any:
        given = {flag[2:]: kwargs.pop(flag[2:]) for flag, _ in _LOG_OPTIONS}
        return function(*args, reading=LogArguments(log_format, **given), **kwargs)

    decorated: Function = with_reading
    for flag, settings in reversed(_LOG_OPTIONS):
        decorated = click.option(flag, **settings)(decorated)
    return decorated


def log_options(function: Function, *, required: bool = True) -> Function:
    """The logs and how they are read; ``function`` gets ``logs`` and ``reading``."""
    function = reading_options(function)
    for decorate in (
        click.option(
            "--format",
            "log_format",
            type=LogFormat(),
            default="auto",
            show_default=True,
            metavar="NAME",
            help="Format of the logs: combined, jsonl, csv, haproxy, ...",
        ),
        click.argument("logs", nargs=-1, required=required, metavar="LOG..."),
    ):
        function = decorate(function)
    return function


def change_options(function: Function) -> Function:
    """``--add``, ``--remove`` and ``--weight``, for ``change_of``."""
    for decorate in (
        click.option(
            "--weight", multiple=True, metavar="C=2,...", help="New weights of hosts. Repeatable."
        ),
        click.option(
            "--remove", multiple=True, metavar="B,...", help="Hosts to remove. Repeatable."
        ),
        click.option("--add", multiple=True, metavar="D,E=2,...", help="Hosts to add. Repeatable."),
    ):
        function = decorate(function)
    return function


def change_of(
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    *,
    new_secret: bool = False,
) -> Change | None:
    """The change of the options of ``change_options``; None without one."""
    from hashring.analysis import Change

    if not names((*add, *remove, *weight)) and not new_secret:
        return None
    for part in names(weight):
        if "=" not in part:
            raise click.UsageError(
                f"--weight {part}: give NAME=WEIGHT", click.get_current_context()
            )
    weights = {host.name: host.weight for host in named_weights(weight, "--weight")}
    return Change(named_weights(add, "--add"), names(remove), weights, new_secret)


def json_option(function: Function) -> Function:
    """``--json``; ``function`` gets it as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON (schema 1) on stdout.")(
        function
    )


def read_logs(logs: tuple[str, ...], reading: LogArguments, engine: str | None = None) -> Clients:
    """The clients of the logs, with a progress bar on a terminal and warnings on stderr.

    With an ``engine`` its cluster reads them, and there is no progress.
    """
    from hashring.analysis import read_clients
    from hashring.cli import _progress
    from hashring.errors import ConfigError

    with _progress.reading(logs) as progress:
        try:
            if engine is not None:
                from hashring.analysis.cluster import read_clients_in

                clients = read_clients_in(engine, logs, **reading.as_options())
            else:
                clients = read_clients(logs, progress=progress, **reading.as_options())
        except ConfigError as error:
            raise click.UsageError(str(error), click.get_current_context()) from error
    for warning in clients.warnings:
        click.echo(f"hashring: {warning}", err=True)
    return clients
