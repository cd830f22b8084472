"""A typed list as a source: it never changes; a host's name is its identity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from hashring.discovery._membership import Entry, Membership, gather, weight_from
from hashring.discovery._url import SourceUrl
from hashring.errors import ConfigError
from hashring.hosts import HostLike, as_host


def parse(payload: str) -> Membership:
    """The hosts of ``name[=weight][@address],...``; weight 0 is a drain. Raises ``ConfigError``.

    >>> parse("web1=2@10.0.0.1:80, web2=0").hosts
    (Host('web1', 2.0, address='10.0.0.1:80'), Host('web2'))
    """
    entries = []
    for part in payload.split(","):
        if part.strip():
            named, at, address = part.strip().partition("@")
            name, sign, weight = named.partition("=")
            settled = weight_from(weight, f"host {name!r}") if sign else 1.0
            entries.append(Entry(name, address if at else None, settled))
    return _strict(gather(entries, in_order=True))


def _strict(found: Membership) -> Membership:
    if found.problems:  # a list that was typed is mended by who typed it, not guessed at
        raise ConfigError(found.problems[0], option="source")
    return found


class StaticSource:
    """Hosts as any list of hosts, or a mapping name -> weight, where 0 is a drain.

    Identity: the name. Order is kept. Raises what ``as_host`` raises, and ``ConfigError`` for a
    name that comes twice.

    >>> StaticSource(["a", ("b", 2)]).membership.hosts
    (Host('a'), Host('b', 2.0))
    """

    def __init__(self, hosts: Iterable[HostLike] | Mapping[str, float]) -> None:
        if isinstance(hosts, Mapping):
            weights = ((name, weight_from(w, f"host {name!r}")) for name, w in hosts.items())
            found = gather((Entry(name, None, w) for name, w in weights), in_order=True)
        else:
            settled = tuple(map(as_host, hosts))
            found = Membership(settled, problems=gather(Entry(h.name) for h in settled).problems)
        self.membership = _strict(found)

    async def watch(self) -> AsyncIterator[Membership]:
        """The one membership, and then silence."""
        yield self.membership
        await asyncio.Event().wait()

    def __str__(self) -> str:
        return f"static:{','.join(host.name for host in self.membership.hosts)}"


def from_url(url: str, **options: object) -> StaticSource:
    """The source of ``static:name[=weight][@address],...``; it has no options.

    >>> from_url("static:a,b").membership.hosts
    (Host('a'), Host('b'))
    """
    parts = SourceUrl.of(url.partition("?")[0])
    parts.options({}, options)
    source = StaticSource(())
    source.membership = parse(url.partition(":")[2])
    return source
