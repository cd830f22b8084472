"""Three real servers, tokens and health: grow, drain, kill -9, restart. Who had to move?"""

from __future__ import annotations

import sys
import time
from collections import Counter
from subprocess import PIPE, Popen

from hashring import Host, LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.health import HealthMonitor, HttpProbe, ProbeRules

SERVE = "import http.server as h; s = h.HTTPServer(('127.0.0.1', {}), h.SimpleHTTPRequestHandler);"
SERVE += "print(s.server_port, flush=True); s.serve_forever()"


def start(port: int = 0) -> tuple[Popen[bytes], str]:
    """One more HTTP server: its process and its address."""
    server = Popen([sys.executable, "-c", SERVE.format(port)], stdout=PIPE, stderr=PIPE)
    assert server.stdout is not None
    return server, f"127.0.0.1:{server.stdout.readline().decode().strip()}"


def main() -> None:
    """Send 1,000 clients after each event, each with the cookie that it was given."""
    servers = {f"web{number}": start() for number in range(1, 5)}
    hosts = [Host(name, address=address) for name, (_, address) in servers.items()]
    lb = LoadBalancer(hosts[:3])
    affinity = TokenAffinity(lb, Tokens(b"32 random bytes that no one knows"), cookie_secure=False)
    cookies, homes = [""] * 1000, [""] * 1000

    def all_come(after: str) -> None:
        before = list(homes)
        for client, cookie in enumerate(cookies):
            answer = affinity.decide(cookie)
            homes[client] = answer.host.name
            cookies[client] = (answer.set_cookie or cookie).partition(";")[0]
        moved = sum(old != new for old, new in zip(before, homes, strict=True) if old)
        print(f"{after:<27} {moved:>4} moved   {dict(sorted(Counter(homes).items()))}")

    def wait_until(state: str, name: str) -> None:
        while lb.state(name) != state:
            time.sleep(0.05)

    try:
        with HealthMonitor(lb, HttpProbe("/"), ProbeRules(interval=0.2, timeout=0.2, fast=0.1)):
            all_come("three hosts")
            lb.register(hosts[3])
            all_come("web4 joins")
            lb.drain("web1", deadline=0.5)
            all_come("web1 drains for 0.5 s")
            time.sleep(0.6)
            all_come("its deadline has passed")
            lb.resume("web1")
            servers["web2"][0].kill()  # SIGKILL: no goodbye
            wait_until("down", "web2")
            all_come("web2 killed, web1 is back")
            servers["web2"] = start(int(servers["web2"][1].rpartition(":")[2]))
            wait_until("up", "web2")
            all_come("web2 is back")
    finally:
        for server, _ in servers.values():
            server.kill()
            server.communicate()


if __name__ == "__main__":
    main()
