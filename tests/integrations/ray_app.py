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


def deploy(replicas: int, router: str, runs: dict[str, dict[str, Any]]) -> None:
    """Deploy an application for each run by configuration, which keeps the replicas that run."""
    applications = [
        {
            "name": name,
            "route_prefix": f"/{name}",
            "import_path": "tests.integrations.ray_app:build",
            "args": {"router": router, "options": options},
            "deployments": [{"name": "Echo", "num_replicas": replicas}],
        }
        for name, options in runs.items()
    ]
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate({"applications": applications}))
    for _ in range(600):
        found = serve.status().applications
        if all(name in found and is_running(found[name], replicas) for name in runs):
            return
        time.sleep(0.1)
    raise TimeoutError(str(serve.status()))


def is_running(application: Any, replicas: int) -> bool:
    if application.status != "RUNNING":
        return False
    states: dict[str, int] = application.deployments["Echo"].replica_states
    return states == {"RUNNING": replicas}


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


class Run:
    """One application, and what its sessions see."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.handle = serve.get_app_handle(name)
        self.has_pins = bool(options.get("pins"))
        self.first = self.grown = homes(self.handle)
        self.victim = 0
        self.result: dict[str, Any] = {
            "unstable": moved(self.first, homes(self.handle)),
            "slots": sorted({slot for slot, _ in self.first.values()}),
        }

    def grow(self) -> None:
        """Sessions after a fifth replica came, and the process of slot 1, which is killed."""
        if not self.has_pins:
            settled(self.handle, 5)
        self.grown = homes(self.handle)
        self.result["moved_by_growth"] = moved(self.first, self.grown)
        fresh = homes(self.handle, [f"new-{number}" for number in range(2000)])
        counts = Counter(slot for slot, _ in fresh.values())
        self.result["peak_to_mean"] = max(counts.values()) * 5 / 2000
        self.victim = next(pid for slot, pid in self.grown.values() if slot == 1)
        os.kill(self.victim, signal.SIGKILL)

    def replace(self) -> None:
        """Sessions after another process took the slot of the killed one."""
        handle, grown = self.handle, self.grown
        for attempt in range(100):  # sessions with pins do not come back: new ones are asked for
            probes = homes(handle, [f"probe-{attempt}-{number}" for number in range(50)])
            if len({pid for _, pid in probes.values()} - {self.victim}) == 5:
                break
            time.sleep(0.2)
        after = homes(handle)
        others = {session: home for session, home in grown.items() if home[1] != self.victim}
        burst = [handle.options(session_id="one").remote(0.05) for _ in range(150)]
        anonymous = [handle.remote() for _ in range(200)]
        self.result |= {
            "others_moved_by_replacement": moved(others, after),
            "inherited": sum(
                after[session][0] == 1 for session, home in grown.items() if home[1] == self.victim
            ),
            "of_the_replaced": len(grown) - len(others),
            "burst_replicas": len({each.result(timeout_s=60)[1] for each in burst}),
            "anonymous_replicas": len({each.result(timeout_s=60)[1] for each in anonymous}),
        }


def main(router: str, options: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the sessions of each run saw on 4 replicas, on 5, and after a replica was killed."""
    deploy(4, router, options)
    runs = {name: Run(name, each) for name, each in options.items()}
    deploy(5, router, options)
    if any(run.has_pins for run in runs.values()):
        time.sleep(3)  # new sessions only would show the fifth replica
    for run in runs.values():
        run.grow()
    deploy(5, router, options)  # waits until five replicas run again
    for run in runs.values():
        run.replace()
    return {name: run.result for name, run in runs.items()}


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
