"""What goes along when a gateway gets other settings?  Hosts' marks, drains, and nothing stale."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hashring.config import (
    FallbackSettings,
    HealthSettings,
    PoolSettings,
    Settings,
    TokenSettings,
)
from hashring.errors import ConfigError
from hashring.gateway import Gateway
from hashring.gateway.factory import build_generation, carry_over
from hashring.hosts import Host, as_hosts

A, B, C = as_hosts(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
QUIET = HealthSettings(probe="none", outliers=replace(HealthSettings().outliers, enabled=False))
BASE = Settings(
    pool=PoolSettings(hosts=(A, B)),
    tokens=TokenSettings(secrets=(b"sixteen or more random bytes",)),
    health=QUIET,
)
OTHER = replace(BASE, fallback=FallbackSettings(strategy="random"))


def with_hosts(settings: Settings, *hosts: Host) -> Settings:
    return replace(settings, pool=replace(settings.pool, hosts=hosts))


async def settled(live: Gateway) -> None:
    """Wait until no reload is under way, nor an old gateway left."""
    while live._tasks:
        await asyncio.gather(*live._tasks)


async def reloaded(live: Gateway, settings: Settings | ConfigError) -> None:
    def read() -> Settings:
        if isinstance(settings, ConfigError):
            raise settings
        return settings

    live._read = read
    live.reload()
    await settled(live)


def test_other_hosts_are_reconciled_in_the_same_balancer() -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        gateway, lb = live._generation, live.lb
        lb.mark_down(B, "reboot")
        await reloaded(live, with_hosts(BASE, B, C))
        assert live._generation is gateway
        assert [host.name for host in lb.hosts] == [B.name, C.name]
        assert lb.state(B) == "down"
        await live.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("changed", [Host(A.name, 2), Host(A.name, address="127.0.0.1:9")])
def test_a_weight_and_an_address_are_changes_too(changed: Host) -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        await reloaded(live, with_hosts(BASE, changed, B))
        assert live.lb.hosts[0].same(changed)
        await live.aclose()

    asyncio.run(main())


def test_another_gateway_takes_over_marks_and_drains() -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        old = live._generation
        live.lb.drain(A, deadline=100)
        live.lb.mark_down(B, "reboot")
        await reloaded(live, with_hosts(OTHER, A, B, C))
        assert live._generation is not old
        assert (live.lb.state(A), live.lb.state(B), live.lb.state(C)) == ("draining", "down", "up")
        assert live.ready
        assert not old.ready
        live.lb.mark_up(B)
        live.lb.resume(A)
        assert {live.lb.state(host) for host in live.lb.hosts} == {"up"}
        await live.aclose()
        assert not live.ready

    asyncio.run(main())


@pytest.mark.parametrize("watched", [True, False])
def test_machines_marks_go_along_only_to_who_will_end_them(watched: bool) -> None:
    old, new = build_generation(BASE).lb, build_generation(OTHER).lb
    old.mark_down(A, "no answer", by="probe")
    old.mark_down(B, "five in a row", by="outlier")
    carry_over(old, new, 0.0, watched=watched)
    assert (new.state(A), new.state(B)) == ("down" if watched else "up", "up")


def test_settings_that_cannot_be_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        gateway = live._generation
        await reloaded(live, ConfigError("h.toml:3: no"))
        assert live._generation is gateway
        assert live.settings == BASE
        assert live.ready
        await live.aclose()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "the settings stay as they were: h.toml:3: no"
    ]


def test_a_burst_of_signals_is_taken_one_by_one() -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        sequence = iter([OTHER, BASE, OTHER, BASE])
        live._read = lambda: next(sequence)
        for _ in range(4):
            live.reload()
        await settled(live)
        assert live.settings == BASE
        assert not live._old
        assert live.ready
        await live.aclose()

    asyncio.run(main())


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    # how a mounted ConfigMap changes: the file's name stays, its link leads to another
    for name in ("one", "two"):
        (tmp_path / name).write_text("same size, same words")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "one")

    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: OTHER, [str(link)])
        await live.open()
        (tmp_path / "new").symlink_to(tmp_path / "two")
        (tmp_path / "new").replace(link)
        async with asyncio.timeout(30):
            while live.settings != OTHER:  # noqa: ASYNC110  # as whoever asks it would see it
                await asyncio.sleep(0.05)
        await live.aclose()

    asyncio.run(main())


def test_what_has_stopped_is_not_made_ready_by_a_reload() -> None:
    async def main() -> None:
        live = Gateway.from_settings(BASE, lambda: BASE)
        await live.open()
        gateway = live._generation
        live.stop()
        await reloaded(live, OTHER)
        assert not live.ready
        assert live._generation is gateway
        await live.aclose()

    asyncio.run(main())
