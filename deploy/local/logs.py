"""Containers' logs, in CloudWatch Logs where SageMaker would send them."""

import time
from pathlib import Path

from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.logs.models import logs_backends

TRAINING = "/aws/sagemaker/TrainingJobs"
ENDPOINTS = "/aws/sagemaker/Endpoints"


class Stream:
    """One log stream, made when its first line comes."""

    def __init__(self, region: str, group: str, name: str) -> None:
        self._backend = logs_backends[ACCOUNT][region]
        self._group = group
        self._name = name
        self._made = False

    def send(self, lines: list[str]) -> None:
        events = [{"timestamp": int(time.time() * 1_000), "message": line} for line in lines if line]
        if not events:
            return
        if not self._made:
            self._backend.ensure_log_group(self._group)
            self._backend.create_log_stream(self._group, self._name)
            self._made = True
        self._backend.put_log_events(self._group, self._name, events)


class Follower:
    """A log file that is being written, read line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read, self._unfinished = 0, b""

    def lines(self) -> list[str]:
        """Those finished since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return []
        self._read += len(new)
        *lines, self._unfinished = (self._unfinished + new).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def rest(self) -> list[str]:
        """What is left, the last line's missing end included; nothing when it is asked again."""
        lines = [*self.lines(), self._unfinished.decode(errors="replace")]
        self._unfinished = b""
        return lines
