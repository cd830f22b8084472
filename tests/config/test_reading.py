"""Settings from the file, the environment and the command line, or all their problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from hashring.config import ProblemsError, Settings, all_settings, balancer, monitor, read
from hashring.config.effective import effective
from hashring.config.example import example
from hashring.config.factory import update_hosts
from hashring.config.settings import TABLES
from hashring.hosts import Host

Write: TypeAlias = Callable[..., str]
HOSTS = '[pool]\nhosts = ["127.0.0.1:9001"]\n'
SECRET = "0123456789abcdef-never-to-be-seen"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "h.toml") -> str:
        (tmp_path / name).write_text(text)
        return name

    return written


def problems(file: str | None, **environ: str) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        read(file, environ=environ)
    return list(map(str, caught.value.problems))


# -- values and their origins -------------------------------------------------------------------


def test_the_example_is_the_defaults_and_three_hosts(write: Write) -> None:
    settings = read(write(example()), environ={})
    assert [str(host) for host in settings.pool.hosts] == ["127.0.0.1:9001", "web2", "web3"]
    for name in TABLES:
        if name != "pool":
            at = name.partition(".")[0]
            assert getattr(settings, at) == getattr(Settings(), at)


def test_each_key_of_the_example_uncommented_is_its_default(write: Write) -> None:
    file = write(example().replace("#: ", ""))
    settings = read(file, environ={})
    switched = {key for key in settings.origins if not key.startswith("pool.hosts")}
    assert switched >= {f"{each.section}.{each.name}" for each in all_settings()}
    assert settings.limits == Settings().limits
    assert settings.placement.options == {"vnodes": 512, "seed": 0}


def test_later_sources_win_and_each_value_has_its_origin(write: Write) -> None:
    file = write(
        HOSTS + '[gateway]\nlisten = "127.0.0.1:1"\nadmin = "127.0.0.1:2"\n[limits]\nbody=5'
    )
    settings = read(
        file,
        options={"gateway.listen": "127.0.0.1:3"},
        names={"gateway.listen": "--listen"},
        environ={"HASHRING_GATEWAY_LISTEN": "127.0.0.1:4", "HASHRING_LIMITS_BODY": "6"},
    )
    assert settings.gateway.listen == "127.0.0.1:3"
    assert settings.limits.body == 6
    origins = {line.key: line.origin for line in effective(settings)}
    assert origins["gateway.listen"] == "command line --listen"
    assert origins["gateway.admin"] == "h.toml:5"
    assert origins["limits.body"] == "environment HASHRING_LIMITS_BODY"
    assert origins["limits.retries"] == "default"
    assert origins["pool.hosts[0]"] == "h.toml:2"


def test_hosts_may_be_tables_of_all_their_fields(write: Write) -> None:
    file = write(
        '[[pool.hosts]]\nname = "web1"\naddress = "10.0.0.1:80"\nweight = 2\nid = 7\nguid = "g"\n'
        'meta = {zone = "a"}\n[[pool.hosts]]\naddress = "[::1]:80"\n'
    )
    one, two = read(file, environ={}).pool.hosts
    whole = Host("web1", 2, address="10.0.0.1:80", id=7, guid="g", meta={"zone": "a"})
    assert one.same(whole)
    assert two.same(Host("[::1]:80"))


def test_a_host_may_be_drained_by_its_entry(write: Write) -> None:
    file = write(
        '[pool]\nhosts = ["a:1", "b:1=0", {address = "c:1", drain = true},'
        ' {address = "d:1", weight = 0}]\n'
    )
    settings = read(file, environ={})
    assert [host.weight for host in settings.pool.hosts] == [1.0] * 4
    assert settings.pool.draining == {"b:1", "c:1", "d:1"}
    lb = balancer(settings)
    assert [lb.state(host) for host in lb.hosts] == ["up", "draining", "draining", "draining"]
    assert {lb.pick(f"client-{n}").name for n in range(50)} == {"a:1"}
    shown = [line.value for line in effective(settings)][2]
    assert shown == '{ name = "c:1", address = "c:1", weight = 1, drain = true }'
    lb.drain("a:1", by="operator")
    update_hosts(lb, replace(settings.pool, draining=frozenset({"d:1"})))
    assert [lb.state(host) for host in lb.hosts] == ["draining", "up", "up", "draining"]


def test_hosts_may_come_from_the_environment() -> None:
    settings = read(environ={"HASHRING_POOL_HOSTS": "127.0.0.1:1, 127.0.0.1:2=2"})
    assert settings.pool.hosts[1].weight == 2.0


def test_variables_of_an_orchestrator_are_ignored(write: Write) -> None:
    others = {"HASHRING_SERVICE_HOST": "10.0.0.1", "HASHRING_PORT": "tcp://10.0.0.1:80"}
    assert read(write(HOSTS), environ=others) == read(write(HOSTS), environ={})


# -- secrets ------------------------------------------------------------------------------------


def test_secrets_are_read_and_never_shown(write: Write) -> None:
    write(SECRET + "\n", "new")
    file = write(
        HOSTS + '[tokens]\nsecret_file = "new"\nold_secret_env = "OLD"\n'
        '[placement]\nkey_secret_env = "OLD"\n'
    )
    settings = read(file, environ={"OLD": "older-" + SECRET})
    assert settings.tokens.secrets == (SECRET.encode(), b"older-" + SECRET.encode())
    assert settings.placement.key_secret == b"older-" + SECRET.encode()
    assert SECRET not in repr(settings)
    assert SECRET not in str(list(effective(settings)))
    balancer(settings)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('secret_file = "none"', "h.toml:4: tokens.secret_file: 'none' cannot be read: No such"),
        ('secret_env = "NONE"', "h.toml:4: tokens.secret_env: the variable 'NONE' is not set"),
        (
            'secret_env = "SHORT"',
            "h.toml:4: tokens.secret_env: a secret must have 16 to 4096 bytes",
        ),
        (
            'secret = "typed here"',
            "h.toml:4: tokens.secret: there is no such key: secrets are",
        ),
        ('old_secret_env = "LONG"', "h.toml:4: tokens.old_secret_env: needs the present secret"),
    ],
)
def test_a_bad_secret_is_reported_without_it(write: Write, table: str, said: str) -> None:
    found = problems(write(f"{HOSTS}[tokens]\n{table}\n"), SHORT="short", LONG=SECRET)
    assert len(found) == 1
    assert found[0].startswith(said)
    assert not {"typed here", "short", SECRET} & set(found[0].replace("'", " ").split())


# -- problems -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "h.toml: pool.hosts: there is no host"),
        ("[pool]\nhosts = []", "h.toml:2: pool.hosts: there is no host"),
        (
            '[discovery]\nkind = "dns"\n' + HOSTS,
            "h.toml:2: discovery.kind: there is no such key: known are debounce",
        ),
        ("pool = 3\n" + "[x]", "h.toml:1: pool: is a table: write [pool]"),
        (HOSTS + "[health]\noutliers = 3", "h.toml:4: health.outliers: is a table"),
        ('[pool]\nhosts = "a:1"', "h.toml:2: pool.hosts: must be a list of hosts, got 'a:1': did"),
        ('[pool]\nhosts = ["web1"]', "h.toml:2: pool.hosts[0]: must be ADDRESS:PORT"),
        ('[pool]\nhosts = ["a:99999"]', "h.toml:2: pool.hosts[0]: must be ADDRESS:PORT"),
        ('[pool]\nhosts = ["a:0"]', "h.toml:2: pool.hosts[0]: must be ADDRESS:PORT"),
        ("[pool]\nhosts = [3]", "h.toml:2: pool.hosts[0]: a host is a text or a table, got 3"),
        (
            '[pool]\nhosts = [\n"a:1",\n{name="b", address="a:2", wieght=2}]',
            "h.toml:4: pool.hosts[1].wieght: a host has no such field: did you mean 'weight'?",
        ),
        (
            '[[pool.hosts]]\nname="a"\naddress="a:1"\n[[pool.hosts]]\nname="a"\naddress="a:2"',
            "h.toml:4: pool.hosts[1]: there is already a host 'a' (h.toml:1)",
        ),
        (HOSTS + "[health]\ninterval = 1", "h.toml:4: health.timeout: must be at most interval"),
        (
            HOSTS + "[health.outliers]\ncap = 1",
            "h.toml:4: health.outliers.cap: must be at least base",
        ),
        (HOSTS + "[placement]\nvnodes = 0", "h.toml:4: placement.vnodes: must be an int from 1"),
        (
            HOSTS + '[placement]\nname = "modulo"\nvnodes = 5',
            "h.toml:5: placement.vnodes: placement 'modulo' has no such option",
        ),
        (HOSTS + "capacity = true", "h.toml:3: pool.capacity: must be an int of at least 1, or 0"),
        (HOSTS + "load_factor = 1", "h.toml:3: pool.load_factor: must be a number above 1"),
        (HOSTS + "[timeouts]\nconnect = nan", "h.toml:4: timeouts.connect: must be seconds above"),
        (HOSTS + "[timeouts]\nconnect = '2s'", "h.toml:4: timeouts.connect: must be seconds above"),
        (
            HOSTS + "[limits]\nconnect = 2",
            "h.toml:4: limits.connect: there is no such key: did",
        ),
        (
            HOSTS + '[gateway]\ntrusted_proxies = ["10.0.0.1/8"]',
            "h.toml:4: gateway.trusted_proxies: trusted '10.0.0.1/8': 10.0.0.1/8 has host bits",
        ),
        (
            HOSTS + '[identity]\nsources = ["coockie:sid"]',
            "h.toml:4: identity.sources: there is no source 'coockie:sid': did you mean 'cookie'?",
        ),
        (HOSTS + '[identity]\nsources = ["cookie"]', "h.toml:4: identity.sources: 'cookie' needs"),
        (HOSTS + '[identity]\nsources = ["path:x"]', "h.toml:4: identity.sources: path takes the"),
        (HOSTS + '[tokens]\ncookie = "a b"', "h.toml:4: tokens.cookie: a cookie's name is of"),
        (HOSTS + "x = [", "h.toml:3: not valid TOML"),
    ],
)
def test_a_problem_has_its_line_key_and_hint(write: Write, text: str, said: str) -> None:
    found = problems(write(text))
    assert found[0].startswith(said), found[0]
    assert len(found) == (3 if text.startswith("pool = 3") else 1)


def test_more_hosts_than_the_capacity_are_a_problem(write: Write) -> None:
    (found,) = problems(write('[pool]\nhosts = ["a:1", "b:1"]\ncapacity = 1\n'))
    assert found.startswith("h.toml:3: pool.capacity: ")


def test_one_problem_neither_hides_nor_invents_another(write: Write) -> None:
    # the timeout falls back to 2 s, which is over this interval: not a problem of the file
    found = problems(
        write(HOSTS + '[health]\ntimeout = "1"\ninterval = 1\n[placement]\nvnodes = 0')
    )
    assert [one.split(":")[2] for one in found] == [" health.timeout", " placement.vnodes"]


def test_a_problem_of_the_environment_names_the_variable(write: Write) -> None:
    (found,) = problems(write(HOSTS), HASHRING_LIMITS_RETRIES="many")
    assert found.startswith(
        "environment HASHRING_LIMITS_RETRIES: limits.retries: must be an int of"
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"\xff\xfe", "h.toml:1: not valid UTF-8"), (b"a = 1\n\xff", "h.toml:2: not valid UTF-8")],
)
def test_a_file_that_is_not_utf8_is_refused(write: Write, data: bytes, said: str) -> None:
    Path(write("")).write_bytes(data)
    assert problems("h.toml") == [said]


def test_a_missing_file_is_reported(write: Write) -> None:
    write("")
    assert problems("nope.toml") == ["nope.toml: cannot be read: No such file or directory"]
    assert problems(".") == [".: cannot be read: Is a directory"]


def test_a_byte_order_mark_is_accepted(write: Write) -> None:
    Path(write("")).write_bytes(b"\xef\xbb\xbf" + HOSTS.encode())
    assert len(read("h.toml", environ={}).pool.hosts) == 1


def test_deep_nesting_is_reported(write: Write) -> None:
    (found,) = problems(write("a = " + "[" * 5000 + "]" * 5000))
    assert "nested too deeply" in found


# -- objects ------------------------------------------------------------------------------------


def test_settings_reach_their_objects(write: Write) -> None:
    settings = read(
        write(
            '[pool]\nhosts = ["a:1", "b:1"]\n[placement]\nname = "none"\n'
            '[fallback]\nstrategy = "least-connections"\nslow_start = 5\n'
            '[health]\nprobe = "none"\n[health.outliers]\nenabled = false\n'
        ),
        environ={},
    )
    lb = balancer(settings)
    assert lb.snapshot.table is None
    assert monitor(settings, lb) is None


@pytest.mark.parametrize(
    ("listen", "host", "refused"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("0.0.0.0:8080", "localhost:8080", True),
        ("127.0.0.1:8080", "127.0.0.1:8081", False),
        ("127.0.0.1:8080", "10.0.0.1:8080", False),
        ("127.0.0.1:0", "127.0.0.1:9", False),
    ],
)
def test_a_host_that_is_the_listener_is_refused(
    write: Write, listen: str, host: str, refused: bool
) -> None:
    file = write(f'[gateway]\nlisten = "{listen}"\n[pool]\nhosts = ["{host}"]\n')
    if not refused:
        read(file, environ={})
        return
    with pytest.raises(ProblemsError, match="is the gateway's own listener"):
        read(file, environ={})
