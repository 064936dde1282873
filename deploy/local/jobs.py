"""Training jobs that really run: CreateTrainingJob's request becomes processes under SageMaker's directory contract.

moto only answers "Completed". Here the channels come out of S3, the image's command trains, one process a host, its log
goes to a file and to CloudWatch Logs, its exit code decides, and model.tar.gz goes back to S3. Spot instances are taken
back when the faults say so: the job is Interrupted, and starts again with its checkpoints.
"""

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from moto.core.utils import utcnow

from deploy.local import containers, instances, registry
from deploy.local.containers import Failure
from deploy.local.host import Host
from deploy.local.instances import Instance
from deploy.local.storage import NoSuchObject
from deploy.local.transitions import Job, begin, end, move

STOP_SECONDS = 120.0  # SageMaker's wait between SIGTERM and SIGKILL of a training container
SYNC_SECONDS = 0.5  # between two looks at checkpoints
LAST_WORDS_SECONDS = 3.0  # that other hosts have to say what they saw, after one has failed
DAY_SECONDS = 86_400
MOST_HOSTS = 8

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
                    end(job, "Failed", "InternalServerError: the local cloud ended while the job ran")

    def start(self, region: str, job: Job) -> "Run":
        """Run a job that was just created."""
        run = Run(region, job, self._host)
        self._runs[region, job.training_job_name] = run
        run.start()
        return run

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
        self.job = job
        self.metrics: dict[str, list[float]] = {}  # every value that the log gave, by the metric's name
        self._region = region
        self._host = host
        self._ending = threading.Event()
        self._outcome = "Completed"
        self._grace = STOP_SECONDS
        self._trained = 0.0  # seconds, in all attempts
        definitions = job.algorithm_specification.get("MetricDefinitions", [])
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]
        begin(job)

    def stop(self, outcome: str) -> None:
        """Ask the job to end as ``outcome``: Stopped or MaxRuntimeExceeded."""
        if not self._ending.is_set() and self.is_alive():
            self._outcome = outcome
            self.job.training_job_status = "Stopping"
            move(self.job, "Stopping")
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
            log.exception("training job %s", self.job.training_job_name)
            outcome, reason = "Failed", f"InternalServerError: {error!r}"
        shutil.rmtree(self._host.work / f"job-{self.job.training_job_name}", ignore_errors=True)
        end(self.job, outcome, reason, self._trained)
        log.info("training job %s: %s %s", self.job.training_job_name, outcome, reason or "")
        try:
            self._host.keep()
        except OSError as error:
            log.error("training job %s is not kept: %s", self.job.training_job_name, error)

    def _train(self) -> None:
        job, hosts = self.job, self.job.resource_config.get("InstanceCount", 1)
        if hosts > MOST_HOSTS:
            raise Failure(f"ClientError: the local cloud trains on at most {MOST_HOSTS} instances")
        names, began, attempt = instances.names(hosts), time.monotonic(), 1
        while True:
            team = [Instance(self._region, job, self._host, names, 1 + each, attempt) for each in range(hosts)]
            move(job, "Downloading")
            for instance in team:
                instance.lay_out()
            if self._ending.is_set():
                return
            move(job, "Training")
            job.training_start_time = job.training_start_time or utcnow()
            if not self._execute(team):
                break
            move(job, "Interrupted")
            if time.monotonic() - began > job.stopping_condition["MaxWaitTimeInSeconds"]:
                self._outcome = "MaxWaitTimeExceeded"
                return
            move(job, "Starting", "Insufficient Spot capacity is not simulated: new instances start at once")
            attempt += 1
        if self._outcome == "Completed":
            move(job, "Uploading")
        self._upload(team)

    def _execute(self, team: Sequence[Instance]) -> bool:
        """Run the hosts to their end; whether they were taken back. Raises Failure if a host failed by itself."""
        started, failed, taken = time.monotonic(), None, False
        limit = (self.job.stopping_condition or {}).get("MaxRuntimeInSeconds", DAY_SECONDS) - self._trained
        for instance in team:
            instance.start()
        try:
            synced = started
            while any(each.poll() is None for each in team) and not self._ending.wait(0.05):
                now = time.monotonic()
                self._listen(team)
                if now - synced > SYNC_SECONDS:
                    _all(team, Instance.sync)
                    synced = time.monotonic()
                if failed is None and any(each.poll() for each in team):
                    failed = now
                if failed is not None and now - failed > LAST_WORDS_SECONDS:
                    break
                taken = self._is_taken_back(now - started)
                if taken:
                    break
                if now - started > limit:
                    self.stop("MaxRuntimeExceeded")
        finally:
            grace = self._host.faults.now.spot_warning_seconds if taken else self._grace
            _all(team, lambda instance: instance.stop(grace))
            self._trained += time.monotonic() - started
            self._listen(team)
        if not taken and not self._ending.is_set():
            self._judge(team)
        return taken

    def _is_taken_back(self, seconds: float) -> bool:
        after = self._host.faults.now.spot_interruption_seconds
        return bool(self.job.enable_managed_spot_training) and 0 < after < seconds

    def _judge(self, team: Sequence[Instance]) -> None:
        """Raise Failure unless every host ended with 0. Whoever left a failure file is heard first."""
        bad = sorted((each for each in team if each.poll()), key=lambda each: not each.spoke)
        if bad:
            who = f"{bad[0].name}: " if len(team) > 1 else ""
            raise Failure(f"AlgorithmError: {who}{bad[0].last_words()}, exit code: {bad[0].poll()}")

    def _listen(self, team: Sequence[Instance]) -> None:
        """Look for metrics in the new lines of the logs; the last value of each is the job's."""
        for line in (line for instance in team for line in instance.listen()):
            for name, pattern in self._patterns:
                if match := pattern.search(line):
                    with contextlib.suppress(ValueError, IndexError):
                        self.metrics.setdefault(name, []).append(float(match[1]))
        self.job.final_metric_data_list = [
            {"MetricName": name, "Value": values[-1], "Timestamp": utcnow()} for name, values in self.metrics.items()
        ]

    def _upload(self, team: Sequence[Instance]) -> None:
        """What all hosts left, as one archive."""
        target = f"{self.job.output_data_config['S3OutputPath'].rstrip('/')}/{self.job.training_job_name}/output"
        for folder, archive in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            directory = team[0].base / folder
            for other in team[1:]:
                shutil.copytree(other.base / folder, directory, dirs_exist_ok=True)
            if any(directory.iterdir()):
                self._host.storage.write(f"{target}/{archive}", containers.pack(directory), "application/x-tar")


def _all(team: Sequence[Instance], do: Callable[[Instance], None]) -> None:
    """To every host at once: none may see another end first."""
    with ThreadPoolExecutor(len(team)) as pool:
        list(pool.map(do, team))
