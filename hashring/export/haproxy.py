"""HAProxy: ``hash-type``, explicit ids, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashring.errors import ConfigError
from hashring.export._cookies import haproxy_cookie
from hashring.export._routing import Bridge, Checks, Routing, network
from hashring.hosts import Host
from hashring.placement.haproxy_consistent import with_ids

TITLE = "HAProxy"
READS = frozenset({"address", "cookie", "header", "path", "query"})
BRIDGE = True

_WORD = re.compile(r"[A-Za-z0-9_.:\-]+")  # what a server's name may hold, and quoting needs not
_ID = "txn.hashring_id"
_PROXIES_IN_A_ROW = 5  # a client behind more trusted proxies than this is a loop
_SINCE = {"addr": "3.0", "addr-port": "3.0", "guid": "3.4", "id32": "3.4"}


def notes(routing: Routing) -> Iterator[str]:
    """Notes for the reader, each a comment at the top."""
    yield "Needs HAProxy 2.6 or later. Check it: haproxy -c -f FILE. Run it: haproxy -W -f FILE."
    counted = [host.name for host in routing.pool if host.id is None]
    if routing.bridge is not None:
        if not routing.bridge.key:
            raise ConfigError("HAProxy's bridge needs a key: its dynamic-cookie-key", option="key")
        for host in routing.pool:
            haproxy_cookie(host, routing.bridge.key)  # refuses an address that has no cookie
        yield "The cookie's value is haproxy_cookie(host, key) of hashring.export."
    elif routing.placement == "haproxy-consistent" and routing.option("hash_key") == "id":
        yield "A server's id places it: keep ids with their hosts, and a removal moves no client."
        if counted:
            yield (
                f"These hosts have no id of their own and got one by position: {', '.join(counted)}"
                ". Write the ids below into the pool (id = N) before a host leaves, or the hosts "
                "after it get other ids, and most clients move."
            )
    if routing.bridge is None and any(kind == "cookie" for kind, _ in routing.terms):
        yield "The pattern of the cookie needs a HAProxy with PCRE, as most are (haproxy -vv)."
    if routing.option("key_hash"):
        yield "balance hash ...,xxh32 needs HAProxy 3.4 or later: 3.3.0 sends all to one server."
    since = _SINCE.get(str(routing.option("hash_key")))
    if since:
        yield f"hash-key {routing.option('hash_key')} needs HAProxy {since} or later."
    if _bind(routing):
        yield (
            "Each HAProxy counts its own requests, and by another bound than Python's: which "
            "requests overflow differs, where they go does not."
        )


def _bind(routing: Routing) -> float | None:
    hashed = routing.bridge is None and routing.placement == "haproxy-consistent"
    return routing.load_factor if hashed else None


def config(routing: Routing) -> str:
    """The whole file."""
    parts = (_top(routing), _frontend(routing), "\n".join(["backend hashring", *_backend(routing)]))
    return "\n".join(parts) + "\n"


def _top(routing: Routing) -> str:
    checks = routing.checks or Checks()
    return f"""\
global
  maxconn 4000

defaults
  mode http
  timeout connect {_ms(routing.connect)}
  timeout client {_ms(routing.idle)}
  timeout server {_ms(routing.idle)}
  timeout tunnel {_ms(routing.idle)}
  timeout check {_ms(checks.timeout)}
"""


def _frontend(routing: Routing) -> str:
    lines = ["frontend clients", f"  bind {routing.listen}"]
    if routing.trusted:
        networks = " ".join(str(network(text, TITLE)) for text in routing.trusted)
        lines.append("  # The last address of X-Forwarded-For that is not one of these.")
        lines += [
            f"  http-request set-src req.hdr(x-forwarded-for,-{number}) if {{ src {networks} }}"
            for number in range(1, _PROXIES_IN_A_ROW + 1)
        ]
    return "\n".join([*lines, "  option forwardfor", "  default_backend hashring", ""])


def _backend(routing: Routing) -> Iterator[str]:
    if routing.bridge is not None:
        yield from _bridge(routing.bridge)
    else:
        yield from _balance(routing)
    factor = _bind(routing)
    if factor:
        # HAProxy refuses 100, at which no server may have more than its share
        yield f"  hash-balance-factor {max(101, round(100 * factor))}"
    if routing.retries:
        yield "  # A host that does not accept is left for the next of the walk, as in Python."
        yield f"  retries {routing.retries}"
        yield "  retry-on conn-failure"
        yield "  option redispatch 1"
    if routing.checks and routing.checks.probe == "http":
        yield f"  option httpchk GET {_path(routing.checks.path)}"
        yield "  http-check expect status 200-399"
    yield f"  default-server {_defaults(routing)}"
    yield from _servers(routing)


def _balance(routing: Routing) -> Iterator[str]:
    kind = "consistent" if routing.placement == "haproxy-consistent" else "map-based"
    avalanche = " avalanche" if routing.option("avalanche") else ""
    hash_type = f"  hash-type {kind} {routing.option('hash_function')}{avalanche}"
    if routing.option("balance") == "source":
        if routing.identity != ("address",):
            raise ConfigError(
                f"balance 'source' hashes the client's address, not {routing.identity!r}: set the "
                "identity to 'address', or the placement's option balance to 'hash'",
                option="balance",
            )
        yield "  balance source"
        yield hash_type
        return
    yield "  # Where the client ID is read: the first of these that is present and not empty. A"
    yield "  # request without any takes its turn."
    unset = f"!{{ var({_ID}) -m len gt 0 }}"
    for kind_of_id, name in routing.terms:
        if kind_of_id == "cookie":
            yield from _first_cookie(_word(name), unset)
        yield f"  http-request set-var({_ID}) {_fetch(kind_of_id, name)} if {unset}"
    further = ",xxh32" if routing.option("key_hash") else ""
    yield f"  balance hash var({_ID}){further}"
    yield hash_type


def _first_cookie(name: str, unset: str) -> Iterator[str]:
    """What ``req.cook`` alone would not find as Python and browsers have it.

    It takes the last of two cookies with one name, keeps quotes and ends at a comma; it is for a
    client that sends several Cookie lines, of which a pattern sees one.
    """
    # \x22 is a quote, which would end the text around the pattern
    pattern = rf"^(?:.*?;)??[ \t]*{re.escape(name)}=[ \t]*\x22?([^;\x22]*?)\x22?[ \t]*(?:;.*)?$"
    there = f"{{ req.fhdr(cookie) -m reg '{pattern}' }}"
    value = f"""'req.fhdr(cookie),regsub("{pattern}","\\1")'"""
    yield f"  http-request set-var({_ID}) {value} if {unset} {there}"


def _fetch(kind: str, name: str) -> str:
    if kind == "header":
        return f"req.fhdr({_word(name)})"  # not hdr(), which splits at commas
    if kind == "cookie":
        return f"req.cook({_word(name)})"
    if kind == "query":
        return f"url_param({_word(name)}),url_dec(1)"
    if kind == "path":
        part = int(name)
        return f"path,field({part if part < 0 else part + 2},/),url_dec"
    return "src,lower"  # a converter of texts, so that the text is hashed and not the bytes


def _bridge(bridge: Bridge) -> Iterator[str]:
    yield "  # New clients go to the least busy server and get the cookie; clients of the Python"
    yield "  # router have it already."
    yield "  balance leastconn"
    yield (f"  cookie {bridge.cookie} insert indirect nocache httponly attr SameSite=Lax dynamic")
    yield f"  dynamic-cookie-key {bridge.key}"


def _defaults(routing: Routing) -> str:
    checks, rules = routing.checks, routing.ejection
    if checks is None:
        return "no-check"
    words = f"check inter {_ms(checks.interval)} fastinter {_ms(checks.fast)}"
    words += f" fall {checks.fall} rise {checks.rise}"
    if checks.port:
        words += f" port {checks.port}"
    if rules:  # a server so marked comes back by its checks, not after a time
        words += f" observe layer4 error-limit {rules.failures} on-error mark-down"
    return words


def _servers(routing: Routing) -> Iterator[str]:
    hosts = with_ids(routing.pool)
    hash_key = routing.option("hash_key") or "id"
    taken = {host.name for host in hosts}
    for host, weight in zip(hosts, routing.weights, strict=True):
        further = "" if hash_key == "id" else f" hash-key {hash_key}"
        if hash_key == "guid":
            further += f" guid {_word(host.guid or '')}"
        yield f"  server {_name(host, taken)} {host.address} weight {weight} id {host.id}{further}"


def _name(host: Host, taken: set[str]) -> str:
    """The server's name, which places nothing: the host's own where HAProxy can hold it."""
    if _WORD.fullmatch(host.name):
        return host.name
    name = f"host-{host.id}"
    while name in taken:  # another host is really called so
        name += "-"
    return name


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:/\-]+", text):
        raise ConfigError(f"HAProxy's file would misread {text!r}: use letters, digits, - _ . :")
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.~/?&=%:+\-]+", text):
        raise ConfigError(f"HAProxy's file would misread the path {text!r}", option="path")
    return text


def _ms(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"
