"""How does what was said become settings?  Every value checked, every mistake collected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hashring import placement as placements
from hashring.config.building import trial
from hashring.config.hosts import hosts_of
from hashring.config.kinds import suggestion
from hashring.config.mistakes import Mistake, MistakesError
from hashring.config.names import NO_PLACEMENT
from hashring.config.secrets import secret_in
from hashring.config.settings import (
    TABLES,
    Health,
    Outliers,
    Placement,
    Pool,
    Settings,
    Tokens,
    keys,
)
from hashring.config.sources import Found, Values, from_environment, from_file, from_options
from hashring.errors import HashringError

__all__ = ["DEFAULT", "read"]

T = TypeVar("T")
DEFAULT = "default"

_PLAIN = ("discovery", "fallback", "identity", "gateway", "timeouts", "limits")  # all checked alone


def read(
    file: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a file, the environment and the command line; later ones win.

    ``options`` are what the command line says (``gateway.listen`` -> value), ``names`` what it
    calls them. Cost: that of one build of the pool, for what cannot be built is a mistake too.
    Raises ``MistakesError`` with every mistake that was found.

    >>> settings = read(options={"pool.hosts": ["127.0.0.1:9001"]}, names={"pool.hosts": "--host"})
    >>> settings.pool.hosts, settings.origins["pool.hosts"]
    ((Host('127.0.0.1:9001'),), 'command line --host')
    """
    known = os.environ if environ is None else environ
    values = Values() if file is None else from_file(file)
    values.update(from_environment(known))
    values.update(from_options(options or {}, names or {}))
    return _Reading(values, known, file).settings()


class _Reading:
    def __init__(self, values: Values, environ: Mapping[str, str], file: str | None) -> None:
        self.values, self.environ, self.file = values, environ, file
        self.mistakes = list(values.mistakes)
        self.doubtful: set[str] = set()  # tables with a default in the place of a mistake

    def settings(self) -> Settings:
        made = {name: self._plain(name) for name in TABLES}
        settings = Settings(
            pool=self._pool(made["pool"]),
            placement=self._placement(made["placement"]),
            tokens=self._tokens(made["tokens"]),
            health=self._health(made["health"], made["health.outliers"]),
            **{n: made[n] for n in _PLAIN},
            origins=self._origins(),
        )
        for key, what in list(trial(settings, self.doubtful)):
            self._tell(key, what, at=self._nearest(key, what))
        if self.mistakes:
            raise MistakesError(self.mistakes)
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
        for key, (kind, _, _) in keys(TABLES[name]).items():
            found = self.values.get(f"{name}.{key}")
            if found is not None:
                try:
                    good[key] = kind(found.value)
                except HashringError as error:
                    self._tell(f"{name}.{key}", str(error))
                    self.doubtful.add(name.partition(".")[0])
        return TABLES[name](**good)

    def _pool(self, pool: Pool) -> Pool:
        found = self.values.get("pool.hosts", Found((), self.file or ""))
        before = len(self.mistakes)
        hosts = hosts_of(found, lambda path, what: self._tell_inside("pool.hosts", path, what))
        source = self.values.get("discovery.url")  # if that is wrong, it is told of already
        named = source is not None and source.value != ""
        if not hosts and not named and len(self.mistakes) == before:
            hint = "give --host, --discover or FILE"
            if self.file:
                hint = 'write hosts = ["127.0.0.1:9001"] in [pool], or url in [discovery]'
            self._tell("pool.hosts", f"no host is named, so nobody could serve: {hint}")
        return replace(pool, hosts=hosts)

    def _placement(self, settled: Placement) -> Placement:
        known = {} if settled.name == NO_PLACEMENT else placements.options(settled.name)
        own = keys(Placement)
        given = {}
        for key, found in self.values.items():
            table, _, option = key.partition(".")
            if table != "placement" or option in own:
                continue
            if option in known:
                given[option] = found.value
            elif option in placements.SECRETS:
                self._tell(key, "a secret is never written here: give key_secret_file or _env")
            else:
                near = suggestion(option, [*known, *own])
                self._tell(key, f"placement {settled.name!r} has no such option: {near}")
        secret = self._secret(
            "placement.key_secret", settled.key_secret_file, settled.key_secret_env
        )
        return replace(settled, options=given, key_secret=secret)

    def _tokens(self, tokens: Tokens) -> Tokens:
        if not tokens.enabled:
            return tokens
        first = self._secret("tokens.secret", tokens.secret_file, tokens.secret_env)
        older = self._secret("tokens.old_secret", tokens.old_secret_file, tokens.old_secret_env)
        if older is not None and not (tokens.secret_file or tokens.secret_env):
            self._tell(
                "tokens.old_secret_file" if tokens.old_secret_file else "tokens.old_secret_env",
                "is the secret before tokens.secret_file or secret_env, and neither is named",
            )
        return replace(tokens, secrets=tuple(s for s in (first, older) if s is not None))

    def _secret(self, key: str, file: str, variable: str) -> bytes | None:
        return secret_in(
            file, variable, self.environ, lambda k, what: self._tell(f"{key}_{k}", what)
        )

    @staticmethod
    def _health(health: Health, outliers: Outliers) -> Health:
        return replace(health, outliers=outliers)

    def _nearest(self, key: str, what: str) -> str:
        """``key``, or if nobody said that one, a key beside it that ``what`` speaks of."""
        table = key.rpartition(".")[0]
        words = {f"{table}.{word.strip(',:')}" for word in what.split()}
        return key if key in self.values else min(words & self.values.keys(), default=key)

    def _tell(self, key: str, what: str, at: str | None = None) -> None:
        self._tell_inside(key, (), what, at)

    def _tell_inside(
        self, key: str, path: tuple[str | int, ...], what: str, at: str | None = None
    ) -> None:
        found = self.values.get(at or key)
        where, line = (self.file or "", 0) if found is None else found.inside(*path)
        shown = key + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
        self.mistakes.append(Mistake(where, shown, what, line))
