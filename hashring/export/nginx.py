"""nginx: ``hash ... consistent`` and the other hashes of ``upstream``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from hashring.errors import ConfigError
from hashring.export._cookies import nginx_cookie
from hashring.export._routing import Routing, endpoint, network
from hashring.health import OutlierRules
from hashring.hosts import Host

TITLE = "nginx"
READS = frozenset({"address", "cookie", "header", "path", "query"})
BRIDGE = True

_NAME = re.compile(r"[A-Za-z0-9_.\-]+|[A-Za-z0-9_.\[\]:\-]+:[0-9]{1,5}")


def notes(routing: Routing) -> Iterator[str]:
    """Notes for the reader, each a comment at the top."""
    yield "Check it: nginx -t -c FILE. Run it: nginx -c FILE; a new file: nginx -s reload."
    if routing.bridge is not None:
        for host in routing.pool:
            nginx_cookie(host)  # refuses an address that has no cookie
        yield (
            "Needs nginx 1.29.6 or later. The cookie's value is nginx_cookie(host) of "
            "hashring.export; it is not secret."
        )
    elif routing.placement == "nginx-consistent":
        yield (
            "nginx hashes the text after `server`, letter by letter: it is the host's name in "
            "Python, and must not be spelled in another way."
        )
        for host in routing.pool:
            if host.name != host.address:
                yield (
                    f"{host.name} must resolve to the address of {host.address} where nginx starts,"
                    " for instance by /etc/hosts, and to no second one."
                )
    else:
        yield "A host's place in the list counts: mark one that leaves `down`, or most keys move."
    if routing.checks:
        yield "This nginx has no probes: a host is down when requests on it fail (max_fails)."
    if routing.load_factor:
        yield "It has no bound on load either: load_factor has no effect."
    if any(kind == "query" for kind, _ in routing.terms):
        yield "A query parameter is hashed as it was sent, percent-encoded; Python decodes it."


def config(routing: Routing) -> str:
    """The whole file."""
    lines = ["  access_log off;", *_client_address(routing)]
    if any(kind == "header" and "_" in name for kind, name in routing.terms):
        lines.append("  underscores_in_headers on;")
    maps, key = ([], "") if routing.bridge else _identity(routing)
    lines += maps
    lines += ["  map $http_upgrade $hashring_upgrade { default upgrade; '' ''; }", ""]
    lines += ["  upstream hashring {", *_upstream(routing, key), "  }", ""]
    lines += _server(routing)
    body = "\n".join(lines)
    return f"events {{\n  worker_connections 4096;\n}}\n\nhttp {{\n{body}\n}}\n"


def _client_address(routing: Routing) -> Iterator[str]:
    if routing.trusted:
        yield "  # The last address of X-Forwarded-For that is not one of these proxies."
        for text in routing.trusted:
            known = "unix:" if text == "unix" else network(text, TITLE)
            yield f"  set_real_ip_from {known};"
        yield "  real_ip_header X-Forwarded-For;"
        yield "  real_ip_recursive on;"


def _identity(routing: Routing) -> tuple[list[str], str]:
    """The maps that find the client ID, and the variable that then holds it."""
    lines, variables = [], []
    for number, (kind, name) in enumerate(routing.terms, 1):
        source, pattern = _reading(kind, name)
        if pattern:
            lines.append(f'  map {source} $hashring_{number} {{ default ""; "{pattern}" $1; }}')
            source = f"$hashring_{number}"
        variables.append(source)
    key = variables.pop()
    for number, source in reversed(list(enumerate(variables, 1))):
        lines.append(f'  map {source} $hashring_from_{number} {{ default {source}; "" {key}; }}')
        key = f"$hashring_from_{number}"
    if lines:
        lines.insert(0, "  # Where the client ID is read: the first of these that is not empty.")
    return lines, key


def _reading(kind: str, name: str) -> tuple[str, str]:
    """The variable, and a pattern whose group is the ID; without a pattern it is the variable."""
    if kind == "address":
        return "$remote_addr", ""
    if kind == "path":
        part = int(name)
        if part < 0:
            return "$uri", rf"~^/(?:.*/)?([^/]*)(?:/[^/]*){{{-part - 1}}}$"
        return "$uri", rf"~^/(?:[^/]*/){{{part}}}([^/]*)"
    if not re.fullmatch(r"[A-Za-z0-9_\-]+", name):
        raise ConfigError(
            f"nginx reads names of letters, digits, - and _, got {name!r}", option="identity"
        )
    if kind == "header":
        return f"$http_{name.lower().replace('-', '_')}", ""
    if kind == "cookie":  # not $cookie_NAME, which cannot express every name and keeps quotes
        return "$http_cookie", rf"~(?:^|;)[ \t]*{name}=[ \t]*\"?([^;\"]*?)\"?[ \t]*(?:;|$)"
    return "$args", rf"~(?:^|&){name}=([^&]*)"


def _upstream(routing: Routing, key: str) -> Iterator[str]:
    yield "    zone hashring 512k;  # all workers count failures together"
    if routing.bridge is not None:
        yield f"    sticky cookie {routing.bridge.cookie} path=/ httponly samesite=lax;"
    elif routing.placement == "nginx-ip-hash":
        if routing.identity != ("address",):
            raise ConfigError(
                f"ip_hash hashes the client's address, not {routing.identity!r}: set the identity "
                "to 'address', or the placement to 'nginx-consistent'",
                option="identity",
            )
        yield "    ip_hash;"
    else:
        consistent = " consistent" if routing.placement == "nginx-consistent" else ""
        yield "    # A request without an ID takes its turn."
        yield f"    hash {key}{consistent};"
    for host, weight in zip(routing.pool, routing.weights, strict=True):
        text = _text(host, routing)
        yield f"    server {text} weight={weight} {_fails(routing.ejection)};"
    yield "    keepalive 32;"


def _text(host: Host, routing: Routing) -> str:
    """The text after ``server``: the name where it is hashed, else the address."""
    if routing.bridge is not None or routing.placement != "nginx-consistent":
        return host.address
    if host.name == host.address:
        return host.name
    _, port = endpoint(host.address, f"host {host.name!r}")
    if _literal(host.name) is not None and _literal(host.name) != _literal(host.address):
        raise ConfigError(
            f"host {host.name!r}: nginx hashes what it connects to, and would connect to "
            f"{host.name} where the pool has {host.address}: give the host a name that resolves, "
            f"such as 'web1:{port}', or use its address as its name; both move clients",
            option="name",
        )
    if not _NAME.fullmatch(host.name) or (_port_of(host.name) != port):
        raise ConfigError(
            f"host {host.name!r}: nginx hashes what it connects to, and cannot reach "
            f"{host.address} as {host.name!r}: name the host '{_better(host, port)}' and let that "
            "resolve, or use its address as its name; both move clients",
            option="name",
        )
    return host.name


def _literal(text: str) -> tuple[object, int] | str | None:
    """What nginx would connect to without resolving anything: an address, or a socket's path."""
    if text.startswith("unix:"):
        return text
    host = text if text.replace(".", "").isdecimal() else text.rpartition(":")[0]
    try:
        return ip_address(host.strip("[]")), _port_of(text)
    except ValueError:
        return None


def _port_of(name: str) -> int:
    _, sign, port = name.rpartition(":")
    return int(port) if sign and port.isdigit() else 80  # where nginx connects without one


def _better(host: Host, port: int) -> str:
    stem = host.name.rpartition(":")[0] or host.name
    return f"{stem}:{port}"


def _fails(rules: OutlierRules | None) -> str:
    if rules is None:
        return "max_fails=0"
    return f"max_fails={rules.failures} fail_timeout={max(1, round(rules.base))}s"


def _server(routing: Routing) -> Iterator[str]:
    tries = (
        f"      proxy_next_upstream error timeout;\n"
        f"      proxy_next_upstream_tries {routing.retries + 1};"
        if routing.retries
        else "      proxy_next_upstream off;"
    )
    idle = max(1, round(routing.idle))
    yield f"""\
  server {{
    listen {routing.listen};
    merge_slashes off;
    location / {{
      proxy_pass http://hashring;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $hashring_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_connect_timeout {max(1, round(routing.connect))}s;
      proxy_read_timeout {idle}s;
      proxy_send_timeout {idle}s;
      # If a host does not accept, the next one of the walk is tried, as in Python.
{tries}
    }}
  }}"""
