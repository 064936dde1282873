"""One host of a training job: what it finds below /opt/ml, its process, its log, and its checkpoints' way to S3."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from deploy.local import containers, logs
from deploy.local.containers import PROJECT, Failure
from deploy.local.host import Host
from deploy.local.logs import Follower, Stream
from deploy.local.process import Process
from deploy.local.storage import NoSuchObject
from deploy.local.transitions import REASON_LIMIT, Job

GROUP = "homogeneousCluster"
_jobs = count()


def names(hosts: int) -> list[str]:
    """Of a job's hosts: SageMaker's, or where they must reach each other addresses of this machine's own, 127/8.

    Nothing here resolves algo-2. Every job has addresses of its own, so jobs may use the same ports at once.
    """
    if hosts == 1:
        return ["algo-1"]
    job = next(_jobs)
    return [f"127.{1 + os.getpid() % 250}.{job % 250}.{1 + number}" for number in range(hosts)]


class Instance:
    """``number`` counts a job's hosts from 1, ``attempt`` how often Spot has brought the job back, from 1."""

    def __init__(self, region: str, job: Job, host: Host, hosts: Sequence[str], number: int, attempt: int) -> None:
        self.name = f"algo-{number}"
        self.base = host.work / f"job-{job.training_job_name}" / self.name
        self._region = region
        self._job = job
        self._storage = host.storage
        self._hosts = hosts
        self._address = hosts[number - 1]
        parts = [f"training-{job.training_job_name}", *[self.name] * (number > 1), *[f"run-{attempt}"] * (attempt > 1)]
        log = host.logs / f"{'.'.join(parts)}.log"
        image = job.algorithm_specification.get("TrainingImage", "")
        platform = {"TRAINING_JOB_NAME": job.training_job_name, "TRAINING_JOB_ARN": job.arn}
        env = containers.environment(self.base, region, platform, job.environment)
        command = containers.command(host.images, image, "train")
        self._process = Process(f"{job.training_job_name}/{self.name}", command, env=env, log=log, cwd=PROJECT)
        self._log = Follower(log)
        self._synced: dict[str, tuple[int, int]] = {}

    def lay_out(self) -> None:
        """What a container finds below /opt/ml. Raises Failure, or NoSuchObject."""
        job = self._job
        shutil.rmtree(self.base, ignore_errors=True)
        for folder in ("input/config", "input/data", "model", "output/data"):
            (self.base / folder).mkdir(parents=True)
        config = {
            "hyperparameters": job.hyper_parameters or {},
            "inputdataconfig": {each["ChannelName"]: self._channel(each) for each in job.input_data_config or []},
            "resourceconfig": self._resources(),
        }
        for name, content in config.items():
            (self.base / "input/config" / f"{name}.json").write_text(json.dumps(content))
        if job.checkpoint_config:
            (self.base / "checkpoints").mkdir()
            self._download(job.checkpoint_config["S3Uri"], self.base / "checkpoints", needed=False)
            self._synced = self._checkpoints()

    def start(self) -> None:
        self._process.start()
        stream = f"{self._job.training_job_name}/{self.name}-{int(time.time() * 1_000)}"  # attempts follow closely
        self._stream = Stream(self._region, logs.TRAINING, stream)

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll()

    def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after ``grace`` seconds; without any grace, no warning and no last look at its files."""
        if grace:
            self._process.stop(grace)
            self.sync()
        else:
            self._process.kill()

    def listen(self) -> list[str]:
        """The lines of its log since the last time, which go to CloudWatch Logs too."""
        lines = self._log.lines() if self.poll() is None else self._log.rest()
        self._stream.send(lines)
        return lines

    def last_words(self) -> str:
        """What the container left in its failure file, else its log's last line."""
        words = ""
        with contextlib.suppress(OSError):
            words = (self.base / "output/failure").read_text(errors="replace").strip()
        return (words or self._process.tail(1).strip() or "the container said nothing")[: REASON_LIMIT - 80]

    @property
    def spoke(self) -> bool:
        """Whether it left a failure file."""
        return (self.base / "output/failure").exists()

    def sync(self) -> None:
        """Bring S3 up to its checkpoints: what is new, what has changed, what is gone."""
        if not self._job.checkpoint_config:
            return
        prefix, found = self._job.checkpoint_config["S3Uri"].rstrip("/"), self._checkpoints()
        for name in self._synced.keys() - found.keys():
            self._storage.remove(f"{prefix}/{name}")
        for name in sorted(name for name, state in found.items() if self._synced.get(name) != state):
            with contextlib.suppress(FileNotFoundError):  # it was a temporary file
                self._storage.write(f"{prefix}/{name}", (self.base / "checkpoints" / name).read_bytes())
        self._synced = found

    def _checkpoints(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for path in sorted((self.base / "checkpoints").rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    state = path.stat()
                    found[str(path.relative_to(self.base / "checkpoints"))] = state.st_mtime_ns, state.st_size
        return found

    def _channel(self, channel: Mapping[str, Any]) -> dict[str, str]:
        """Bring one channel's objects here; returns what the container is told of it."""
        mode = channel.get("InputMode") or self._job.algorithm_specification.get("TrainingInputMode", "File")
        if mode not in {"File", "FastFile"}:
            raise Failure(f"ClientError: the local cloud knows no input mode {mode}")
        source = channel["DataSource"]["S3DataSource"]
        distribution = source.get("S3DataDistributionType", "FullyReplicated")
        if distribution != "FullyReplicated" and len(self._hosts) > 1:
            raise Failure(f"ClientError: the local cloud knows no distribution {distribution}")
        self._download(source["S3Uri"], self.base / "input/data" / channel["ChannelName"], needed=True)
        return {"TrainingInputMode": "File", "S3DistributionType": distribution, "RecordWrapperType": "None"}

    def _resources(self) -> dict[str, Any]:
        kind = self._job.resource_config.get("InstanceType", "")
        return {
            "current_host": self._address,
            "current_instance_type": kind,
            "current_group_name": GROUP,
            "hosts": list(self._hosts),
            "instance_groups": [
                {"instance_group_name": GROUP, "instance_type": kind, "hosts": list(self._hosts)},
            ],
            "network_interface_name": "lo",
        }

    def _download(self, prefix: str, directory: Path, *, needed: bool) -> None:
        found = self._storage.below(prefix)
        if needed and not found:
            raise NoSuchObject(f"no S3 objects found under {prefix}")
        for url, name in found:
            path = (directory / name).resolve()
            if not path.is_relative_to(directory.resolve()):
                raise Failure(f"ClientError: the key of {url} leads out of its channel")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._storage.read(url))
