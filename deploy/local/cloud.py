"""The local cloud: a stand-in for AWS on two loopback ports, for development, tests and `make demo`.

boto3 reaches it through ``AWS_ENDPOINT_URL=http://127.0.0.1:<port>`` (control plane, S3, CloudWatch…) and
``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://127.0.0.1:<runtime port>`` (InvokeEndpoint); nothing else differs from AWS.
"""

import contextlib
import errno
import logging
import shutil
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.local import alarms, storage
from deploy.local.capture import Capture
from deploy.local.containers import IMAGES
from deploy.local.control import Control
from deploy.local.endpoints import Endpoints
from deploy.local.host import Host
from deploy.local.jobs import Jobs
from deploy.local.lookout import Lookout
from deploy.local.metrics import Metrics
from deploy.local.registry import Registry
from deploy.local.runtime import Runtime
from deploy.local.scaling import Scaler
from deploy.local.storage import CorruptState, Storage
from deploy.local.tuning import Tunings

log = logging.getLogger("deploy.local")


class PortInUse(Exception):
    """Something else listens where the local cloud should."""


class Cloud:
    """Everything of the local cloud, wired. State lives in moto's process-wide memory: one Cloud at a time."""

    def __init__(self, port: int, runtime_port: int, state: Path, images: Mapping[str, Sequence[str]] = IMAGES) -> None:
        self._ports = (port, runtime_port)
        self._state = state
        self._work = state / "work"
        self._storage = Storage(state / "s3")
        self._registry = Registry(state / "sagemaker.json")
        host = Host(self._storage, self.keep, images, work=self._work, logs=state / "logs")
        self._faults = host.faults
        self._jobs = Jobs(host)
        self._tunings = Tunings(host, self._jobs)
        self._endpoints = Endpoints(host)
        self._lookouts = Lookout("alarms", alarms.look), Lookout("scaling", Scaler(self._endpoints).look)
        self._opened = contextlib.ExitStack()
        self._control: Control
        self._runtime: Runtime

    def start(self) -> None:
        """Restore what was kept, listen, and start the kept endpoints. Raises PortInUse, or CorruptState."""
        with contextlib.ExitStack() as opened:
            ports = [opened.enter_context(_listen(number)) for number in self._ports]
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir(parents=True)
            count = self._storage.restore()
            self._registry.restore()
            self._control = Control(self._jobs, self._tunings, self._endpoints, self._storage, self.keep, ports[0])
            self._runtime = Runtime(self._endpoints, Capture(self._storage), Metrics(), ports[1], self._faults)
            self._opened = opened.pop_all()
        self._jobs.settle()
        self._tunings.settle()
        self._runtime.start()
        self._control.start()
        self._endpoints.resume()
        for lookout in self._lookouts:
            lookout.start()
        log.info("%d objects restored from %s, %s", count, self._state, storage.free(self._state))

    def keep(self) -> None:
        """Bring the disk up to date. Raises OSError, for example when it is full."""
        self._storage.keep()
        self._registry.keep()

    def close(self) -> None:
        """Stop every child, then the servers, and keep what changed last."""
        self._control.close()
        for lookout in self._lookouts:
            lookout.close()
        self._tunings.end()
        self._jobs.close()
        self._tunings.close()
        self._endpoints.close()
        self._runtime.close()
        self.keep()
        self._opened.close()
        shutil.rmtree(self._work, ignore_errors=True)


def run(port: int, runtime_port: int, state: Path, images: Mapping[str, Sequence[str]] = IMAGES) -> None:
    """Serve until SIGTERM or SIGINT. Raises SystemExit with one clear line if it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s local cloud (a stand-in for AWS): %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with _clear_errors(state):
        cloud = Cloud(port, runtime_port, state, images)
        cloud.start()  # what cannot be restored stays as it is: close() would write over it
        try:
            log.info(
                "ready: control plane and S3 at http://127.0.0.1:%d, runtime at http://127.0.0.1:%d", port, runtime_port
            )
            ended.wait()
        finally:
            cloud.close()


@contextlib.contextmanager
def _clear_errors(state: Path) -> Iterator[None]:
    try:
        yield
    except (PortInUse, CorruptState) as error:
        raise SystemExit(f"local cloud: {error}") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise SystemExit(f"local cloud: the disk is full ({storage.free(state)}): free some space") from None
        raise


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"port {port} cannot be had ({error.strerror}): stop what listens there, or choose another"
        ) from None
    listener.listen(512)
    return listener
