"""Why a request went to its host, in the words of the log, the metrics and the decision header."""

from __future__ import annotations

from hashring.balancer import Lease, LoadBalancer


def cause_of_move(lb: LoadBalancer, host: str | None) -> str:
    """Why ``host``, the client's own, does not serve it any more.

    >>> cause_of_move(LoadBalancer(["a"]), "b")
    'host_gone'
    """
    member = lb.snapshot.members.get(host or "")
    if member is None:
        return "host_gone"
    if member.down:
        return "ejected" if set(member.down) == {"outlier"} else "host_down"
    return "drain_deadline" if member.drains.keys() - {"outlier"} else "spill"


def decision_value(lease: Lease, source: str) -> bytes:
    """The value of the decision header: the host, why, and what identified the client.

    >>> with LoadBalancer(["a"]).lease("session-42") as lease:
    ...     decision_value(lease, "id")
    b'host="a", reason=owner, from=id'
    """
    name = lease.host.name.encode("ascii", "backslashreplace").decode()
    name = "".join(char if char.isprintable() and char not in '"\\' else "?" for char in name)
    return f'host="{name}", reason={lease.reason}, from={source}'.encode()
