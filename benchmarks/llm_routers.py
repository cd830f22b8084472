"""Which router answers a language model's users soonest?  Run by hand: minutes, and other programs.

``python -m benchmarks llm_routers --trace conversation_trace.jsonl.gz --programs DIR[:DIR]``. The
programs are those of ``pip install smg==1.13.0 vllm-router==0.1.17`` and, in another environment,
``pip install "litellm[proxy]==1.102.0"``; each DIR is a ``bin`` of them. The ones that are missing
are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import IO

from benchmarks._fake_engines import prompt
from benchmarks._report import Row, Table
from hashring.analysis.traces import Trace, TraceRequest, read_trace

__all__ = ["run"]

_ROOT = Path(__file__).resolve().parents[1]
_ENGINES = 8
_REQUESTS = 3_000
_RATE = 1.4  # times faster than recorded: the engines are busy for 70 % of the time
_SCALE = 12.0  # times faster again, engines and arrivals alike: a minute for 3,000 requests
_PREFILL, _DECODE = 8_000.0, 40.0  # tokens a second before that, as in the model of an engine
_SPREAD = 3.0  # seconds to which the trace rounds its times
_PATIENCE = 60.0  # seconds in which a router must answer; litellm imports for 20
_LATE = 120.0  # seconds after which a request has failed
_FIRST = re.compile(rb"\[(\d+) (\d+)\]")

_HASHRING = """
[gateway]
listen = "{front}"
[pool]
hosts = [{quoted}]
[identity]
sources = ["header:x-session-id"]
[tokens]
enabled = false
[health]
probe = "none"
{more}
"""
_BY_LOAD = '[placement]\nnew_clients = "least-outstanding"\n{}[placement.cost]\nfrom = "bytes"\n'
_LITELLM = """
model_list:
{models}
router_settings:
  routing_strategy: least-busy
  num_retries: 0
{more}
litellm_settings:
  telemetry: false
"""
_AFFINITY = "  optional_pre_call_checks: [session_affinity]\n"
_MODEL = (
    "  - model_name: m\n"
    "    litellm_params: {{model: openai/m, api_base: 'http://{0}/v1', api_key: none}}\n"
)
_QUIET = ("--log-level", "error", "--disable-retries", "--disable-circuit-breaker")


@dataclass(frozen=True)
class _Router:
    """A program with its arguments and the text of its file; ``hashring`` is our own."""

    name: str
    program: str
    arguments: tuple[str, ...]
    more: str = ""

    def command(self, program: str, front: str, hosts: list[str], folder: Path) -> list[str]:
        port, file = front.rpartition(":")[2], folder / "config"
        urls = [f"http://{host}" for host in hosts]
        if self.program == "hashring":
            quoted = ", ".join(f'"{host}"' for host in hosts)
            file.write_text(_HASHRING.format(front=front, quoted=quoted, more=self.more))
            return [sys.executable, "-m", "hashring", "serve", str(file)]
        if self.program == "litellm":
            file = file.with_suffix(".yaml")
            models = "".join(_MODEL.format(host) for host in hosts)
            file.write_text(_LITELLM.format(models=models, more=self.more))
            return [program, "--config", str(file), "--host", "127.0.0.1", "--port", port]
        listen = ("--host", "127.0.0.1", "--port", port, "--prometheus-port", _free())
        return [program, *self.arguments, *_QUIET, *listen, "--worker-urls", *urls]


_ROUTERS = (
    _Router("gateway: ring", "hashring", ()),
    _Router("gateway: sticky by load", "hashring", (), _BY_LOAD.format("")),
    _Router("gateway: sticky by load, patience 5", "hashring", (),
            _BY_LOAD.format("patience = 5\n")),
    _Router("smg: cache_aware", "smg", ("launch", "--policy", "cache_aware")),
    _Router("smg: manual, min_load", "smg",
            ("launch", "--policy", "manual", "--assignment-mode", "min_load")),
    _Router("vllm-router: cache_aware", "vllm-router", ("--policy", "cache_aware")),
    _Router("vllm-router: sticky_least_loaded", "vllm-router", ("--policy", "sticky_least_loaded")),
    _Router("vllm-router: consistent_hash", "vllm-router", ("--policy", "consistent_hash")),
    _Router("litellm: least-busy", "litellm", ()),
    _Router("litellm: least-busy, session_affinity", "litellm", (), _AFFINITY),
)  # fmt: skip


@dataclass
class _Outcome:
    """What came back: seconds to the first token, the host and cached tokens of each request."""

    firsts: dict[int, float] = field(default_factory=dict)
    hosts: dict[int, int] = field(default_factory=dict)
    cached: dict[int, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def row(self, name: str, trace: Trace) -> Row:
        """Times as in the trace, before the scale."""
        if not self.firsts:
            return Row(name, f"no response: {self.errors[0]}")
        times = sorted(seconds * _SCALE for seconds in self.firsts.values())
        tokens = sum(trace.requests[number].input_tokens for number in self.cached)
        reuse = sum(self.cached.values()) / tokens
        turns, moved = self._moves(trace)
        failed = f"; {len(self.errors):,} requests failed" if self.errors else ""
        return Row(
            name,
            f"TTFT mean {mean(times):.2f} s, p99 {times[len(times) * 99 // 100]:.1f} s; "
            f"reuse {100 * reuse:.1f} %; {100 * moved / turns:.1f} % of turns moved{failed}",
        )

    def _moves(self, trace: Trace) -> tuple[int, int]:
        last: dict[int, int] = {}
        turns = moved = 0
        for number in sorted(self.hosts):
            session = trace.requests[number].session
            if session in last:
                turns += 1
                moved += last[session] != self.hosts[number]
            last[session] = self.hosts[number]
        return max(turns, 1), moved


def run(quick: bool, trace: Path | None = None, programs: str = "") -> Iterator[Table]:
    """The table of this benchmark."""
    if trace is None:
        raise SystemExit("llm_routers needs --trace FILE: a trace in Mooncake's format")
    read = read_trace(trace, limit=100 if quick else _REQUESTS)
    rows = []
    for router in _ROUTERS:
        path = os.pathsep.join([programs, str(Path(sys.executable).parent)])
        program = sys.executable if router.program == "hashring" else shutil.which(
            router.program, path=path)  # fmt: skip
        if program is None:
            rows.append(Row(router.name, "not installed"))
            continue
        rows.append(_measure(router, program, read))
        sys.stderr.write(f"{rows[-1].what}: {rows[-1].measured}\n")
    yield Table(
        "Routers of language models",
        rows,
        f"{len(read.requests):,} requests and {read.sessions:,} sessions of {read.format}, at "
        f"{_RATE:g} times the recorded rate, over {_ENGINES} engines without a model: "
        f"{_PREFILL:,.0f} tokens/s of prefill, one prompt at a time, {_DECODE:g} tokens/s of "
        "decode a request, an LRU cache of 2,048 blocks. All runs "
        f"{_SCALE:g} times faster, with times in seconds of the trace: 1 ms of a router is "
        f"{_SCALE:g} ms here. A prompt has a quarter of a byte for each token.",
    )


def _measure(router: _Router, program: str, trace: Trace) -> Row:
    numbers = (str(_ENGINES), str(_PREFILL * _SCALE), str(_DECODE * _SCALE))
    engines = (sys.executable, "-m", "benchmarks._fake_engines", *numbers)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        process = stack.enter_context(_running(list(engines), folder, subprocess.PIPE))
        assert process.stdout is not None
        ports = [int(process.stdout.readline()) for _ in range(_ENGINES)]
        hosts = [f"127.0.0.1:{port}" for port in ports]
        front = f"127.0.0.1:{_free()}"
        command = router.command(program, front, hosts, folder)
        log = stack.enter_context((folder / "log").open("wb"))
        started = stack.enter_context(_running(command, folder, log))
        why = asyncio.run(_until_ready(front, started))
        if why is not None:
            lines = (folder / "log").read_text(errors="replace").strip().splitlines()
            return Row(router.name, f"did not start: {why}; {' '.join(lines[-1:])[:200]}")
        return asyncio.run(_drive(front, trace)).row(router.name, trace)


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, out: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends with the block: litellm has children."""
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **({"PYTHONPATH": str(_ROOT)} if command[0] == sys.executable else {}),
    }
    errors = subprocess.DEVNULL if out == subprocess.PIPE else subprocess.STDOUT
    process = subprocess.Popen(
        command, stdout=out, stderr=errors, env=environment, start_new_session=True,
        cwd=_ROOT if command[0] == sys.executable else folder,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _until_ready(front: str, process: subprocess.Popen[bytes]) -> str | None:
    """Wait until a request is answered through the router; else why not."""
    end = time.monotonic() + _PATIENCE
    probe = _Outcome()
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"exit code {process.returncode}"
        await _ask(front, 0, TraceRequest(0.0, -1, 1, 1, ()), probe)
        if probe.firsts:
            return None
        await asyncio.sleep(0.5)
    return f"no answer in {_PATIENCE:g} s ({probe.errors[-1]})"


async def _drive(front: str, trace: Trace) -> _Outcome:
    """Send each request at its time, whatever the ones before it do."""
    chance = random.Random(1)
    moments = [(each.at + chance.random() * _SPREAD) / _RATE / _SCALE for each in trace.requests]
    outcome = _Outcome()
    loop = asyncio.get_running_loop()
    begun = loop.time() + 0.5
    async with asyncio.TaskGroup() as group:
        for number in sorted(range(len(moments)), key=moments.__getitem__):
            await asyncio.sleep(max(0.0, begun + moments[number] - loop.time()))
            group.create_task(_ask(front, number, trace.requests[number], outcome))
    return outcome


async def _ask(front: str, number: int, request: TraceRequest, outcome: _Outcome) -> None:
    text = prompt(request.blocks, request.input_tokens, request.output_tokens)
    body = json.dumps({
        "model": "m", "stream": True, "max_tokens": request.output_tokens,
        "messages": [{"role": "user", "content": text}],
    }).encode()  # fmt: skip
    session = f"session-{request.session}"
    names = ("x-session-id", "x-smg-routing-key", "x-litellm-session-id")
    fields = "".join(f"{name}: {session}\r\n" for name in names)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {front}\r\nConnection: close\r\n{fields}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    name, _, port = front.rpartition(":")
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_LATE):
            reader, writer = await asyncio.open_connection(name, int(port))
            try:
                writer.write(head.encode() + body)
                await _read(reader, number, began, outcome)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError) as error:
        outcome.errors.append(repr(error)[:200])


async def _read(reader: asyncio.StreamReader, number: int, began: float, outcome: _Outcome) -> None:
    seen, found = b"", None
    while found is None:
        piece = await reader.read(1 << 16)
        seen += piece
        found = _FIRST.search(seen)
        if not piece and found is None:
            outcome.errors.append(seen[:200].decode("utf-8", "replace").replace("\r\n", " "))
            return
    outcome.firsts[number] = time.perf_counter() - began
    outcome.hosts[number], outcome.cached[number] = int(found[1]), int(found[2])
    while await reader.read(1 << 16):  # to its end: a request counts until then
        pass


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])
