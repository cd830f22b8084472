"""A Ray Serve deployment of `test_ray_serve.py`, and the run that prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from typing import Any

import ray
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import ServeDeploySchema

from hashring.integrations.ray_serve import slot_metadata

SESSIONS = [f"session-{number}" for number in range(400)]


def build(arguments: dict[str, Any]) -> serve.Application:
    """An application whose replicas answer with their slot and process."""
    options: dict[str, Any] = {"max_ongoing_requests": 100, "ray_actor_options": {"num_cpus": 0}}
    if arguments.get("router"):
        options["request_router_config"] = RequestRouterConfig(
            request_router_class=arguments["router"],
            request_router_kwargs=arguments.get("options", {}),
        )

    @serve.deployment(**options)
    class Echo:
        def record_replica_metadata(self) -> dict[str, int]:
            return slot_metadata()

        async def __call__(self, seconds: float = 0.0) -> tuple[int, int]:
            await asyncio.sleep(seconds)
            return slot_metadata()["slot"], os.getpid()

    application: serve.Application = Echo.bind()  # type: ignore[attr-defined]  # the decorator's
    return application


def deploy(replicas: int, router: str, options: dict[str, Any]) -> None:
    """Deploy by configuration, which keeps the replicas that run."""
    application = {
        "name": "echo",
        "route_prefix": "/echo",
        "import_path": "tests.integrations.ray_app:build",
        "args": {"router": router, "options": options},
        "deployments": [{"name": "Echo", "num_replicas": replicas}],
    }
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))
    for _ in range(600):
        found = serve.status().applications.get("echo")
        if found is not None and found.status == "RUNNING":
            states = found.deployments["Echo"].replica_states
            if states == {"RUNNING": replicas}:
                return
        time.sleep(0.1)
    raise TimeoutError(str(serve.status()))


def homes(handle: Any, sessions: list[str] = SESSIONS) -> dict[str, tuple[int, int]]:
    """Slot and process of each session, some of them at the same time."""
    found: dict[str, tuple[int, int]] = {}
    for start in range(0, len(sessions), 50):
        part = sessions[start : start + 50]
        asked = [handle.options(session_id=session).remote() for session in part]
        for session, response in zip(part, asked, strict=True):
            found[session] = tuple(response.result(timeout_s=60))
    return found


def settled(handle: Any, replicas: int) -> None:
    """Wait until requests reach every replica."""
    for _ in range(300):
        if len({pid for _, pid in homes(handle).values()}) >= replicas:
            return
        time.sleep(0.2)
    raise TimeoutError(f"{replicas} replicas were not all used")


def moved(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> int:
    return sum(before[session][1] != after[session][1] for session in before)


def main(router: str, options: dict[str, Any]) -> dict[str, Any]:
    deploy(4, router, options)
    handle = serve.get_app_handle("echo")
    first = homes(handle)
    result: dict[str, Any] = {
        "unstable": moved(first, homes(handle)),
        "slots": sorted({slot for slot, _ in first.values()}),
    }
    deploy(5, router, options)
    if options.get("pins"):
        time.sleep(3)  # new sessions only would show the fifth replica
    else:
        settled(handle, 5)
    grown = homes(handle)
    result["moved_by_growth"] = moved(first, grown)
    fresh = homes(handle, [f"new-{number}" for number in range(2000)])
    counts = Counter(slot for slot, _ in fresh.values())
    result["peak_to_mean"] = max(counts.values()) * 5 / 2000
    victim = next(pid for slot, pid in grown.values() if slot == 1)
    os.kill(victim, signal.SIGKILL)
    deploy(5, router, options)  # waits until five replicas run again
    for attempt in range(100):  # sessions with pins do not come back, so new ones are asked for
        probes = homes(handle, [f"probe-{attempt}-{number}" for number in range(50)])
        if len({pid for _, pid in probes.values()} - {victim}) == 5:
            break
        time.sleep(0.2)
    after = homes(handle)
    others = {session: home for session, home in grown.items() if home[1] != victim}
    result["others_moved_by_replacement"] = moved(others, after)
    result["inherited"] = sum(
        after[session][0] == 1 for session, home in grown.items() if home[1] == victim
    )
    result["of_the_replaced"] = len(grown) - len(others)
    burst = [handle.options(session_id="one").remote(0.05) for _ in range(150)]
    result["burst_replicas"] = len({response.result(timeout_s=60)[1] for response in burst})
    anonymous = [handle.remote() for _ in range(200)]
    result["anonymous_replicas"] = len({response.result(timeout_s=60)[1] for response in anonymous})
    return result


if __name__ == "__main__":
    name, text = sys.argv[1:]
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(proxy_location="Disabled")  # only handles are used
    try:
        found = main(name, json.loads(text))
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]  # Ray has not typed it
        ray.shutdown()
    sys.stdout.write("\nRESULT " + json.dumps(found) + "\n")
