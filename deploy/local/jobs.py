"""Training jobs that really run: CreateTrainingJob's request becomes a process under SageMaker's directory contract.

moto only answers "Completed". Here the channels come out of S3, the image's command trains, its log goes to a file and
to CloudWatch Logs, its exit code decides, and model.tar.gz goes back to S3.
"""

import contextlib
import datetime
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moto.core.utils import utcnow

from deploy.local import containers, logs, registry
from deploy.local.containers import PROJECT, Failure
from deploy.local.host import Host
from deploy.local.logs import Follower, Stream
from deploy.local.process import Process
from deploy.local.storage import NoSuchObject

STOP_SECONDS = 120.0  # SageMaker's wait between SIGTERM and SIGKILL of a training container
DAY_SECONDS = 86_400
REASON_LIMIT = 1_024  # characters of a FailureReason
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job exceeded MaxRuntimeInSeconds provided",
}

# moto's FakeTrainingJob: a bag of attributes, DescribeTrainingJob's fields in snake case, which gains some here.
Job = Any

log = logging.getLogger("deploy.local")


class Jobs:
    """Every training job of this program's life."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._runs: dict[tuple[str, str], Run] = {}

    def settle(self) -> None:
        """Jobs that a former life of this program left running have failed."""
        for _, backend in registry.regions():
            for job in backend.training_jobs.values():
                if job.training_job_status in {"InProgress", "Stopping"}:
                    _end(job, "Failed", "InternalServerError: the local cloud ended while the job ran")

    def start(self, region: str, job: Job) -> None:
        """Run a job that was just created."""
        run = Run(region, job, self._host)
        self._runs[region, job.training_job_name] = run
        run.start()

    def stop(self, region: str, name: str) -> None:
        """StopTrainingJob: SIGTERM, then SIGKILL 120 s later."""
        if run := self._runs.get((region, name)):
            run.stop("Stopped")

    def close(self) -> None:
        """End what still runs, because the local cloud ends."""
        for run in self._runs.values():
            run.abort()
        for run in self._runs.values():
            run.join()


class Run(threading.Thread):
    """One job from Starting to its end."""

    def __init__(self, region: str, job: Job, host: Host) -> None:
        super().__init__(name=f"job-{job.training_job_name}")
        self._region = region
        self._job = job
        self._host = host
        self._base = host.work / f"job-{job.training_job_name}"
        self._log_path = host.logs / f"training-{job.training_job_name}.log"
        self._ending = threading.Event()
        self._outcome = "Completed"
        self._grace = STOP_SECONDS
        self._values: dict[str, float] = {}
        _begin(job)

    def stop(self, outcome: str) -> None:
        """Ask the job to end as ``outcome``: Stopped or MaxRuntimeExceeded."""
        if not self._ending.is_set() and self.is_alive():
            self._outcome = outcome
            self._job.training_job_status = "Stopping"
            _move(self._job, "Stopping")
            self._ending.set()

    def abort(self) -> None:
        """Stop without the two minutes that AWS would give."""
        self._grace = 5.0
        self.stop("Stopped")

    def run(self) -> None:
        reason = None
        try:
            self._train()
            outcome = self._outcome
        except Failure as failure:
            outcome, reason = "Failed", str(failure)
        except NoSuchObject as missing:
            outcome, reason = "Failed", f"ClientError: {missing}"
        except OSError as error:
            outcome, reason = "Failed", f"InternalServerError: {error}"
        except Exception as error:
            log.exception("training job %s", self._job.training_job_name)
            outcome, reason = "Failed", f"InternalServerError: {error!r}"
        shutil.rmtree(self._base, ignore_errors=True)
        _end(self._job, outcome, reason)
        log.info("training job %s: %s %s", self._job.training_job_name, outcome, reason or "")
        try:
            self._host.keep()
        except OSError as error:
            log.error("training job %s is not kept: %s", self._job.training_job_name, error)

    def _train(self) -> None:
        job = self._job
        command = containers.command(self._host.images, job.algorithm_specification.get("TrainingImage", ""), "train")
        if job.resource_config.get("InstanceCount", 1) != 1:
            raise Failure("ClientError: the local cloud trains on one instance")
        _move(job, "Downloading")
        self._lay_out()
        if self._ending.is_set():
            return
        _move(job, "Training")
        job.training_start_time = utcnow()
        try:
            self._execute(command)
        finally:
            job.final_metric_data_list = [
                {"MetricName": name, "Value": value, "Timestamp": utcnow()} for name, value in self._values.items()
            ]
        if self._outcome == "Completed":
            _move(job, "Uploading")
        self._upload()

    def _lay_out(self) -> None:
        """What a container finds below /opt/ml."""
        job = self._job
        shutil.rmtree(self._base, ignore_errors=True)
        for folder in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (self._base / folder).mkdir(parents=True)
        channels: dict[str, Any] = {}
        for channel in job.input_data_config or []:
            mode = channel.get("InputMode") or job.algorithm_specification.get("TrainingInputMode", "File")
            if mode not in {"File", "FastFile"}:
                raise Failure(f"ClientError: the local cloud knows no input mode {mode}")
            source = channel["DataSource"]["S3DataSource"]
            self._download(source["S3Uri"], self._base / "input/data" / channel["ChannelName"], needed=True)
            channels[channel["ChannelName"]] = {
                "TrainingInputMode": "File",
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": "None",
            }
        if job.checkpoint_config:
            self._download(job.checkpoint_config["S3Uri"], self._base / "checkpoints", needed=False)
        kind = job.resource_config.get("InstanceType", "")
        config = {
            "hyperparameters": job.hyper_parameters or {},
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": "algo-1",
                "current_instance_type": kind,
                "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"],
                "instance_groups": [
                    {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": ["algo-1"]}
                ],
                "network_interface_name": "lo",
            },
        }
        for name, content in config.items():
            (self._base / "input/config" / f"{name}.json").write_text(json.dumps(content))

    def _download(self, prefix: str, directory: Path, *, needed: bool) -> None:
        found = self._host.storage.below(prefix)
        if needed and not found:
            raise NoSuchObject(f"no S3 objects found under {prefix}")
        for url, name in found:
            path = (directory / name).resolve()
            if not path.is_relative_to(directory.resolve()):
                raise Failure(f"ClientError: the key of {url} leads out of its channel")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._host.storage.read(url))

    def _execute(self, command: Sequence[str]) -> None:
        """Run the container to its end. Raises Failure if its exit code is not 0 and nobody asked it to end."""
        job = self._job
        platform = {"TRAINING_JOB_NAME": job.training_job_name, "TRAINING_JOB_ARN": job.arn}
        env = containers.environment(self._base, self._region, platform, job.environment)
        process = Process(job.training_job_name, command, env=env, log=self._log_path, cwd=PROJECT)
        limit = (job.stopping_condition or {}).get("MaxRuntimeInSeconds", DAY_SECONDS)
        deadline = time.monotonic() + limit
        process.start()
        log_file, listen = Follower(self._log_path), self._listener()
        try:
            while process.poll() is None and not self._ending.wait(0.05):
                listen(log_file.lines())
                if time.monotonic() > deadline:
                    self.stop("MaxRuntimeExceeded")
        finally:
            process.stop(self._grace)
        listen(log_file.rest())
        code = process.poll()
        if code != 0 and not self._ending.is_set():
            raise Failure(f"AlgorithmError: {self._last_words(process)}, exit code: {code}")

    def _last_words(self, process: Process) -> str:
        """What the container left in its failure file, else its log's last line."""
        words = ""
        with contextlib.suppress(OSError):
            words = (self._base / "output/failure").read_text(errors="replace").strip()
        return (words or process.tail(1).strip() or "the container said nothing")[: REASON_LIMIT - 60]

    def _listener(self) -> Callable[[list[str]], None]:
        """Takes lines of the log to CloudWatch Logs and looks for metrics in them; the last value of each stays."""
        definitions = self._job.algorithm_specification.get("MetricDefinitions", [])
        metrics = [(each["Name"], re.compile(each["Regex"])) for each in definitions]
        stream = Stream(self._region, logs.TRAINING, f"{self._job.training_job_name}/algo-1-{int(time.time())}")

        def listen(lines: list[str]) -> None:
            stream.send(lines)
            for line in lines:
                for name, regex in metrics:
                    if match := regex.search(line):
                        with contextlib.suppress(ValueError, IndexError):
                            self._values[name] = float(match[1])

        return listen

    def _upload(self) -> None:
        target = f"{self._job.output_data_config['S3OutputPath'].rstrip('/')}/{self._job.training_job_name}/output"
        for folder, archive in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            directory = self._base / folder
            if any(directory.iterdir()):
                self._host.storage.write(f"{target}/{archive}", containers.pack(directory), "application/x-tar")
        if self._job.checkpoint_config:
            prefix = self._job.checkpoint_config["S3Uri"].rstrip("/")
            for path in sorted((self._base / "checkpoints").rglob("*")):
                if path.is_file():
                    self._host.storage.write(
                        f"{prefix}/{path.relative_to(self._base / 'checkpoints')}", path.read_bytes()
                    )


def _begin(job: Job) -> None:
    job.training_job_status = "InProgress"
    job.secondary_status_transitions = []
    job.final_metric_data_list = []
    job.training_start_time = job.training_end_time = None
    job.failure_reason = None
    _move(job, "Starting")


def _move(job: Job, status: str, message: str | None = None) -> None:
    now = utcnow()
    if job.secondary_status_transitions:
        job.secondary_status_transitions[-1].setdefault("EndTime", now)
    job.secondary_status_transitions.append(
        {"Status": status, "StartTime": now, "StatusMessage": message or MESSAGES[status]}
    )
    job.secondary_status = status
    job.last_modified_time = now


def _end(job: Job, outcome: str, reason: str | None) -> None:
    _move(job, outcome, reason)
    job.secondary_status_transitions[-1]["EndTime"] = job.last_modified_time
    job.training_end_time = job.last_modified_time
    if isinstance(job.training_start_time, datetime.datetime):
        seconds = int((job.training_end_time - job.training_start_time).total_seconds()) + 1
        job.training_time_in_seconds = job.billable_time_in_seconds = seconds
    job.failure_reason = reason[:REASON_LIMIT] if reason else None
    job.training_job_status = "Stopped" if outcome == "MaxRuntimeExceeded" else outcome
