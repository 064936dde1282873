"""What is said on the wire, byte by byte, to a server that echoes what it was asked."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess

import pytest
import uvloop

from ml.http import MOST_HEAD, Request, Response, Server, in_workers

MOST_BODY = 1_000_000
POST = b"POST /echo?x=1 HTTP/1.1\r\nHost: here\r\n"


def echo(request: Request) -> Response:
    if request.path == "/bug":
        raise RuntimeError("a bug")
    if request.path == "/worker":
        return Response("200 OK", str(os.getpid()).encode())
    return Response("200 OK", f"{request.method} {request.path} {len(request.body)}".encode())


def work(listener: socket.socket) -> None:
    uvloop.run(Server(echo, MOST_BODY, drain_seconds=5).run(listener))


def listen(listener: socket.socket, workers: int) -> None:
    sys.exit(in_workers(partial(work, listener), workers))


@contextmanager
def served(workers: int = 1) -> Iterator[tuple[int, BaseProcess]]:
    """Its port and the process that minds the workers. One that still runs is ended as a container is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("spawn").Process(target=listen, args=(listener, workers))
        process.start()
        port = int(listener.getsockname()[1])
    try:
        said(port, b"GET / HTTP/1.0\r\n\r\n")
        yield port, process
    finally:
        process.terminate()
        process.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as (port, _):
        yield port


def said(port: int, *pieces: bytes) -> bytes:
    """All that is answered until the server closes, or has no more to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def bodies(answer: bytes) -> list[bytes]:
    return [each.partition(b"\r\n\r\n")[2] for each in answer.split(b"HTTP/1.1 200 OK")[1:]]


def test_a_request_in_pieces_is_one_request(port: int) -> None:
    request = POST + b"Content-Length: 11\r\n\r\nhello world"

    assert bodies(said(port, *(request[n : n + 9] for n in range(0, len(request), 9)))) == [b"POST /echo 11"]


def test_requests_in_one_piece_are_answered_in_order(port: int) -> None:
    asked = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(5))

    assert bodies(said(port, asked)) == [b"GET /%d 0" % n for n in range(5)]


def test_a_chunked_body_is_put_together(port: int) -> None:
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n"

    assert bodies(said(port, POST + chunks)) == [b"POST /echo 8"]


def test_who_expects_to_be_told_to_go_on_is_told_so_before_the_body(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert bodies(connection.recv(1000)) == [b"POST /echo 2"]


def test_a_head_is_answered_without_a_body(port: int) -> None:
    answer = said(port, b"HEAD / HTTP/1.1\r\n\r\n")

    assert b"Content-Length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_body_that_is_too_long_is_read_to_its_end_and_cut(port: int) -> None:
    long = b"x" * (3 * MOST_BODY)

    (found,) = bodies(said(port, POST + b"Content-Length: %d\r\n\r\n" % len(long), long))

    assert MOST_BODY < int(found.split()[-1]) < 2 * MOST_BODY


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", b"400 Bad Request"),  # request smuggling
        (POST + b"X: " + b"x" * (MOST_HEAD + 1), b"431 Request Header Fields Too Large"),
        (b"GET /bug HTTP/1.1\r\n\r\n", b"500 Internal Server Error"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"200 OK"),
    ],
)
def test_a_connection_that_cannot_go_on_is_closed_after_its_answer(port: int, asked: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(asked)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1


def test_sigterm_waits_for_requests_in_hand_and_for_nobody_else() -> None:
    with (
        served() as (port, process),
        socket.create_connection(("127.0.0.1", port), timeout=10) as idle,
        socket.create_connection(("127.0.0.1", port), timeout=10) as asking,
    ):
        asking.sendall(POST + b"Content-Length: 4\r\n\r\nhe")
        time.sleep(0.2)
        process.terminate()
        assert idle.recv(1) == b""
        asking.sendall(b"re")
        answer = asking.recv(1000)

    assert bodies(answer) == [b"POST /echo 4"]
    assert b"Connection: close" in answer
    assert process.exitcode == 0


def worker_of(port: int) -> int:
    return int(bodies(said(port, b"GET /worker HTTP/1.1\r\n\r\n"))[0])


def test_workers_share_the_door_and_end_together() -> None:
    with served(workers=2) as (port, process):
        found = worker_of(port)

    assert found != process.pid
    assert process.exitcode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(found, 0)


def end_soon_after_the_start() -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(30)


def in_two_workers() -> None:
    sys.exit(in_workers(end_soon_after_the_start, 2))


def test_workers_that_are_told_to_end_before_they_have_begun_just_go() -> None:
    process = multiprocessing.get_context("spawn").Process(target=in_two_workers)
    process.start()
    process.join(10)

    assert process.exitcode == 0


def test_a_worker_that_dies_takes_the_container_with_it() -> None:
    with served(workers=2) as (port, process):
        os.kill(worker_of(port), signal.SIGKILL)
        process.join(10)

        assert process.exitcode == 1
