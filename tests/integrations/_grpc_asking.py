"""Run as a script: gRPC servers and a ring_hash client; writes where each key went as JSON.

A process of its own, because gRPC reads the variable that lets a header be the key once, when it
starts. Arguments: minimum and maximum ring size, the number of servers that are down, weights.
Keys come on standard input, one a line.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

grpc: Any = import_module("grpc")  # without types of its own

TIMEOUT = 20.0  # seconds for one call over loopback


def serve() -> tuple[str, Any]:
    """A server that answers every call with its own address."""
    server = grpc.server(ThreadPoolExecutor(2))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    name = grpc.unary_unary_rpc_method_handler(lambda *_: address.encode())
    handler = grpc.method_handlers_generic_handler("parity.Backend", {"Name": name})
    server.add_generic_rpc_handlers((handler,))
    server.start()
    return address, server


def main(smallest: int, largest: int, down: int, weights: list[int], keys: list[str]) -> None:
    servers = dict(serve() for _ in weights)
    addresses = list(servers)
    for address in addresses[:down]:
        servers[address].stop(None).wait()
    # C-core takes no weights from a list of addresses: an address that stands twice weighs two
    listed = [a for a, weight in zip(addresses, weights, strict=True) for _ in range(weight)]
    sizes = {"minRingSize": smallest, "maxRingSize": largest, "requestHashHeader": "x-key"}
    config = {"loadBalancingConfig": [{"ring_hash_experimental": sizes}]}
    options = [("grpc.service_config", json.dumps(config))]
    with grpc.insecure_channel(f"ipv4:{','.join(listed)}", options=options) as channel:
        call = channel.unary_unary("/parity.Backend/Name")
        answers = {
            key: call(b"", metadata=[("x-key", key)], timeout=TIMEOUT).decode() for key in keys
        }
    found = {"version": grpc.__version__, "addresses": addresses, "answers": answers}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    smallest, largest, down, *weights = map(int, sys.argv[1:])
    main(smallest, largest, down, weights, sys.stdin.read().split("\n"))
