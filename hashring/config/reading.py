"""Settings from a file, the environment and the command line; all problems are collected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hashring import placement as placements
from hashring.config.factory import find_conflicts
from hashring.config.hosts import hosts_of
from hashring.config.named import NO_PLACEMENT
from hashring.config.problems import Problem, ProblemsError
from hashring.config.secrets import read_secret
from hashring.config.settings import (
    TABLES,
    AdminSettings,
    CostSettings,
    PlacementSettings,
    PoolSettings,
    Settings,
    TokenSettings,
)
from hashring.config.values import Found, Values, from_environment, from_file, from_options
from hashring.errors import HashringError
from hashring.text import suggestion
from hashring.validators import LOOPBACK_ADDRESS, attribute_of, options_of

T = TypeVar("T")
DEFAULT = "default"

_INDEPENDENT = (
    "discovery",
    "fallback",
    "identity",
    "sessions",
    "gateway",
    "tls",
    "host_tls",
    "log",
    "timeouts",
    "limits",
)
"""Tables whose keys can be checked one by one."""


def read(
    file: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a file, the environment and the command line; later ones win.

    ``options`` are those of the command line (``gateway.listen`` -> value), ``names`` their names
    there. Cost: that of building the pool once, because a pool that cannot be built is a problem
    too. Raises ``ProblemsError`` with every problem.

    >>> settings = read(options={"pool.hosts": ["127.0.0.1:9001"]}, names={"pool.hosts": "--host"})
    >>> settings.pool.hosts, settings.origins["pool.hosts"]
    ((Host('127.0.0.1:9001'),), 'command line --host')
    """
    known = os.environ if environ is None else environ
    values = Values() if file is None else from_file(file)
    from_variables = from_environment(known)
    values.update(from_variables)
    values.problems += from_variables.problems
    values.update(from_options(options or {}, names or {}))
    return _SettingsReader(values, known, file).settings()


class _SettingsReader:
    def __init__(self, values: Values, environ: Mapping[str, str], file: str | None) -> None:
        self.values, self.environ, self.file = values, environ, file
        self.problems = list(values.problems)
        self.skipped: set[str] = set()  # tables with a default in the place of an invalid value

    def settings(self) -> Settings:
        made = {name: self._plain(name) for name in TABLES}
        settings = Settings(
            pool=self._pool(made["pool"]),
            placement=self._placement(made["placement"], made["placement.cost"]),
            tokens=self._tokens(made["tokens"]),
            admin=self._admin(made["admin"], made["gateway"].admin),
            health=replace(made["health"], outliers=made["health.outliers"]),
            **{name: made[name] for name in _INDEPENDENT},
            origins=self._origins(),
        )
        for key, what in list(find_conflicts(settings, self.skipped)):
            self._report(key, what, at=self._nearest(key, what))
        if self.problems:
            raise ProblemsError(self.problems)
        return settings

    def _origins(self) -> dict[str, str]:
        origins = {key: found.where for key, found in self.values.items()}
        hosts = self.values.get("pool.hosts")
        for place in range(len(hosts.value) if hosts and isinstance(hosts.value, list) else 0):
            assert hosts is not None
            origins[f"pool.hosts[{place}]"] = hosts.inside(place)[0]
        return origins

    def _plain(self, name: str) -> Any:
        good = {}
        for each in options_of(TABLES[name]):
            found = self.values.get(f"{name}.{each.name}")
            if found is not None:
                try:
                    good[attribute_of(TABLES[name], each.name)] = each.check(found.value)
                except HashringError as error:
                    self._report(f"{name}.{each.name}", str(error))
                    self.skipped.add(name.partition(".")[0])
        return TABLES[name](**good)

    def _pool(self, pool: PoolSettings) -> PoolSettings:
        found = self.values.get("pool.hosts", Found((), self.file or ""))
        before = len(self.problems)
        listed = hosts_of(found, lambda path, what: self._report_inside("pool.hosts", path, what))
        hosts = tuple(each.host for each in listed)
        source = self.values.get("discovery.url")  # an invalid one is reported already
        named = source is not None and source.value != ""
        if not hosts and not named and len(self.problems) == before:
            hint = "give --host, --discover or FILE"
            if self.file:
                hint = 'write hosts = ["127.0.0.1:9001"] in [pool], or url in [discovery]'
            self._report("pool.hosts", f"there is no host: {hint}")
        return replace(
            pool, hosts=hosts, draining=frozenset(each.host.name for each in listed if each.drain)
        )

    def _placement(self, settled: PlacementSettings, cost: CostSettings) -> PlacementSettings:
        known = {} if settled.name == NO_PLACEMENT else placements.options(settled.name)
        own = [each.name for each in options_of(PlacementSettings)]
        own.append("cost.from")
        given = {}
        for key, found in self.values.items():
            table, _, option = key.partition(".")
            if table != "placement" or option in own:
                continue
            if option in known:
                given[option] = found.value
            elif option in placements.SECRETS:
                self._report(
                    key, "secrets are not written here, give key_secret_file or key_secret_env"
                )
            else:
                near = suggestion(option, [*known, *own])
                self._report(key, f"placement {settled.name!r} has no such option: {near}")
        secret = self._secret(
            "placement.key_secret", settled.key_secret_file, settled.key_secret_env
        )
        return replace(settled, options=given, cost=cost, key_secret=secret)

    def _tokens(self, tokens: TokenSettings) -> TokenSettings:
        if not tokens.enabled and not (tokens.secret_file or tokens.secret_env):
            return tokens  # else the secret is for envelopes
        first = self._secret("tokens.secret", tokens.secret_file, tokens.secret_env)
        older = self._secret("tokens.old_secret", tokens.old_secret_file, tokens.old_secret_env)
        if older is not None and not (tokens.secret_file or tokens.secret_env):
            self._report(
                "tokens.old_secret_file" if tokens.old_secret_file else "tokens.old_secret_env",
                "needs the present secret too: give tokens.secret_file or tokens.secret_env",
            )
        return replace(tokens, secrets=tuple(s for s in (first, older) if s is not None))

    def _admin(self, admin: AdminSettings, address: str | None) -> AdminSettings:
        token = self._secret("admin.token", admin.token_file, admin.token_env)
        if address is not None and token is None:
            try:
                LOOPBACK_ADDRESS(address)
            except HashringError as error:
                self._report("gateway.admin", f"{error} (admin.token_file)")
        return replace(admin, token=token)

    def _secret(self, key: str, file: str | None, variable: str | None) -> bytes | None:
        return read_secret(
            file, variable, self.environ, lambda k, what: self._report(f"{key}_{k}", what)
        )

    def _nearest(self, key: str, what: str) -> str:
        """``key`` if it was given, else a given key of the same table that ``what`` names."""
        table = key.rpartition(".")[0]
        words = {f"{table}.{word.strip(',:')}" for word in what.split()}
        return key if key in self.values else min(words & self.values.keys(), default=key)

    def _report(self, key: str, what: str, at: str | None = None) -> None:
        self._report_inside(key, (), what, at)

    def _report_inside(
        self, key: str, path: tuple[str | int, ...], what: str, at: str | None = None
    ) -> None:
        found = self.values.get(at or key)
        where, line = (self.file or "", 0) if found is None else found.inside(*path)
        shown = key + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
        self.problems.append(Problem(where, shown, what, line))
