"""The admin API in one process: reloads, dry runs, refusals and odd client IDs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hashring import LoadBalancer
from hashring.affinity import PinTable
from hashring.config import read
from hashring.gateway import Gateway
from hashring.gateway.api import Api, ApiError
from tests.waiting import wait_in_loop

ENVIRON = {"HASHRING_SECRET": "sixteen or more random bytes"}
HOSTS = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]


class Rig:
    """A gateway of a file, which ``write`` changes and ``reload`` reads again."""

    def __init__(self, path: Path) -> None:
        self.file = path / "h.toml"
        self.write()
        self.gateway = Gateway.from_settings(self._read(), self._read)
        self.api = Api(self.gateway)

    def _read(self) -> Any:
        return read(str(self.file), environ=ENVIRON)

    def write(self, more: str = "", hosts: str = json.dumps(HOSTS)) -> None:
        self.file.write_text(
            f'[health]\nprobe = "none"\n[tokens]\nsecret_env = "HASHRING_SECRET"\n{more}\n'
            f"[pool]\nhosts = {hosts}\n"
        )

    async def reload(self) -> None:
        before = self.gateway.settings
        self.gateway.reload()
        await wait_in_loop(lambda: self.gateway.settings is not before)

    async def post(self, path: str, values: dict[str, Any], query: bytes = b"") -> dict[str, Any]:
        return await self.api.post(path, query, json.dumps(values).encode())

    def weight(self, name: str) -> float:
        return self.gateway.lb.snapshot.members[name].host.weight


def running(path: Path, act: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig(path)
        async with rig.gateway:
            await act(rig)

    asyncio.run(main())


@pytest.mark.parametrize("more", ["", "[timeouts]\ntotal = 9"], ids=["hosts", "all"])
def test_a_weight_set_by_hand_survives_a_reload(tmp_path: Path, more: str) -> None:
    async def act(rig: Rig) -> None:
        await rig.post(f"hosts/{HOSTS[0]}/weight", {"weight": 3})
        rig.write(more, json.dumps([*HOSTS, "127.0.0.1:9004"]))
        await rig.reload()
        assert len(rig.gateway.lb) == 4
        assert [rig.weight(name) for name in HOSTS] == [3, 1, 1]
        # the weight of the file, set again, ends it
        await rig.post(f"hosts/{HOSTS[0]}/weight", {"weight": 1})
        rig.write(more, json.dumps(HOSTS))
        await rig.reload()
        assert rig.weight(HOSTS[0]) == 1

    running(tmp_path, act)


def test_events_go_on_through_a_reload(tmp_path: Path) -> None:
    async def act(rig: Rig) -> None:
        before = (await rig.api.get("events", b""))["next"]
        waiting = asyncio.create_task(rig.api.get("events", b"after=%d&wait=20" % before))
        await asyncio.sleep(0.05)
        rig.write("[timeouts]\ntotal = 9")
        await rig.reload()
        async with asyncio.timeout(15):
            woken = await waiting
        assert [event["kind"] for event in woken["events"]][-1] == "reload"
        rig.gateway.lb.mark_down(HOSTS[1], "a test")
        found = await rig.api.get("events", b"after=%d" % woken["next"])
        assert [(event["kind"], event["host"]) for event in found["events"]] == [
            ("mark_down", HOSTS[1])
        ]

    running(tmp_path, act)


@pytest.mark.parametrize("query", [b"", b"dry_run=1"])
@pytest.mark.parametrize("weight", [{}, {"weight": -1}, {"weight": "x"}, {"weight": True}])
def test_an_invalid_weight_is_a_bad_request(
    tmp_path: Path, weight: dict[str, Any], query: bytes
) -> None:
    async def act(rig: Rig) -> None:
        with pytest.raises(ApiError, match="weight must be a finite number") as found:
            await rig.post(f"hosts/{HOSTS[0]}/weight", weight, query)
        assert found.value.status == 400
        assert rig.weight(HOSTS[0]) == 1

    running(tmp_path, act)


def test_a_dry_run_changes_no_session() -> None:
    async def main() -> None:
        lb = LoadBalancer(["a", "b"], pins=PinTable())
        api = Api(Gateway(lb))
        home = lb.pick("x").name
        other = "b" if home == "a" else "a"

        async def post(action: str, query: bytes = b"dry_run=1", **values: str) -> dict[str, Any]:
            return await api.post(f"sessions/{action}", query, json.dumps(values).encode())

        epoch = lb.snapshot.epoch
        would = {"changed": True, "dry_run": True, "epoch": epoch}
        assert await post("assign", client_id="x", host=other) == would
        assert await post("assign", client_id="x", host=home) == {**would, "changed": False}
        assert await post("forget", client_id="x") == would
        assert await post("forget", client_id="stranger") == {**would, "changed": False}
        assert lb.pick("x").name == home
        with pytest.raises(ApiError, match="there is no host 'gone'") as found:
            await post("assign", client_id="x", host="gone")
        assert found.value.status == 404
        done = await post("assign", b"", client_id="x", host=other)
        assert done == {"changed": True, "dry_run": False, "epoch": epoch}
        assert lb.pick("x").name == other
        assert (await post("forget", b"", client_id="x"))["changed"]
        lb.pick("a/b")
        assert (await api.delete_session("a%2Fb", b""))["changed"]
        assert lb.pins is not None
        assert lb.pins.get("a/b") is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "client"),
    [(b"id=%ff", b"\xff"), (b"id=%C3%A9+x", "é x"), (b"id=a%00b", "a\0b")],
)
def test_a_client_id_is_looked_up_by_its_bytes(query: bytes, client: str | bytes) -> None:
    async def main() -> None:
        lb = LoadBalancer([f"web{number}" for number in range(50)])
        found = await Api(Gateway(lb)).get("where", query)
        assert found["host"] == lb.pick(client).name
        assert found["position"] == lb.explain(client).position

    asyncio.run(main())
