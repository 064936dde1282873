"""HTTP/1.1 for one function that computes: a thread reads a request, answers it and writes the answer.

Handing requests to another thread and back, as servers of WSGI do, costs as much again as an answer of this model. So
llhttp (Node's parser, by httptools) parses, asyncio reads and writes, and the function is called in between: while it
computes, everybody waits, as they would for its one core anyway. Its callers are SageMaker's proxy and a shop's
workers, so there is no TLS and no time limit on idle connections.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from multiprocessing import connection
from typing import NamedTuple

import httptools

MOST_HEAD = 65_536  # bytes of a request's line and headers
ENDINGS = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 0.1  # after SIGTERM, for requests that are on their way
logger = logging.getLogger(__name__)


class Request(NamedTuple):
    method: str
    path: str  # without its query
    body: bytes  # of a longer one, the first bytes: more than ``most_body`` of them


class Response(NamedTuple):
    status: str  # such as "200 OK"
    body: bytes = b""
    allow: str = ""  # methods, for a 405


Handler = Callable[[Request], Response]


class Server:
    """Calls ``handler``, which must not raise, for each request, until SIGTERM or SIGINT."""

    def __init__(self, handler: Handler, most_body: int, drain_seconds: float) -> None:
        self.handler, self.most_body, self.drain_seconds = handler, most_body, drain_seconds
        self.connections: set[Connection] = set()
        self.ending = False

    async def run(self, listener: socket.socket) -> None:
        """Returns when the requests in hand are answered, at most ``drain_seconds`` after the signal."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        for number in ENDINGS:
            loop.add_signal_handler(number, ended.set)
        doors = await loop.create_server(lambda: Connection(self), sock=listener, backlog=1024)
        await ended.wait()
        self.ending = True
        doors.close()
        await asyncio.sleep(GRACE_SECONDS)
        for each in tuple(self.connections):
            each.close_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.drain_seconds):
                while self.connections:
                    await asyncio.sleep(0.02)


class Connection(asyncio.Protocol):
    """One caller, whose requests are answered in the order in which they come."""

    _transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._head = 0  # bytes of the head that is being read
        self._body: list[bytes] | None = None  # None between requests and in a head
        self._read = 0  # bytes of the body
        self._path = b""
        self._expects = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream protocol
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)

    def pause_writing(self) -> None:
        """Who does not read answers is not read either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def close_when_idle(self) -> None:
        """Now if no part of a request is here; else after its answer, since the server is ending."""
        if self._body is None and not self._head:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._body is None:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as if it had not been asked for
            self._transport.close()
        except httptools.HttpParserCallbackError:
            logger.exception("an answer failed")
            self._send(Response("500 Internal Server Error"), last=True)
        except httptools.HttpParserError:
            self._send(Response("400 Bad Request"), last=True)
        if self._body is None and self._head > MOST_HEAD:
            self._send(Response("431 Request Header Fields Too Large"), last=True)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._body, self._read, self._head = [], 0, 0
        if self._expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """Keep what shows that a body is too long; read the rest away, so that its sender hears why."""
        if self._read <= self._server.most_body and self._body is not None:
            self._body.append(piece)
        self._read += len(piece)

    def on_message_complete(self) -> None:
        method, path = self._parser.get_method().decode(), self._path.partition(b"?")[0].decode("latin-1")
        body, self._body, self._path, self._expects = b"".join(self._body or ()), None, b"", False
        if self._transport.is_closing():
            return
        response = self._server.handler(Request(method, path, body))
        self._send(response, last=self._server.ending or not self._parser.should_keep_alive(), bare=method == "HEAD")

    def _send(self, response: Response, *, last: bool, bare: bool = False) -> None:
        head = (
            f"HTTP/1.1 {response.status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(response.body)}\r\nDate: {_date(int(time.time()))}\r\n"
        )
        if response.allow:
            head += f"Allow: {response.allow}\r\n"
        if last:
            head += "Connection: close\r\n"
        self._transport.write(f"{head}\r\n".encode() + (b"" if bare else response.body))
        if last:
            self._transport.close()


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def in_workers(work: Callable[[], None], many: int) -> int:
    """``work`` in this process, or in ``many`` that share its memory and end together. Returns the exit status."""
    if many == 1:
        work()
        return 0
    workers = [multiprocessing.get_context("fork").Process(target=_one, args=(work,)) for _ in range(many)]
    ended = False

    def end(*_: object) -> None:
        """Once: a worker that has left its loop has no ear for a second signal, and would die of it."""
        nonlocal ended
        if not ended:
            ended = True
            for worker in workers:
                worker.terminate()

    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)  # one that comes meanwhile waits for its handler
    for worker in workers:
        worker.start()
    for number in ENDINGS:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    connection.wait([worker.sentinel for worker in workers])
    if not ended:
        print("serve: a worker died, so the others end too", file=sys.stderr)
    end()
    for worker in workers:
        worker.join()
    return int(any(worker.exitcode for worker in workers))


def _one(work: Callable[[], None]) -> None:
    """A worker that is told to end before it has begun has nothing in hand: it just goes."""
    for number in ENDINGS:
        signal.signal(number, lambda *_: sys.exit())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    work()
