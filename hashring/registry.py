"""Plug-ins by name: the modules of a package, and the entry points that other packages declare.

A file ``my_own.py`` in the package is known as ``"my-own"``; files that begin with an underscore
are shared parts. Another distribution adds a plug-in by an entry point that names a module of the
same form; a built-in wins over an entry point of the same name::

    [project.entry-points."hashring.placement"]
    my-own = "my_package.my_own"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from hashring.errors import ConfigError
from hashring.text import bounded_repr, closest


class Registry:
    """The plug-ins of one kind. Entry points are read once per process, at the first need.

    ``package`` holds the built-ins and names the group of entry points; ``kind`` is the noun in
    messages and ``option`` the option that errors name.

    >>> Registry("hashring.placement", "placement").get("modulo").__name__
    'hashring.placement.modulo'
    """

    def __init__(
        self, package: str, kind: str, *, plural: str = "", option: str | None = None
    ) -> None:
        self.package = package
        self._kind = kind
        self._plural = plural or f"{kind}s"
        self._option = option or kind
        self._entry_points: dict[str, Any] | None = None

    def names(self) -> list[str]:
        """All names, sorted. Cost: one listing of the folder and of the entry points.

        >>> "ring" in Registry("hashring.placement", "placement").names()
        True
        """
        return sorted(self._builtins() | self._plugins().keys())

    def get(self, name: str) -> Any:
        """The module of the plug-in ``name``.

        Raises ``ConfigError`` for an unknown name, with the closest one or all there are, and
        for an entry point that cannot be imported.

        >>> Registry("hashring.placement", "placement").get("rng")
        Traceback (most recent call last):
        hashring.errors.ConfigError: there is no placement 'rng': did you mean 'ring'?
        """
        if isinstance(name, str):
            if name in self._builtins():
                return import_module(f"{self.package}.{name.replace('-', '_')}")
            if name in self._plugins():
                return self._load(name)
        known = self.names()
        near = closest(name, known) if isinstance(name, str) else None
        hint = f"did you mean {near!r}?" if near else f"the {self._plural} are {', '.join(known)}"
        raise ConfigError(
            f"there is no {self._kind} {bounded_repr(name)}: {hint}", option=self._option
        )

    def _builtins(self) -> set[str]:
        from pkgutil import iter_modules

        found = (each.name for each in iter_modules(import_module(self.package).__path__))
        return {name.replace("_", "-") for name in found if not name.startswith("_")}

    def _plugins(self) -> dict[str, Any]:
        if self._entry_points is None:
            from importlib.metadata import entry_points

            self._entry_points = {each.name: each for each in entry_points(group=self.package)}
        return self._entry_points

    def _load(self, name: str) -> Any:
        entry = self._plugins()[name]
        try:
            return entry.load()
        except ConfigError:  # a missing extra, which the message names
            raise
        except Exception as error:
            raise ConfigError(
                f"the {self._kind} {name!r} of {entry.value} cannot be imported: "
                f"{type(error).__name__}: {error}",
                option=self._option,
            ) from error


def keyword_options(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only options of a function or of a class's ``__init__``, with their defaults.

    >>> def build(hosts, *, vnodes=512, seed=0): ...
    >>> keyword_options(build)
    {'vnodes': 512, 'seed': 0}
    """
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]  # a class's own
    return dict(getattr(made, "__kwdefaults__", None) or {})


def check_known(
    owner: str, given: Iterable[str], known: Mapping[str, Any], *, hidden: Iterable[str] = ()
) -> None:
    """Raise ``ConfigError`` for the first given option that is neither known nor hidden.

    >>> check_known("strategy 'random'", ["sed"], {"seed": None})
    Traceback (most recent call last):
    hashring.errors.ConfigError: strategy 'random' has no option 'sed'; its options are seed=None
    """
    allowed = {*known, *hidden}
    for name in given:
        if name not in allowed:
            listing = ", ".join(f"{key}={value!r}" for key, value in known.items()) or "none"
            raise ConfigError(
                f"{owner} has no option {name!r}; its options are {listing}", option=name
            )
