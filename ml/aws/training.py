"""Training jobs: start one, watch it, read what it left."""

import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.aws.client import AwsError, Tell, clear, instance, polls, sagemaker, stamp
from ml.aws.objects import read

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import CreateTrainingJobRequestTypeDef

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


def train(
    *,
    image: str,
    role: str,
    export_url: str,
    output_url: str,
    instance_type: str,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[tuple[str, str]],
    max_seconds: int,
    checkpoint_url: str | None = None,
) -> str:
    """Start a training job on an export in S3. Returns its name. Raises AwsError.

    ``metrics`` are (name, regular expression) of the lines that the job prints. ``checkpoint_url`` is an S3 folder that
    SageMaker keeps in step with the container's checkpoints, for jobs that may be interrupted.
    """
    name = f"aisle-{stamp()}"
    request: CreateTrainingJobRequestTypeDef = {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": metric, "Regex": regex} for metric, regex in metrics],
        },
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": [
            {
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
        ],
        "OutputDataConfig": {"S3OutputPath": output_url.rstrip("/")},
        "ResourceConfig": {"InstanceType": instance(instance_type), "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_seconds},
    }
    if checkpoint_url:
        request["CheckpointConfig"] = {"S3Uri": checkpoint_url}
    with clear("starting the training job"):
        sagemaker().create_training_job(**request)
    return name


def wait_for_training(name: str, tell: Tell) -> TrainedJob:
    """Return when the job has completed, telling each step. Raises AwsError with its FailureReason if it does not."""
    told = 0
    deadline: float | None = None
    for _ in polls():
        with clear(f"looking at the training job {name}"):
            job = sagemaker().describe_training_job(TrainingJobName=name)
        steps = job.get("SecondaryStatusTransitions", [])
        for step in steps[told:]:
            tell(f"{step['Status']}: {step.get('StatusMessage') or ''}".rstrip(": "))
        told = len(steps)
        status = job["TrainingJobStatus"]
        if status == "Completed":
            found = {each["MetricName"]: float(each["Value"]) for each in job.get("FinalMetricDataList", [])}
            data_url = job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
            model_data_url = job["ModelArtifacts"]["S3ModelArtifacts"]
            return TrainedJob(name, job["TrainingJobArn"], data_url, model_data_url, found)
        if status in {"Failed", "Stopped"}:
            reason = job.get("FailureReason") or job.get("SecondaryStatus") or "no reason given"
            raise AwsError(f"the training job {name} ended as {status}: {reason}")
        deadline = deadline or time.monotonic() + job["StoppingCondition"]["MaxRuntimeInSeconds"] + UPLOAD_SECONDS
        if time.monotonic() > deadline:
            raise AwsError(f"the training job {name} is still {status} long after its time limit; look at its log")
    raise AssertionError("unreachable")


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
