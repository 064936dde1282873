"""Tuning jobs: each request as botocore's own model checks it, each trial as it is told."""

from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from ml.aws import tuning
from ml.aws.client import AwsError
from ml.aws.training import Fleet
from ml.aws.tuning import Range, Search, Trial
from ml.tests.names import IMAGE, NOW, ROLE
from ml.tests.test_aws_training import expected_training

RANGES = (Range("candidates", 40, 200), Range("household_penalty", 0.3, 30.0, logarithmic=True))
SEARCH = Search(RANGES, "objective", trials=20, parallel=2)
STATIC = {"skip_days": "28"}


def tune(search: Search = SEARCH, **changes: Any) -> str:
    request: dict[str, Any] = {
        "image": IMAGE,
        "role": ROLE,
        "export_url": "s3://aisle/export",
        "output_url": "s3://aisle/models/",
        "fleet": Fleet(max_seconds=600),
        "static": STATIC,
        "metrics": [("objective", "objective=([0-9.]+)")],
    }
    return tuning.tune(search, **{**request, **changes})


def expected(**changes: Any) -> dict[str, Any]:
    training = expected_training()
    definition = {
        "StaticHyperParameters": STATIC,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "objective", "Regex": "objective=([0-9.]+)"}],
        },
        "EnableManagedSpotTraining": False,
        **{
            name: training[name]
            for name in ("RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
        },
    }
    config = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "objective"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "candidates", "MinValue": "40", "MaxValue": "200", "ScalingType": "Linear"}
            ],
            "ContinuousParameterRanges": [
                {"Name": "household_penalty", "MinValue": "0.3", "MaxValue": "30.0", "ScalingType": "Logarithmic"}
            ],
        },
        "TrainingJobEarlyStoppingType": "Auto",
    }
    request = {
        "HyperParameterTuningJobName": ANY,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
    }
    return {**request, **changes}


ANSWER = {"HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/tune-1"}


def test_search_is_bayesian_stops_bad_trials_early_and_maximises_the_objective(sagemaker: Stubber) -> None:
    sagemaker.add_response("create_hyper_parameter_tuning_job", ANSWER, expected())
    name = tune()

    assert name.startswith("tune-2")
    assert len(name) <= 32


def test_search_begins_from_the_one_it_is_given(sagemaker: Stubber) -> None:
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "tune-0"}],
        "WarmStartType": "TransferLearning",
    }
    sagemaker.add_response("create_hyper_parameter_tuning_job", ANSWER, expected(WarmStartConfig=warm))
    tune(Search(RANGES, "objective", 20, 2, parent=("tune-0", "TransferLearning")))


def test_trials_may_run_on_spot_instances(sagemaker: Stubber) -> None:
    definition = {
        **expected()["TrainingJobDefinition"],
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 87_000},
        "CheckpointConfig": ANY,
    }
    sagemaker.add_response("create_hyper_parameter_tuning_job", ANSWER, expected(TrainingJobDefinition=definition))
    tune(fleet=Fleet(max_seconds=600, spot=True))


def described(status: str = "Completed", **changes: Any) -> dict[str, Any]:
    request = expected(HyperParameterTuningJobName="tune-1")
    counters = {"Completed": 1, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    return {
        **request,
        "HyperParameterTuningJobArn": ANSWER["HyperParameterTuningJobArn"],
        "HyperParameterTuningJobStatus": status,
        "CreationTime": NOW,
        "TrainingJobStatusCounters": counters,
        "ObjectiveStatusCounters": {"Succeeded": 1, "Pending": 0, "Failed": 0},
        **changes,
    }


def summary(name: str, status: str, value: float | None) -> dict[str, Any]:
    found = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{name}",
        "CreationTime": NOW,
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"candidates": "90"},
    }
    objective = {"MetricName": "objective", "Value": value}
    return {**found, "FinalHyperParameterTuningJobObjectiveMetric": objective} if value is not None else found


def test_progress_tells_every_trial_and_the_best(sagemaker: Stubber) -> None:
    best = summary("tune-1-001", "Completed", 0.25)
    sagemaker.add_response("describe_hyper_parameter_tuning_job", described("InProgress", BestTrainingJob=best))
    trials = [summary("tune-1-002", "InProgress", None), best]
    sagemaker.add_response(
        "list_training_jobs_for_hyper_parameter_tuning_job",
        {"TrainingJobSummaries": trials},
        {"HyperParameterTuningJobName": "tune-1"},
    )
    found = tuning.progress("tune-1")

    assert (found.status, found.best) == ("InProgress", "tune-1-001")
    assert found.trials == [
        Trial("tune-1-001", "Completed", {"candidates": "90"}, 0.25),
        Trial("tune-1-002", "InProgress", {"candidates": "90"}, None),
    ]


def add_earlier(sagemaker: Stubber, **changes: Any) -> None:
    listed = {
        "HyperParameterTuningJobName": "tune-0",
        "HyperParameterTuningJobArn": ANSWER["HyperParameterTuningJobArn"],
        "HyperParameterTuningJobStatus": "Completed",
        "Strategy": "Bayesian",
        "CreationTime": NOW,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
    }
    sagemaker.add_response(
        "list_hyper_parameter_tuning_jobs",
        {"HyperParameterTuningJobSummaries": [listed]},
        {
            "NameContains": "tune-", "StatusEquals": "Completed", "SortBy": "CreationTime",
            "SortOrder": "Descending", "MaxResults": 1,
        },
    )  # fmt: skip
    sagemaker.add_response("describe_hyper_parameter_tuning_job", described(**changes))


@pytest.mark.parametrize(
    ("image", "export", "kind"),
    [
        (IMAGE, "s3://aisle/export", "IdenticalDataAndAlgorithm"),
        (IMAGE, "s3://aisle/other", "TransferLearning"),
        ("other:2", "s3://aisle/export", "TransferLearning"),
    ],
)
def test_last_search_is_begun_from_and_called_what_it_is(
    sagemaker: Stubber, image: str, export: str, kind: str
) -> None:
    add_earlier(sagemaker)
    assert tuning.parent(SEARCH, image, export, STATIC) == ("tune-0", kind)


def test_search_for_other_hyperparameters_is_not_begun_from(sagemaker: Stubber) -> None:
    add_earlier(sagemaker)
    assert tuning.parent(Search(RANGES[:1], "objective", 20, 2), IMAGE, "s3://aisle/export", STATIC) is None


def test_first_search_begins_from_nothing(sagemaker: Stubber) -> None:
    sagemaker.add_response("list_hyper_parameter_tuning_jobs", {"HyperParameterTuningJobSummaries": []})
    assert tuning.parent(SEARCH, IMAGE, "s3://aisle/export", STATIC) is None


def test_stopping_names_the_job_and_says_what_went_wrong(sagemaker: Stubber) -> None:
    sagemaker.add_response("stop_hyper_parameter_tuning_job", {}, {"HyperParameterTuningJobName": "tune-1"})
    tuning.stop("tune-1")
    sagemaker.add_client_error("stop_hyper_parameter_tuning_job", "ValidationException", "it has ended")
    with pytest.raises(AwsError, match="tune-1: it has ended"):
        tuning.stop("tune-1")
