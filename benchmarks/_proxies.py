"""Who else stands between a client and a host?  nginx, HAProxy and Envoy, if they are installed.

Each is one thread that keeps connections to the host, writes no log, and does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["NAMES", "proxy"]

_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    upstream host {{ server {host}; keepalive 64; }}
    server {{
        listen {front};
        location / {{
            proxy_pass http://host; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
}}
"""
_HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    http-reuse always
listen all
    bind {front}
    server host {host}
"""
_ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: {front_name}, port_value: {front_port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.\
http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ {{ match: {{ prefix: "/" }}, route: {{ cluster: host }} }} ]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: host
    connect_timeout: 2s
    load_assignment:
      cluster_name: host
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: {host_name}, port_value: {host_port} }} }}
"""
_PROGRAMS = {
    "nginx": (_NGINX, ("-e", "{folder}/log", "-p", "{folder}", "-c", "{file}")),
    "haproxy": (_HAPROXY, ("-db", "-q", "-f", "{file}")),
    "envoy": (_ENVOY, ("-c", "{file}", "--concurrency", "1", "--disable-hot-restart", "-l", "off")),
}

NAMES = tuple(_PROGRAMS)

# Debian has daemons where only root's path looks, and a virtual environment its own programs
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", str(Path(sys.executable).parent)))
_PATIENCE = 10.0  # seconds in which it must listen


@contextlib.contextmanager
def proxy(name: str, host: str) -> Iterator[str | None]:
    """The address of this proxy to ``host``; None where it is not installed, or does not start."""
    program = shutil.which(name, path=_PATH)
    if program is None:
        yield None
        return
    template, arguments = _PROGRAMS[name]
    front = _free()
    with TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml" if name == "envoy" else "config")
        values = {"folder": folder, "file": str(file), "front": front, "host": host}
        for key in ("front", "host"):
            values[f"{key}_name"], _, values[f"{key}_port"] = values[key].rpartition(":")
        file.write_text(template.format(**values), encoding="ascii")
        command = [program, *(argument.format(**values) for argument in arguments)]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield front if _listens(front, process) else None
            finally:
                process.terminate()


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


def _listens(address: str, process: subprocess.Popen[bytes]) -> bool:
    name, _, port = address.rpartition(":")
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((name, int(port))):
            return True
        time.sleep(0.05)
    return False
