"""A token is accepted if, and only if, one of the secrets signed it recently."""

from __future__ import annotations

import base64
import hmac
import random
import string
import subprocess
import sys
import threading
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import Token, Tokens
from hashring.errors import ConfigError, TokenError
from hashring.testing import FakeClock
from tests.ring.inputs import NAMES, keys

SECRET, NEXT, FOREIGN = (word * 4 for word in (b"old one!", b"new one!", b"foreign!"))
DAY = 86_400.0


NOW = 1_750_000_000.5


def reason(tokens: Tokens, text: str) -> str | None:
    try:
        tokens.read(text)
    except TokenError as error:
        return error.reason
    return None


@given(NAMES, st.one_of(st.none(), keys()))
def test_what_was_issued_is_read(host: str, client_id: Any) -> None:
    tokens = Tokens(SECRET, clock=FakeClock(NOW))
    client = tokens.new_client() if client_id is None else tokens.clients(client_id)[0]
    text = tokens.issue(client, host, given=client_id is not None)
    for reader in (tokens, Tokens(SECRET, clock=FakeClock(NOW))):
        token = reader.read(text)
        assert token == Token(
            client, client_id is not None, reader.tags(host)[0], 1_750_000_000, outdated=False
        )
        assert token.client_id == client.hex()
        assert not reader.due(token)


def test_the_format_is_frozen() -> None:
    tokens = Tokens(SECRET, clock=FakeClock(NOW))
    text = tokens.issue(bytes(range(16)), "web1", given=True)

    def derived(purpose: bytes) -> bytes:
        return hmac.new(SECRET, b"hashring token 1 " + purpose, sha256).digest()

    def letters(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    tag = hmac.new(derived(b"host"), b"web1", sha256).digest()[:8]
    stamp = (1_750_000_000 * 2 + 1).to_bytes(6, "big")
    payload = letters(bytes(range(16)) + tag + stamp)
    signature = hmac.new(derived(b"signature"), payload.encode(), sha256).digest()
    assert text == f"{payload}.{letters(signature)}"
    client = hmac.new(derived(b"client"), b"session-42", sha256).digest()[:16]
    assert tokens.clients("session-42") == (client,)


def test_a_token_counts_nothing_in_the_clear() -> None:
    tokens = Tokens(SECRET)
    text = tokens.issue(tokens.clients("session-42")[0], "web1", given=True)
    raw = base64.urlsafe_b64decode(text[:40])
    assert b"web1" not in raw
    assert b"session" not in raw
    assert Tokens(FOREIGN).tags("web1") != tokens.tags("web1")
    assert Tokens(FOREIGN).clients("web1") != tokens.clients("web1")
    assert tokens.tags("web1")[0] != tokens.clients("web1")[0][:8]


def test_new_clients_are_new() -> None:
    tokens = Tokens(SECRET)
    assert len({tokens.new_client() for _ in range(1_000)}) == 1_000
    assert {len(tokens.new_client()) for _ in range(10)} == {16}


# -- nothing else is read --------------------------------------------------------------------------

BASE64 = string.ascii_letters + string.digits + "-_"
# what is stripped, folded, decoded, or a letter elsewhere
ODD = ". =+/%\n\t\x00\x7f\"';,é\ud83d\U0001f600０ſK"


def mutated(text: str, other: str, rng: random.Random) -> str:
    """One of the ways to spell a token wrong."""
    at = rng.randrange(len(text))
    letter = rng.choice(BASE64) if rng.random() < 0.8 else rng.choice(ODD)
    match rng.randrange(12):
        case 0:
            return text[:at] + letter + text[at:]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return text[:-1] + letter  # the letter with bits to spare
        case 3:
            return text[:41] + other[41:]
        case 4:
            return text[:at] + other[at:]
        case 5:
            return text[:at] + text[at].swapcase() + text[at + 1 :]
        case 6:
            return text + rng.choice(("=", "==", "\n", " ", ".", "A"))
        case 7:
            return rng.choice(("\n", " ", '"', ".", "A")) + text[: -rng.randrange(1, 3)]
        case 8:
            return text[:-2] + letter + rng.choice(BASE64)
        case _:
            return text[:at] + letter + text[at + 1 :]


@pytest.mark.slow
def test_a_million_mutations() -> None:
    tokens, rng = Tokens(SECRET, cache=0), random.Random(20_250_601)
    issued = [tokens.issue(tokens.new_client(), f"web{n}", given=bool(n % 2)) for n in range(1_000)]
    good, accepted = set(issued), 0
    for number in range(1_000_000):
        text = mutated(issued[number % 1_000], rng.choice(issued), rng)
        if reason(tokens, text) is None:
            accepted += 1
            assert text in good
    # a mutation may restore the letter that was there: then it is the token itself
    assert 0 < accepted < 100_000
    stats = tokens.stats
    assert stats["verified"] == accepted
    assert stats["malformed"] + stats["forged"] == 1_000_000 - accepted
    assert min(stats["malformed"], stats["forged"]) > 100_000


def test_every_respelling_of_the_last_letter() -> None:
    tokens = Tokens(SECRET)
    for _ in range(50):
        text = tokens.issue(tokens.new_client(), "web1")
        accepted = [c for c in BASE64 if reason(tokens, text[:-1] + c) is None]
        assert accepted == [text[-1]]


@given(st.text(max_size=100).filter(lambda text: len(text) != 84))
def test_text_of_another_length_is_malformed(text: str) -> None:
    assert reason(Tokens(SECRET), text) == "malformed"


@given(st.text(min_size=84, max_size=84))
def test_text_of_a_tokens_length_is_refused(text: str) -> None:
    expected = "forged" if text.isascii() else "malformed"
    assert reason(Tokens(SECRET), text) == expected


@given(st.text("ab-_.=~ \0", min_size=84, max_size=84))
def test_ascii_text_of_a_tokens_length_is_forged(text: str) -> None:
    assert reason(Tokens(SECRET), text) == "forged"


def test_a_foreign_payload_signed_with_our_key_is_forged() -> None:
    tokens = Tokens(SECRET)
    key = hmac.new(SECRET, b"hashring token 1 signature", sha256).digest()
    for payload in ("A" * 40, "A" * 39 + "!", "-" * 40, "=" * 40, "A" * 38 + "=="):
        digest = hmac.new(key, payload.encode(), sha256).digest()
        text = payload + "." + base64.urlsafe_b64encode(digest).decode().rstrip("=")
        # zeros are a token of 1970, everything else is none
        assert reason(tokens, text) == ("expired" if payload in ("A" * 40, "-" * 40) else "forged")


# -- secrets rotate --------------------------------------------------------------------------------


def test_a_rotation_in_three_steps() -> None:
    old, both, new = Tokens(SECRET), Tokens([NEXT, SECRET]), Tokens([NEXT])
    text = old.issue(old.new_client(), "web1")
    token = both.read(text)
    assert token.outdated
    assert both.due(token)
    assert token.tag in both.tags("web1")
    renewed = both.issue(token.client, "web1")
    assert not both.read(renewed).outdated
    assert new.read(renewed).client == token.client
    assert reason(new, text) == "forged"
    assert reason(old, renewed) == "forged"
    assert reason(Tokens(FOREIGN), text) == "forged"
    assert both.clients("x") == (*new.clients("x"), *old.clients("x"))
    assert both.tags("x") == (*new.tags("x"), *old.tags("x"))


def test_a_rollout_accepts_the_new_secret_before_it_signs() -> None:
    first, second = Tokens([SECRET, NEXT]), Tokens([NEXT, SECRET])
    for one, two in ((first, second), (second, first)):
        assert reason(two, one.issue(one.new_client(), "web1")) is None


@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        (b"", "bytes, 16 or more, got bytes of 0"),
        (b"x" * 15, "got bytes of 15"),
        ("x" * 32, "got str of 32"),
        (bytearray(32), "got bytearray of 32"),
        ([], "one, or two while they rotate, got 0"),
        ([SECRET, NEXT, FOREIGN], "got 3"),
        ([SECRET, None], "got NoneType"),
        ([SECRET, b"short"], "got bytes of 5"),
    ],
)
def test_secrets_that_cannot_be(secrets: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Tokens(secrets)
    assert "xxx" not in str(caught.value)
    assert "old one" not in str(caught.value)


def test_the_repr_holds_no_secret() -> None:
    assert repr(Tokens([SECRET, NEXT], max_age=60)) == "<Tokens of 2 secrets, good for 60 s>"


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [0, 100])
def test_a_token_ages(cache: int) -> None:
    clock = FakeClock(NOW)
    tokens = Tokens(SECRET, max_age=DAY, clock=clock, cache=cache)
    text = tokens.issue(tokens.new_client(), "web1")
    token = tokens.read(text)
    began = clock.now
    for later, due, why in (
        (DAY / 2 - 1, False, None),
        (DAY / 2 + 1, True, None),
        (DAY - 1, True, None),
        (DAY + 1, True, "expired"),
        (10_000 * DAY, True, "expired"),
    ):
        clock.now = began + later
        assert reason(tokens, text) == why
        assert tokens.due(token) == due
    assert tokens.stats["expired"] == 2


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_an_hour_costs_no_client_a_token(jump: float) -> None:
    clock = FakeClock(NOW)
    tokens = Tokens(SECRET, max_age=DAY, clock=clock)
    before = tokens.issue(tokens.new_client(), "web1")
    clock.now += jump
    during = tokens.issue(tokens.new_client(), "web1")
    assert [reason(tokens, text) for text in (before, during)] == [None, None]
    clock.now -= jump
    assert [reason(tokens, text) for text in (before, during)] == [None, None]


def test_a_token_from_a_clock_far_ahead_is_not_good_for_years() -> None:
    ahead, here = FakeClock(NOW), FakeClock(NOW)
    ahead.now += 3_650 * DAY
    text = Tokens(SECRET, clock=ahead).issue(bytes(16), "web1")
    assert reason(Tokens(SECRET, clock=here), text) == "expired"


@pytest.mark.parametrize("option", ["max_age", "cache"])
@pytest.mark.parametrize("value", [-1, True, "60", None, float("nan"), float("inf")])
def test_numbers_that_cannot_be(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        Tokens(SECRET, **{option: value})


# -- the cache -------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_counts() -> None:
    tokens = Tokens(SECRET, cache=10)
    texts = [tokens.issue(tokens.new_client(), "web1") for _ in range(30)]
    for text in texts:
        assert tokens.read(text) == tokens.read(text)
    assert tokens.stats["verified"] == tokens.stats["cached"] == 30
    held = len(tokens._recent._young) + len(tokens._recent._old)
    assert 5 <= held <= 10
    tokens.read(texts[0])
    assert tokens.stats["verified"] == 31, "the first was forgotten"


def test_what_is_in_use_stays_in_the_cache() -> None:
    tokens = Tokens(SECRET, cache=10)
    loved, *others = (tokens.issue(tokens.new_client(), "web1") for _ in range(200))
    for text in others:
        tokens.read(loved)
        tokens.read(text)
    assert tokens.stats["verified"] == 200


def test_what_is_refused_is_not_cached() -> None:
    tokens = Tokens(SECRET)
    text = Tokens(FOREIGN).issue(bytes(16), "web1")
    assert [reason(tokens, text) for _ in range(3)] == ["forged"] * 3
    assert not tokens._recent._young


def test_threads_read_and_count_exactly() -> None:
    tokens = Tokens(SECRET, cache=8)
    texts = [tokens.issue(tokens.new_client(), "web1") for _ in range(40)]
    wrong: list[BaseException] = []

    def read(offset: int) -> None:
        try:
            for turn in range(500):
                text = texts[(turn * 7 + offset) % 40]
                assert tokens.read(text).tag == tokens.tags("web1")[0]
                assert reason(tokens, text[:-1]) == "malformed"
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    stats = tokens.stats
    assert stats["verified"] + stats["cached"] == stats["malformed"] == 3_000


def test_the_extra_is_named() -> None:
    script = """
import sys
sys.modules["itsdangerous"] = None
import hashring.affinity
try:
    hashring.affinity.Tokens(bytes(16))
except hashring.affinity.tokens.ConfigError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "sticky-hashring[tokens]"' in ran.stdout
