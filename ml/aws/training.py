"""Training jobs: start one, watch it, read what it left."""

import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.aws.client import AwsError, Tell, clear, instance, polls, sagemaker, stamp
from ml.aws.logs import TRAINING_LOGS, Log
from ml.aws.objects import read

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import CreateTrainingJobRequestTypeDef, DescribeTrainingJobResponseTypeDef

CHANNEL = "export"
REPORT = "evaluation.json"
VOLUME_GB = 30
UPLOAD_SECONDS = 900.0  # a job may still download and upload outside of its MaxRuntimeInSeconds


@dataclass(frozen=True, slots=True)
class TrainedJob:
    """A training job that completed. ``metrics`` are the last values of its MetricDefinitions."""

    name: str
    arn: str
    data_url: str  # the export that it learnt from
    model_data_url: str
    metrics: Mapping[str, float]

    @property
    def output_url(self) -> str:
        """The S3 folder of what the job left."""
        return self.model_data_url.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a training job runs on, and how long it may."""

    instance_type: str = "ml.m6i.xlarge"
    hosts: int = 1
    spot: bool = False  # cheaper instances that may be taken back at any time
    max_seconds: int = 86_400
    wait_seconds: int = 86_400  # for Spot instances, in all, on top of training


def train(
    *,
    image: str,
    role: str,
    export_url: str,
    output_url: str,
    fleet: Fleet,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[tuple[str, str]],
) -> str:
    """Start a training job on an export in S3. Returns its name. Raises AwsError.

    ``metrics`` are (name, regular expression) of the lines that the job prints.
    """
    name = f"aisle-{stamp()}"
    request: CreateTrainingJobRequestTypeDef = {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": algorithm(image, metrics),
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": [channel(export_url)],
        "OutputDataConfig": {"S3OutputPath": output_url.rstrip("/")},
        "ResourceConfig": resources(fleet),
        "StoppingCondition": stopping(fleet),
    }
    if fleet.spot:
        request["EnableManagedSpotTraining"] = True
        # Of this job alone: another's would be ignored, and downloaded first.
        request["CheckpointConfig"] = {"S3Uri": f"{output_url.rstrip('/')}/{name}/checkpoints"}
    with clear("starting the training job"):
        sagemaker().create_training_job(**request)
    return name


def algorithm(image: str, metrics: Sequence[tuple[str, str]]) -> Any:
    """AlgorithmSpecification."""
    return {
        "TrainingImage": image,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": metric, "Regex": regex} for metric, regex in metrics],
    }


def channel(export_url: str) -> Any:
    """The one channel: the whole export, on every host."""
    return {
        "ChannelName": CHANNEL,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                # A prefix is compared as text: without the slash `export` would bring `export-old` too.
                "S3Uri": export_url.rstrip("/") + "/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def resources(fleet: Fleet) -> Any:
    """ResourceConfig."""
    kind = instance(fleet.instance_type)
    return {"InstanceType": kind, "InstanceCount": fleet.hosts, "VolumeSizeInGB": VOLUME_GB}


def stopping(fleet: Fleet) -> Any:
    """StoppingCondition; waiting for Spot counts from the start, training included."""
    waiting = {"MaxWaitTimeInSeconds": fleet.max_seconds + fleet.wait_seconds} if fleet.spot else {}
    return {"MaxRuntimeInSeconds": fleet.max_seconds, **waiting}


def wait_for_training(name: str, tell: Tell) -> TrainedJob:
    """Return when the job has completed, telling each step and each line of its log.

    Raises AwsError with its FailureReason if it does not complete.
    """
    told = 0
    deadline: float | None = None
    log, following = Log(TRAINING_LOGS, f"{name}/"), True
    for _ in polls():
        with clear(f"looking at the training job {name}"):
            job = sagemaker().describe_training_job(TrainingJobName=name)
        following = following and _follow(log, tell)
        steps = job.get("SecondaryStatusTransitions", [])
        for step in steps[told:]:
            tell(f"{step['Status']}: {step.get('StatusMessage') or ''}".rstrip(": "))
        told = len(steps)
        status = job["TrainingJobStatus"]
        if status == "Completed":
            if saved := _saved(job):
                tell(saved)
            return _trained(job)
        if status in {"Failed", "Stopped"}:
            reason = job.get("FailureReason") or job.get("SecondaryStatus") or "no reason given"
            raise AwsError(f"the training job {name} ended as {status}: {reason}")
        limits = job["StoppingCondition"]
        limit = limits.get("MaxWaitTimeInSeconds", limits["MaxRuntimeInSeconds"])
        deadline = deadline or time.monotonic() + limit + UPLOAD_SECONDS
        if time.monotonic() > deadline:
            raise AwsError(f"the training job {name} is still {status} long after its time limit; look at its log")
    raise AssertionError("unreachable")


def _follow(log: Log, tell: Tell) -> bool:
    """Tell what is new in the log. A job goes on for those who may not read it; whether there is more to ask."""
    try:
        for line in log.lines():
            tell(f"  {line}")
    except AwsError as error:
        tell(str(error))
        return False
    return True


def stop(name: str) -> None:
    """Ask a job to end; it has 120 seconds. Raises AwsError."""
    with clear(f"stopping the training job {name}"):
        sagemaker().stop_training_job(TrainingJobName=name)


def trained(name: str) -> TrainedJob:
    """A job that has completed. Raises AwsError."""
    with clear(f"looking at the training job {name}"):
        return _trained(sagemaker().describe_training_job(TrainingJobName=name))


def _trained(job: "DescribeTrainingJobResponseTypeDef") -> TrainedJob:
    found = {each["MetricName"]: float(each["Value"]) for each in job.get("FinalMetricDataList", [])}
    data_url = job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    model_data_url = job["ModelArtifacts"]["S3ModelArtifacts"]
    return TrainedJob(job["TrainingJobName"], job["TrainingJobArn"], data_url, model_data_url, found)


def _saved(job: "DescribeTrainingJobResponseTypeDef") -> str:
    """What Spot has saved, by AWS's formula."""
    trained, billed = job.get("TrainingTimeInSeconds", 0), job.get("BillableTimeInSeconds", 0)
    if not job.get("EnableManagedSpotTraining") or not trained:
        return ""
    return f"trained {trained} s, billed {billed} s: Spot saved {1 - billed / trained:.0%}"


def evaluation(job: TrainedJob) -> Any:
    """The report that a job wrote beside its model: evaluation.json in output.tar.gz. Raises AwsError."""
    url = f"{job.output_url}/output.tar.gz"
    try:
        with tarfile.open(fileobj=io.BytesIO(read(url)), mode="r:gz") as archive:
            file = archive.extractfile(REPORT)
            report = json.load(file) if file else None
    except KeyError:
        raise AwsError(f"{url} holds no {REPORT}; was the model trained with this project's image?") from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise AwsError(f"{url} holds no readable {REPORT}: {error}") from error
    if not report:  # which would pass any gate
        raise AwsError(f"{REPORT} in {url} is empty: nothing was measured, so nothing is known of the model")
    return report
