"""Automatic model tuning: start a search, watch its trials, find the last one to begin from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ml.aws.client import clear, sagemaker, stamp
from ml.aws.training import Fleet, algorithm, channel, resources, stopping

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import CreateHyperParameterTuningJobRequestTypeDef

PREFIX = "tune-"
WarmStart = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


@dataclass(frozen=True, slots=True)
class Range:
    """Where a hyperparameter is searched; whole numbers if its limits are."""

    name: str
    least: float
    most: float
    logarithmic: bool = False

    @property
    def shown(self) -> Any:
        """As SageMaker takes it: numbers as strings."""
        scaling = "Logarithmic" if self.logarithmic else "Linear"
        return {"Name": self.name, "MinValue": str(self.least), "MaxValue": str(self.most), "ScalingType": scaling}


@dataclass(frozen=True, slots=True)
class Trial:
    """One training job of a search; ``value`` is the objective's last, None if it printed none."""

    name: str
    status: str
    settings: Mapping[str, str]
    value: float | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A tuning job as it stands."""

    status: str
    trials: Sequence[Trial]
    best: str | None  # a trial's name
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """How much is tried: ``trials`` in all, ``parallel`` at a time. ``parent`` is a tuning job to begin from."""

    ranges: Sequence[Range]
    objective: str
    trials: int
    parallel: int
    parent: tuple[str, WarmStart] | None = None


def tune(
    search: Search,
    *,
    image: str,
    role: str,
    export_url: str,
    output_url: str,
    fleet: Fleet,
    static: Mapping[str, str],
    metrics: Sequence[tuple[str, str]],
) -> str:
    """Start a Bayesian search for the largest objective. Returns its name. Raises AwsError."""
    name = f"{PREFIX}{stamp()}"  # at most 32 characters
    whole = [each for each in search.ranges if isinstance(each.least, int)]
    request: CreateHyperParameterTuningJobRequestTypeDef = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": search.objective},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": search.trials,
                "MaxParallelTrainingJobs": search.parallel,
            },
            "ParameterRanges": {
                "IntegerParameterRanges": [each.shown for each in whole],
                "ContinuousParameterRanges": [each.shown for each in search.ranges if each not in whole],
            },
            "TrainingJobEarlyStoppingType": "Auto",
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": dict(static),
            "AlgorithmSpecification": algorithm(image, metrics),
            "RoleArn": role,
            "InputDataConfig": [channel(export_url)],
            "OutputDataConfig": {"S3OutputPath": output_url.rstrip("/")},
            "ResourceConfig": resources(fleet),
            "StoppingCondition": stopping(fleet),
            "EnableManagedSpotTraining": fleet.spot,
        },
    }
    if fleet.spot:
        request["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": f"{output_url.rstrip('/')}/{name}/checkpoints"}
    if search.parent:
        parent, kind = search.parent
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
            "WarmStartType": kind,
        }
    with clear("starting the tuning job"):
        sagemaker().create_hyper_parameter_tuning_job(**request)
    return name


def progress(name: str) -> Progress:
    """The job and its trials, oldest first. Raises AwsError."""
    with clear(f"looking at the tuning job {name}"):
        job = sagemaker().describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        pages = sagemaker().get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        found = [
            _trial(each)
            for page in pages.paginate(HyperParameterTuningJobName=name)
            for each in page["TrainingJobSummaries"]
        ]
    best = job.get("BestTrainingJob", {}).get("TrainingJobName")
    trials = sorted(found, key=lambda trial: trial.name)
    return Progress(job["HyperParameterTuningJobStatus"], trials, best, job.get("FailureReason", ""))


def _trial(summary: Mapping[str, Any]) -> Trial:
    return Trial(
        name=summary["TrainingJobName"],
        status=summary["TrainingJobStatus"],
        settings=summary["TunedHyperParameters"],
        value=summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        failure=summary.get("FailureReason", ""),
    )


def stop(name: str) -> None:
    """Start no more trials and stop those that run. Raises AwsError."""
    with clear(f"stopping the tuning job {name}"):
        sagemaker().stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def parent(search: Search, image: str, export_url: str, static: Mapping[str, str]) -> tuple[str, WarmStart] | None:
    """The newest completed search for the same hyperparameters, and how alike it was. Raises AwsError.

    The same address may hold another night's export, and SageMaker asks for identical data: so data are only called
    identical if address and image are the same, and what is learnt from them is judged anew by the new trials.
    """
    with clear("looking for an earlier tuning job"):
        found = sagemaker().list_hyper_parameter_tuning_jobs(
            NameContains=PREFIX, StatusEquals="Completed", SortBy="CreationTime", SortOrder="Descending", MaxResults=1
        )["HyperParameterTuningJobSummaries"]
        if not found:
            return None
        name = found[0]["HyperParameterTuningJobName"]
        job = sagemaker().describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    definition, config = job["TrainingJobDefinition"], job["HyperParameterTuningJobConfig"]
    ranges = config["ParameterRanges"]
    tuned = {
        each["Name"]
        for each in [*ranges.get("IntegerParameterRanges", []), *ranges.get("ContinuousParameterRanges", [])]
    }
    own = {key for key in definition.get("StaticHyperParameters", {}) if not key.startswith("_")}
    if tuned | own != {each.name for each in search.ranges} | set(static):
        return None  # SageMaker wants the same hyperparameters in all
    if config["HyperParameterTuningJobObjective"]["MetricName"] != search.objective:
        return None
    same_data = definition["InputDataConfig"] == [channel(export_url)]
    same_image = definition["AlgorithmSpecification"].get("TrainingImage") == image
    return name, "IdenticalDataAndAlgorithm" if same_data and same_image else "TransferLearning"
