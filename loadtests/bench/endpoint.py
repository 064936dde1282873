"""The model's server over HTTP: what a request costs it beside the same work called in process, and beside a ping.

Closed loop: each of a few kept-alive connections has one request in hand, so the server's core is never idle. A run in
which this program was busier than it may be is refused, since it would then measure itself.
"""

import contextlib
import http.client
import itertools
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.part import BenchError, Part
from loadtests.bench.stack import Stack, free_port

CONNECTIONS = 8
RUNS, SECONDS = 7, 2.0
BATCH = 64
WARM_SECONDS, SETTLED = 1.0, 1.1  # a server is warm when a second costs no more than this times the next
MOST_WARMING = 60
SATURATED = 0.9  # of this program's core
HANDLER = "twenty_thousand_products_handler_cpu_ms"


@dataclass(frozen=True, slots=True)
class Run:
    """``cpu`` seconds of the server's per request, ``generator`` the share of its core that this program took."""

    rate: float
    cpu: float
    p50: float
    p99: float
    generator: float


def measure(stack: Stack) -> dict[str, float]:
    stack.say("measuring the handler in process")
    base = stack.folder / "endpoint"
    base.mkdir()
    in_process = base / "bench.json"
    stack.python(
        "handler", "-m", "ml", "bench", "--base", str(base), "--json", str(in_process), under_test=True
    ).finish()
    handler = float(json.loads(in_process.read_text())["figures"][HANDLER]) / 1e3
    server, port = serve(stack, base)
    messages = (base / "requests.jsonl").read_bytes().splitlines()
    ask = {
        "ping": [b"GET /ping HTTP/1.1\r\nHost: bench\r\n\r\n"],
        "single": [post(message) for message in messages],
        "batch64": [post(message) for message in batches(messages)],
    }
    stack.say("warming up")
    warm(server, port, ask["single"])
    runs: dict[str, list[Run]] = {name: [] for name in ask}
    for number in range(RUNS):
        for name, requests in ask.items():
            stack.say(f"{name}, run {number + 1} of {RUNS}")
            runs[name].append(load(server, port, requests, SECONDS))
    server.stop()
    return figures(stack, handler, runs)


def figures(stack: Stack, handler: float, runs: dict[str, list[Run]]) -> dict[str, float]:
    """Medians. ``…_by_cpu`` is what a core of the server's own would do, whatever else this machine does.

    A rate at which this program was the bottleneck is named as invalid. Pings are answered faster than it can ask, so
    theirs is none: their CPU is what counts.
    """
    single, batch, ping = runs["single"], runs["batch64"], runs["ping"]
    for key, asked_for in (("endpoint_single_rps", single), ("endpoint_batch64_queries_per_s", batch)):
        if (most := max(run.generator for run in asked_for)) > SATURATED:
            stack.invalid[key] = f"the load generator took {most:.0%} of its core: the server could not show its speed"
    made = {
        "endpoint_cpu_ratio": [run.cpu / handler for run in single],
        "endpoint_single_rps": [run.rate for run in single],
        "endpoint_batch64_queries_per_s": [run.rate * BATCH for run in batch],
        "endpoint_ping_cpu_ms": [run.cpu * 1e3 for run in ping],
        "endpoint_ratio_to_ping": [run.cpu / idle.cpu for run, idle in zip(single, ping, strict=True)],
        "endpoint_handler_cpu_ms": [handler * 1e3],
        "endpoint_single_cpu_ms": [run.cpu * 1e3 for run in single],
        "endpoint_single_rps_by_cpu": [1 / run.cpu for run in single],
        "endpoint_single_p50_ms": [run.p50 * 1e3 for run in single],
        "endpoint_single_p99_ms": [run.p99 * 1e3 for run in single],
        "endpoint_single_generator_share": [run.generator for run in single],
        "endpoint_batch64_cpu_ms_per_query": [run.cpu * 1e3 / BATCH for run in batch],
        "endpoint_batch64_queries_per_s_by_cpu": [BATCH / run.cpu for run in batch],
        "endpoint_batch64_p50_ms": [run.p50 * 1e3 for run in batch],
        "endpoint_batch64_p99_ms": [run.p99 * 1e3 for run in batch],
        "endpoint_batch64_generator_share": [run.generator for run in batch],
    }
    return {key: stack.median(key, values) for key, values in made.items() if key not in stack.invalid}


def serve(stack: Stack, base: Path) -> tuple[Part, int]:
    """The server as a container runs it, one worker, and its port. It is healthy when this returns."""
    port = free_port()
    env = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    part = stack.python("endpoint", "-m", "ml", "serve", under_test=True, env=env)
    part.wait_until(lambda: healthy(port))
    return part, port


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def post(body: bytes) -> bytes:
    head = f"POST /invocations HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def batches(messages: Sequence[bytes]) -> list[bytes]:
    """The same queries, BATCH in a request."""
    parsed = [json.loads(message) for message in messages]
    return [
        json.dumps(
            parsed[first] | {"queries": [query for each in parsed[first : first + BATCH] for query in each["queries"]]}
        ).encode()
        for first in range(0, len(parsed) - BATCH + 1, BATCH)
    ]


def warm(server: Part, port: int, requests: Sequence[bytes]) -> None:
    """Until the compiled kernel has taken over, which a server does in the background."""
    before = load(server, port, requests, WARM_SECONDS).cpu
    for _ in range(MOST_WARMING):
        now = load(server, port, requests, WARM_SECONDS).cpu
        if now < before * SETTLED and before < now * SETTLED:
            return
        before = now
    raise BenchError(f"the cost of a request to the endpoint has not settled in {MOST_WARMING * WARM_SECONDS:.0f} s")


def load(server: Part, port: int, requests: Sequence[bytes], seconds: float) -> Run:
    """Ask for ``seconds``. Raises BenchError for an answer other than 200."""
    connections = [connected(port) for _ in range(CONNECTIONS)]
    spent, own, began = server.cpu_seconds(), time.process_time(), time.perf_counter()
    taken = asked(connections, itertools.cycle(requests), began + seconds)
    elapsed, many = time.perf_counter() - began, len(taken)
    generator, cpu = (time.process_time() - own) / elapsed, server.cpu_seconds() - spent
    taken.sort()
    return Run(many / elapsed, cpu / many, taken[many // 2], taken[many * 99 // 100], generator)


def asked(connections: Sequence[socket.socket], requests: Iterator[bytes], until: float) -> list[float]:
    """Seconds of each request, from its sending to the last byte of its answer. Closes the connections."""
    poll, clock, taken = select.epoll(), time.perf_counter, list[float]()
    by_number = {connection.fileno(): connection for connection in connections}
    sent: dict[int, float] = {}
    received: dict[int, bytes] = {}
    with contextlib.ExitStack() as ending:
        ending.callback(poll.close)
        for connection in connections:
            ending.callback(connection.close)
        for number, connection in by_number.items():
            poll.register(number, select.EPOLLIN)
            sent[number] = clock()
            connection.sendall(next(requests))
        while sent:
            for number, _ in poll.poll():
                connection = by_number[number]
                piece = connection.recv(1 << 20)
                answer = received.pop(number, b"") + piece
                if not piece:
                    raise BenchError(f"the endpoint closed a connection after {answer[:200]!r}")
                if not whole(answer):
                    received[number] = answer
                    continue
                now = clock()
                taken.append(now - sent.pop(number))
                if now < until:
                    sent[number] = now
                    connection.sendall(next(requests))
    return taken


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def whole(answer: bytes) -> bool:
    """Whether all of it is there. Raises BenchError for anything but a 200."""
    if not answer.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"the endpoint answered {answer[:200]!r}")
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    start = head.find(b"content-length:") + len(b"content-length:")
    return len(answer) >= end + 4 + int(head[start:].partition(b"\r\n")[0])
