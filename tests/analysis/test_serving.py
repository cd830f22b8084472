"""Policies on a trace: the model of a host against hand-made cases and a naive simulation."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest

from hashring import ConfigError, Host
from hashring.analysis.model_host import KINDS, Engine
from hashring.analysis.policies import POLICIES
from hashring.analysis.policy_replay import SCENARIOS
from hashring.analysis.serving import Serving, serve
from hashring.analysis.traces import Trace, TraceRequest

ENGINE = Engine(prefill=1000.0, decode=10.0, blocks=100)


def trace_of(*requests: tuple[float, int, int, int, tuple[int, ...]]) -> Trace:
    return Trace(tuple(TraceRequest(*each) for each in requests), 500, "jsonl")


def chats(sessions: int, turns: int, seed: int) -> Trace:
    """Sessions whose prompts grow by one to three blocks each turn."""
    rng = random.Random(seed)
    made = []
    for session in range(sessions):
        at = rng.uniform(0, 60)
        blocks: list[int] = []
        for _ in range(turns):
            for _ in range(rng.randint(1, 3)):
                blocks.append(session << 20 | len(blocks))
            size = 500 * len(blocks) - rng.randint(0, 400)
            made.append(TraceRequest(at, session, size, rng.randint(1, 40), tuple(blocks)))
            at += rng.expovariate(1 / 20)
    made.sort(key=lambda each: each.at)
    return Trace(tuple(made), 500, "jsonl")


def run(trace: Trace, hosts: int, policy: str, **options: object) -> Serving:
    return serve(trace, hosts, [policy], **{"engine": ENGINE, **options})  # type: ignore[arg-type]


def test_by_hand_one_host_serves_one_prefill_after_the_other() -> None:
    trace = trace_of((0.0, 0, 2000, 10, (1, 2, 3, 4)), (1.0, 1, 1000, 10, (5, 6)))
    found = run(trace, 1, "round-robin").policies[0]
    assert found.times == pytest.approx((2.0, 2.0))  # 0 + 2 s; 1 s of waiting and 1 s
    assert found.reuse == 0


def test_by_hand_a_cached_prefix_is_not_computed_again() -> None:
    trace = trace_of((0.0, 0, 2000, 1, (1, 2, 3, 4)), (9.0, 0, 2200, 1, (1, 2, 3, 4, 5)))
    found = run(trace, 1, "ring").policies[0]
    assert found.times == pytest.approx((0.2, 2.0))  # 200 of 2,200 tokens are new
    assert found.reuse == pytest.approx(4 / 9)


def test_by_hand_the_least_recently_used_blocks_are_dropped() -> None:
    one, two = (1, 2), (3, 4)
    trace = trace_of(*((10.0 * at, at, 1000, 1, each) for at, each in enumerate((one, two, one))))
    assert run(trace, 1, "ring", engine=Engine(1000.0, blocks=2)).policies[0].reuse == 0
    assert run(trace, 1, "ring", engine=Engine(1000.0, blocks=4)).policies[0].reuse > 0


def test_by_hand_chunks_slow_the_decode_of_lanes() -> None:
    trace = trace_of((0.0, 0, 1000, 20, (1, 2)), (0.0, 1, 1000, 20, (3, 4)))
    lanes = run(trace, 1, "round-robin", engine=Engine(1000.0, 10.0, lanes=2)).policies[0]
    assert lanes.times == pytest.approx((2.0, 2.0))
    chunks = run(trace, 1, "round-robin", engine=Engine(1000.0, 10.0, chunk=100)).policies[0]
    # one of 100 tokens of each step is the decode of the first
    assert chunks.times == pytest.approx((1.0, 1.0 + 1.0 / 0.99))


def test_by_hand_sharing_gives_one_alone_the_whole_speed() -> None:
    trace = trace_of((0.0, 0, 1000, 1, (1, 2)), (0.5, 1, 1000, 1, (3, 4)))
    engine = Engine.of("sharing", prefill=1000.0, decode=10.0)
    # half of the first alone, then 1 s for its other half beside the second, which ends alone
    assert run(trace, 1, "round-robin", engine=engine).policies[0].times == pytest.approx(
        (1.5, 1.5)
    )
    workers = Engine.of("workers", prefill=1000.0, decode=10.0, lanes=2)
    assert run(trace, 1, "round-robin", engine=workers).policies[0].times == pytest.approx(
        (2.0, 2.0)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_of_each_kind_answers_every_request(kind: str) -> None:
    trace = chats(30, 4, seed=2)
    found = run(trace, 4, "least-outstanding+pins", engine=Engine.of(kind)).policies[0]
    assert len(found.times) == len(trace.requests)
    assert (found.reuse > 0) == (Engine.of(kind).blocks > 0)


def test_a_naive_simulation_agrees_on_every_request() -> None:
    trace, hosts = chats(40, 5, seed=3), 4
    free = [0.0] * hosts
    caches: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(hosts)]
    times = []
    starts = sorted(run(trace, hosts, "round-robin", seed=1).policies[0].times)
    for number, request in enumerate(trace.requests):
        at = number % hosts
        cache = caches[at]
        # in one queue a request begins when all before it have had their first token
        begin = max(request.at, free[at])
        hit = 0
        while hit < len(request.blocks) and request.blocks[hit] in cache:
            hit += 1
        for block in request.blocks:
            cache.pop(block, None)
            cache[block] = None
        while len(cache) > ENGINE.blocks:
            cache.popitem(last=False)
        free[at] = begin + max(0, request.input_tokens - 500 * hit) / ENGINE.prefill
        times.append(free[at] - request.at)
    assert starts == pytest.approx(sorted(times))


@pytest.mark.parametrize("policy", [each for each in POLICIES if "fewest" not in each])
def test_a_session_stays_where_the_policy_promises(policy: str) -> None:
    found = run(chats(60, 6, seed=1), 6, policy).policies[0]
    assert 0 <= found.reuse <= 1
    assert sum(found.moves.values()) <= 60 * 5
    if policy == "ring" or (policy.endswith("+pins")):
        assert found.moved_turns == 0
        assert found.moves == {}


def test_the_same_seed_gives_the_same_report() -> None:
    trace = chats(30, 4, seed=2)
    options = {"spread": 2.0, "routers": 3, "cost": "noisy"}
    one = serve(trace, 4, POLICIES, seed=7, engine=ENGINE, **options)  # type: ignore[arg-type]
    assert one == serve(trace, 4, POLICIES, seed=7, engine=ENGINE, **options)  # type: ignore[arg-type]
    assert one != serve(trace, 4, POLICIES, seed=8, engine=ENGINE, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("policy", ["ring", "least-outstanding+pins", "cache-aware"])
def test_a_scenario_loses_no_request(scenario: str, policy: str) -> None:
    trace = chats(60, 6, seed=4)
    report = run(trace, 4, policy, scenario=scenario, routers=2)
    found = report.policies[0]
    assert len(found.times) == len(trace.requests)
    if scenario == "grow":
        assert found.work["gpu3"][0] == 0  # it joins in the middle
        if policy == "least-outstanding+pins":
            assert found.moved_turns == 0
        else:
            assert sum(found.work["gpu3"]) > 0
    if scenario == "loss" and policy != "cache-aware":
        assert found.moved_turns > 0


def test_a_host_of_twice_the_weight_takes_twice_the_work() -> None:
    hosts = [Host("small"), Host("large", 2.0)]
    found = serve(chats(200, 4, seed=5), hosts, ["least-outstanding+pins"], engine=ENGINE)
    work = {name: sum(done) for name, done in found.policies[0].work.items()}
    assert work["large"] / work["small"] == pytest.approx(2.0, rel=0.25)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("rign", "did you mean 'ring'"),
        ("ring+pin", "there is no suffix 'pin'"),
        ("ring+patience", "options of least-outstanding"),
        ("least-connections+bounded", "an option of ring"),
        ("fewest-sessions", "write fewest-sessions"),
        ("cache-aware+pins", "takes no suffix"),
    ],
)
def test_a_policy_that_does_not_exist_is_refused(policy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(chats(1, 1, seed=0), 2, policy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be"),
        ({"spread": -1}, "spread must be"),
        ({"routers": True}, "routers must be"),
        ({"scenario": "fire"}, "scenario must be one of"),
        ({"cost": "money"}, "cost must be one of"),
        ({"limit": 0}, "limit must be"),
    ],
)
def test_an_option_that_is_not_valid_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(chats(1, 1, seed=0), 2, "ring", **options)


def test_an_engine_that_is_not_possible_is_refused() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Engine(lanes=2, chunk=10)
    with pytest.raises(ConfigError, match="exclude each other"):
        Engine(sharing=True, chunk=10)
    with pytest.raises(ConfigError, match="did you mean 'chunked'"):
        Engine.of("chunkd")
    with pytest.raises(ConfigError, match="prefill must be"):
        Engine(prefill=0)
    with pytest.raises(ConfigError, match="blocks must be"):
        Engine(blocks=-1)


def test_the_report_has_tables_a_sentence_and_plain_dicts() -> None:
    report = serve(chats(10, 3, seed=1), 3, ["ring", "round-robin"], engine=ENGINE)
    assert [row[0] for row in report.tables()[0].rows] == ["ring", "round-robin"]
    assert "has the first token after" in report.sentence()
    policy = report.to_dict()["policies"][0]
    assert set(policy["ttft"]) == {"mean", "p50", "p90", "p99"}
    assert "times" not in policy


def test_routers_that_exchange_loads_are_between_blind_and_one() -> None:
    trace, engine = chats(600, 4, seed=6), Engine(12_000.0, 40.0, blocks=200)
    policy = "least-outstanding+pins"
    alone = run(trace, 4, policy, engine=engine).policies[0].ttft["mean"]
    blind = run(trace, 4, policy, engine=engine, routers=4).policies[0].ttft["mean"]
    informed = run(trace, 4, policy, engine=engine, routers=4, sync=0.05)
    assert alone < informed.policies[0].ttft["mean"] < blind
    with pytest.raises(ConfigError, match="without \\+patience"):
        run(trace, 4, f"{policy}+patience", routers=4, sync=0.05)
