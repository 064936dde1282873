"""Tuning jobs of the local cloud: trials that really run, bad ones stopped early, searches that begin from others."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.local.tests.conftest import IMAGE, ROLE, Aws, LocalCloud, eventually

DEFINITION = {
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "height", "Regex": r"height=([0-9.]+)"}],
    },
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://aisle/models"},
    "ResourceConfig": {"InstanceType": "ml.m7i.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def start(
    aws: Aws,
    name: str,
    trials: int = 8,
    at_once: int = 2,
    least: str = "0.0",
    most: str = "1.0",
    early: str = "Off",
    **changes: Any,
) -> None:
    """Look for the hill of the container's ``place``, which is highest at 0.7."""
    static = changes.pop("static", {})
    aws.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "height"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": at_once},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "place", "MinValue": least, "MaxValue": most, "ScalingType": "Linear"}
                ]
            },
            "TrainingJobEarlyStoppingType": early,
            "RandomSeed": 7,
        },
        TrainingJobDefinition={**DEFINITION, "StaticHyperParameters": static},
        **changes,
    )


def ended(aws: Aws, name: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        job: dict[str, Any] = aws.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job if job["HyperParameterTuningJobStatus"] in {"Completed", "Failed", "Stopped"} else None

    job: dict[str, Any] = eventually(found, 60)
    return job


def trials(aws: Aws, name: str) -> list[dict[str, Any]]:
    answer = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    found: list[dict[str, Any]] = answer["TrainingJobSummaries"]
    return found


@pytest.fixture(autouse=True)
def _bucket(aws: Aws) -> None:
    aws.make_bucket()


def test_trials_run_as_training_jobs_and_the_highest_is_the_best(aws: Aws) -> None:
    start(aws, "climb")
    job = ended(aws, "climb")

    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 8
    values = {
        each["TrainingJobName"]: each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for each in trials(aws, "climb")
    }
    best = job["BestTrainingJob"]
    assert best["TrainingJobName"] == max(values, key=lambda name: values[name])
    trained = aws.job(best["TrainingJobName"])
    assert trained["TrainingJobStatus"] == "Completed"
    assert trained["HyperParameters"]["place"] == best["TunedHyperParameters"]["place"]
    assert trained["HyperParameters"]["_tuning_objective_metric"] == "height"


def test_trial_that_is_worse_than_the_median_of_others_on_its_way_is_stopped(aws: Aws) -> None:
    start(aws, "impatient", trials=10, early="Auto", static={"climbs": "20"})
    job = ended(aws, "impatient")

    stopped = [each for each in trials(aws, "impatient") if each["TrainingJobStatus"] == "Stopped"]
    assert 0 < len(stopped) <= 6  # four must have ended before one is judged by them
    assert job["TrainingJobStatusCounters"]["Stopped"] == len(stopped)
    assert job["BestTrainingJob"]["TrainingJobName"] not in {each["TrainingJobName"] for each in stopped}


def test_warm_start_searches_on_from_what_its_parent_found(aws: Aws, cloud: LocalCloud) -> None:
    # One at a time, so that the search always knows the same when it draws.
    start(aws, "first", trials=10, at_once=1)
    ended(aws, "first")
    cloud.restart()  # it remembers
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "first"}]}
    start(
        aws,
        "second",
        trials=4,
        at_once=1,
        WarmStartConfig={**parents, "WarmStartType": "IdenticalDataAndAlgorithm"},
    )
    start(aws, "cold", trials=4, at_once=1)
    ended(aws, "second")
    ended(aws, "cold")

    def places(name: str) -> list[float]:
        return [float(each["TunedHyperParameters"]["place"]) for each in trials(aws, name)]

    assert places("cold") == places("first")[:4]  # ten trials are drawn at random before any are learnt from
    assert places("second") != places("first")[:4]
    assert sum(abs(place - 0.7) for place in places("second")) < sum(abs(place - 0.7) for place in places("cold"))


def test_search_whose_trials_all_fail_fails(aws: Aws) -> None:
    start(aws, "hopeless", trials=2, static={"exit": "1"})
    job = ended(aws, "hopeless")

    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert "BestTrainingJob" not in job
    assert all("exit code: 1" in each["FailureReason"] for each in trials(aws, "hopeless"))


def test_stopped_search_stops_its_trials(aws: Aws) -> None:
    start(aws, "long", static={"sleep": "60"})
    eventually(lambda: trials(aws, "long"))
    aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="long")
    job = ended(aws, "long")

    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert {each["TrainingJobStatus"] for each in trials(aws, "long")} == {"Stopped"}


def test_parent_that_does_not_exist_is_refused(aws: Aws) -> None:
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "nobody"}]}
    with pytest.raises(ClientError, match="nobody"):
        start(aws, "second", WarmStartConfig={**parents, "WarmStartType": "TransferLearning"})
