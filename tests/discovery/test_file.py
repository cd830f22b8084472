from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from hashring import ConfigError, DiscoveryError, Host
from hashring.discovery import Membership, source
from hashring.discovery.file import FileSource, Format, parse

SAME = [Host("web1", 2, address="10.0.0.1:80"), Host("web2"), Host("web3")]

FORMS: list[tuple[Format, str]] = [
    ("lines", "# the pool\nweb1=2@10.0.0.1:80\n\nweb2 # comment\n web3=0\n"),
    ("lines", "\ufeffweb1=2@10.0.0.1:80\r\nweb2\r\nweb3=0"),
    (
        "toml",
        (
            'hosts = [{name = "web1", weight = 2, address = "10.0.0.1:80"}, "web2", '
            '{name = "web3", drain = true}]'
        ),
    ),
    (
        "toml",
        '[hosts]\nweb1 = {weight = 2, address = "10.0.0.1:80"}\nweb2 = 1\nweb3 = {weight = 0}\n',
    ),
    (
        "json",
        (
            '[{"name": "web1", "weight": 2, "address": "10.0.0.1:80"}, "web2", '
            '{"name": "web3", "weight": 0}]'
        ),
    ),
    ("json", '{"hosts": {"web1": {"weight": 2, "address": "10.0.0.1:80"}, "web2": 1, "web3": 0}}'),
    ("json", '{"web1": {"weight": 2.0, "address": "10.0.0.1:80"}, "web2": 1, "web3": 0}'),
]


@pytest.mark.parametrize(("format", "text"), FORMS)
def test_every_form_means_the_same(format: Format, text: str) -> None:
    found = parse(text.encode(), format)
    assert len(found.hosts) == 3
    assert all(map(Host.same, found.hosts, SAME))
    assert found.draining == {"web3"}


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("lines", "web1\nweb1"),
        ("lines", "web1=heavy"),
        ("lines", "web1=-1"),
        ("lines", "=1"),
        ("lines", "web1@"),
        ("lines", "\xff\xfe"),
        ("toml", "hosts = 3"),
        ("toml", "web1 = 1"),
        ("toml", "hosts = ["),
        ("toml", "[[hosts]]\nname = 'a'\nwieght = 1"),
        ("json", "{"),
        ("json", "3"),
        ("json", "[" * 100_000),
        ("json", '[{"name": "a", "drain": "yes"}]'),
        ("json", '[{"name": "a", "weight": true}]'),
        ("json", '[{"name": ""}]'),
        ("json", '[{"name": 3}]'),
        ("json", '{"a": 1, "a@": null, "b": NaN}'),
        ("json", '[{"name": "a", "address": 5}]'),
        ("json", '[{"name": ["a"]}]'),
        ("json", '{"a": {"name": {}}}'),
        ("json", '{"a": 1, "b": 1, "a": 2}'),
        ("json", '{"hosts": null}'),
    ],
)
def test_one_bad_host_makes_the_whole_file_doubtful(format: Format, text: str) -> None:
    with pytest.raises(DiscoveryError, match="not a list of hosts"):
        parse(text.encode("latin-1"), format)


def watched(file: FileSource) -> Any:
    return aclosing(cast(Any, file.watch()))


async def told(memberships: AsyncIterator[Membership]) -> list[str]:
    async with asyncio.timeout(10):
        return [host.name for host in (await anext(memberships)).hosts]


def test_an_edit_of_the_same_size_at_the_same_time_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("web1\n")

    async def check() -> None:
        async with watched(FileSource(path, interval=0.01)) as memberships:
            assert await told(memberships) == ["web1"]
            found = path.stat()
            path.write_text("web2\n")  # the same inode and size; and the same time:
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            assert await told(memberships) == ["web2"]

    asyncio.run(check())


def test_a_symlink_that_turns_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes changes a ConfigMap that is mounted."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts").write_text(f"{name}\n")
        os.utime(tmp_path / name / "hosts", (1_000_000, 1_000_000))
    data = tmp_path / "data"
    data.symlink_to("one")

    async def check() -> None:
        async with watched(FileSource(data / "hosts", interval=0.01)) as memberships:
            assert await told(memberships) == ["one"]
            (tmp_path / "new").symlink_to("two")
            (tmp_path / "new").replace(data)
            assert await told(memberships) == ["two"]

    asyncio.run(check())


def test_what_means_the_same_in_other_words_is_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("web1\n")

    async def check() -> None:
        async with watched(FileSource(path, interval=0.01)) as memberships:
            assert await told(memberships) == ["web1"]
            path.write_text("web1 # a comment\n")
            await asyncio.sleep(0.2)
            path.write_text("web1\nweb2\n")
            assert await told(memberships) == ["web1", "web2"]

    asyncio.run(check())


@pytest.mark.parametrize("text", [None, "web1\nweb1\n"])
def test_a_missing_or_broken_file_is_an_error_that_names_it(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "hosts"
    if text is not None:
        path.write_text(text)

    async def check() -> None:
        async with watched(FileSource(path)) as memberships:
            with pytest.raises(DiscoveryError, match=r"hosts"):
                await told(memberships)

    asyncio.run(check())


def test_the_examination(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    file = FileSource(path)
    assert [finding.level for finding in asyncio.run(file.examine())] == ["error"]
    path.write_text("hosts = []")
    path.chmod(0o644)
    assert [finding.level for finding in asyncio.run(file.examine())] == ["ok"]
    path.chmod(0o666)
    os.utime(path, (4_000_000_000, 4_000_000_000))
    findings = asyncio.run(file.examine())
    assert [finding.level for finding in findings] == ["ok", "warning", "warning"]


def test_urls(tmp_path: Path) -> None:
    assert str(source(f"file:{tmp_path}/hosts.json")) == f"file:{tmp_path}/hosts.json"
    assert str(source("file:hosts%20of%20web")) == "file:hosts of web"
    for url in (
        "file:",
        "file:a?interval=0",
        "file:a?colour=red",
        "file:a?interval=x",
        "file://elsewhere/hosts",
    ):
        with pytest.raises(ConfigError):
            source(url)
