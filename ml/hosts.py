"""Several hosts that share one fit: each solves its blocks, the first gathers them.

Every host has the whole export. They meet by name, as resourceconfig.json says: the others connect to the first, send
each block when it is solved, and end. A host that ends before it has sent everything closes its connection, and that
fails the job. Only bytes travel, never pickles, and hosts know each other by the digest of what they work on.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Self, TypeVar

from ml.errors import MlError

PORT = 7777  # SageMaker leaves all ports between a job's hosts open; in a VPC the security group must allow this one
SILENCE_SECONDS = 900.0  # after which a host that neither sends nor ends counts as gone
START_SECONDS = 300.0  # names resolve, and hosts start, not all at once
END = b"end"

Made = TypeVar("Made")


class HostError(MlError):
    """A host of the job is gone, or works on something else."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The job's hosts in their order, and which of them this is."""

    names: tuple[str, ...]
    current: str

    @classmethod
    def of(cls, config: Mapping[str, object]) -> "Hosts":
        """From resourceconfig.json; a job without one has one host. Raises HostError."""
        names, current = config.get("hosts", ["algo-1"]), config.get("current_host", "algo-1")
        if not isinstance(names, list) or current not in names:
            raise HostError(f"resourceconfig.json: current_host {current!r:.60} is not one of hosts {names!r:.200}")
        return cls(tuple(sorted(names)), str(current))

    @property
    def leads(self) -> bool:
        return self.current == self.names[0]

    def solves(self, block: int) -> bool:
        return block % len(self.names) == self.names.index(self.current)


ONE_HOST = Hosts(("algo-1",), "algo-1")


def joined(hosts: Hosts, digest: str) -> "Leader | Follower | Alone":
    """This host's part in the fit of what ``digest`` names. Raises HostError if the others cannot be reached."""
    if len(hosts.names) == 1:
        return Alone()
    return Leader(hosts, digest) if hosts.leads else Follower(hosts, digest)


class Alone:
    """A job of one host."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def solves(self, block: int) -> bool:
        return True

    def give(self, name: str, content: bytes) -> None:
        pass

    def take(self, names: Sequence[str]) -> Mapping[str, bytes]:
        return {}


class Leader:
    """The first host: gathers what the others solve."""

    def __init__(self, hosts: Hosts, digest: str) -> None:
        self._hosts = hosts
        self._arrived: queue.SimpleQueue[tuple[str, str, bytes]] = queue.SimpleQueue()
        self._taken: dict[str, bytes] = {}
        self._awaited = set(hosts.names) - {hosts.current}
        self._whole = threading.Event()
        self._listening: list[threading.Thread] = []
        # What they work on is the password: who works on something else is not let in.
        self._listener = _retried(lambda: Listener((hosts.current, PORT), backlog=64, authkey=digest.encode()))

    def __enter__(self) -> Self:
        threading.Thread(target=self._welcome, name="welcome", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the others end, which wait until the fit is whole."""
        self._listener.close()
        if kind is None:
            self._whole.set()
            for thread in self._listening:
                thread.join()

    def solves(self, block: int) -> bool:
        return self._hosts.solves(block)

    def give(self, name: str, content: bytes) -> None:
        pass

    def take(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The named blocks, once all are here. Raises HostError if a host goes before."""
        while any(name not in self._taken for name in names):
            try:
                host, name, content = self._arrived.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                missing = ", ".join(sorted(self._awaited))
                raise HostError(f"{missing}: nothing was heard for {SILENCE_SECONDS:.0f} s") from None
            if not name:
                raise HostError(f"{host}: {content.decode()}")
            self._taken[name] = content
        return {name: self._taken.pop(name) for name in names}

    def _welcome(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except AuthenticationError:
                gone = b"works on other data, other hyperparameters or by other code than the first"
                self._arrived.put(("a host", "", gone))
            except EOFError:
                continue  # a stranger who knocked and went
            except OSError:
                return  # closed
            else:
                thread = threading.Thread(target=self._listen, args=(connection,), name="listen", daemon=True)
                self._listening.append(thread)
                thread.start()

    def _listen(self, connection: "Connection[bytes, bytes]") -> None:
        host = "a host"
        try:
            host = connection.recv_bytes().decode()
            while (name := connection.recv_bytes()) != END:
                self._arrived.put((host, name.decode(), connection.recv_bytes()))
            self._awaited.discard(host)
            self._whole.wait()
            connection.send_bytes(END)
        except (EOFError, OSError):
            self._arrived.put((host, "", b"ended before it had sent its share of the fit"))
        finally:
            connection.close()


class Follower:
    """Any other host: sends what it solves to the first."""

    def __init__(self, hosts: Hosts, digest: str) -> None:
        self._hosts = hosts
        self._leader = hosts.names[0]
        try:
            self._connection = _retried(lambda: Client((self._leader, PORT), authkey=digest.encode()))
        except AuthenticationError:
            raise HostError(f"{self._leader} works on other data, other hyperparameters or by other code") from None
        self._send(hosts.current.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until the fit is whole: a container's connections may end with it, and so may what they carry."""
        try:
            if kind is None:
                self._send(END)
                self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._gone() from None
        finally:
            self._connection.close()

    def solves(self, block: int) -> bool:
        return self._hosts.solves(block)

    def give(self, name: str, content: bytes) -> None:
        self._send(name.encode())
        self._send(content)

    def take(self, names: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    def _send(self, content: bytes) -> None:
        try:
            self._connection.send_bytes(content)
        except OSError:
            raise self._gone() from None

    def _gone(self) -> HostError:
        return HostError(f"{self._leader} ended before the fit was whole; look at its log")


def _retried(make: Callable[[], Made]) -> Made:
    """A name may not resolve, and the first host may not listen, in a job's first seconds."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return make()
        except OSError as error:
            if time.monotonic() > deadline:
                raise HostError(f"the job's hosts cannot reach each other on port {PORT}: {error}") from None
            time.sleep(0.2)
