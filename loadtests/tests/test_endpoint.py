"""The endpoint's bench counts what a server really did, refuses what is no answer, and does not blame it for itself."""

import json

import pytest

from loadtests.bench.endpoint import Run, batches, figures, load, post, whole
from loadtests.bench.part import BenchError, Part
from loadtests.bench.stack import Stack, answers, free_port

SERVER = """
import sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(sys.argv[2]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1])
        self.wfile.flush()
        time.sleep(0.002)
        self.wfile.write(body[1:])

    def log_message(self, *said):
        pass

ThreadingHTTPServer.request_queue_size = 64
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
MESSAGES = [json.dumps({"version": 1, "queries": [{"slate_id": str(number)}]}).encode() for number in range(130)]


def server(stack: Stack, status: int = 200) -> tuple[Part, int]:
    port = free_port()
    part = stack.python("server", "-c", SERVER, str(port), str(status), under_test=True)
    part.wait_until(lambda: answers(port))
    return part, port


def test_a_run_measures_rate_latency_and_the_servers_own_cpu() -> None:
    with Stack() as stack:
        run = load(*server(stack), [post(message) for message in MESSAGES], 1.0)

    assert run.rate > 10
    assert 0.002 < run.p50 <= run.p99
    assert 0 < run.cpu < 1 / run.rate * 1.5
    assert 0 < run.generator < 1


def test_an_answer_other_than_200_ends_the_measurement() -> None:
    with Stack() as stack, pytest.raises(BenchError, match="503"):
        load(*server(stack, 503), [post(b"{}")], 0.2)


def test_a_rate_at_which_this_program_was_the_bottleneck_is_named_and_no_figure() -> None:
    stack, idle, busy = Stack(), Run(1000.0, 0.001, 0.002, 0.003, 0.4), Run(1000.0, 0.001, 0.002, 0.003, 0.95)
    made = figures(stack, 0.001, {"ping": [busy], "single": [busy], "batch64": [idle]})

    assert made["endpoint_cpu_ratio"] == 1
    assert made["endpoint_batch64_queries_per_s"] == 64_000
    assert "endpoint_single_rps" not in made
    assert "95% of its core" in stack.invalid["endpoint_single_rps"]


def test_an_answer_is_whole_when_its_last_byte_is_there() -> None:
    answer = b"HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 4\r\n\r\nbody"

    assert [whole(answer[:many]) for many in range(15, len(answer) + 1)] == [False] * (len(answer) - 15) + [True]


def test_batches_hold_each_query_once() -> None:
    made = [json.loads(body)["queries"] for body in batches(MESSAGES)]

    assert [len(queries) for queries in made] == [64, 64]
    assert [query["slate_id"] for queries in made for query in queries] == [str(number) for number in range(128)]
