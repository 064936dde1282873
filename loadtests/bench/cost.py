"""What a page costs besides time: its round trips to Redis, its queries, its calls to AWS. Counted from outside.

Redis tells what it is asked (MONITOR), the server counts its queries in ``Server-Timing``, and in place of AWS there is
a socket that counts who knocks.
"""

import re
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from redis import Redis

from loadtests.bench.part import BenchError

MARK = "a page begins"
QUERIES = re.compile(r'\bdb;[^,]*desc="(\d+) quer')
# A monitored command: from where ("lua" for what a script does inside Redis) and what.
COMMAND = re.compile(rb'^\+[\d.]+ \[\d+ (\S+)\] "(\w+)"')
CARRIED = frozenset({b"HINCRBY", b"HSET"})  # the process's own counts, which a thread carries to Redis once a second


class Knocks:
    """A socket in place of AWS. Nobody answers; what counts is that somebody came."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._socket.setblocking(False)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()

    def count(self) -> int:
        """How many came since the last look."""
        came = 0
        while True:
            try:
                self._socket.accept()[0].close()
            except BlockingIOError:
                return came
            came += 1


def queries(address: str, cookie: str) -> int:
    """Of a page that was looked at before. Raises BenchError if the server does not tell."""
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Cookie": cookie})) as answer:
        found = QUERIES.search(answer.headers.get("Server-Timing", ""))
        answer.read()
    if not found:
        raise BenchError(f"{urlsplit(address).path} does not tell its queries in Server-Timing")
    return int(found[1])


def round_trips(redis_port: int, looks: Sequence[Callable[[], object]]) -> list[int]:
    """What Redis was asked during each look, by connections that do more than carry counts."""
    with socket.create_connection(("127.0.0.1", redis_port), timeout=5) as monitor, Redis(port=redis_port) as marker:
        monitor.sendall(b"MONITOR\r\n")
        if not monitor.recv(100).startswith(b"+OK"):
            raise BenchError("Redis does not tell what it is asked")
        for look in looks:
            marker.echo(MARK)
            look()
        marker.echo(MARK)
        told = b""
        while told.count(MARK.encode()) <= len(looks) or not told.endswith(b"\r\n"):
            told += monitor.recv(1 << 20)
    return counted(told, len(looks))


def counted(told: bytes, looks: int) -> list[int]:
    """Commands in each look, from what MONITOR told."""
    asked: list[Counter[bytes]] = []
    others: set[bytes] = set()  # connections that do more than carry counts
    for line in told.split(b"\r\n"):
        if MARK.encode() in line:
            asked.append(Counter())
        elif asked and (found := COMMAND.match(line)) and found[1] != b"lua":
            asked[-1][found[1]] += 1
            if found[2].upper() not in CARRIED:
                others.add(found[1])
    return [sum(many for where, many in one.items() if where in others) for one in asked[:looks]]
