"""A training job's way through its statuses, as DescribeTrainingJob tells it."""

from typing import Any

from moto.core.utils import utcnow

REASON_LIMIT = 1_024  # characters of a FailureReason
SPOT_SHARE = 0.4  # invented: what Spot costs of the on-demand price. There is no market here
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Training job interrupted: the Spot instances were taken back",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job exceeded MaxWaitTimeInSeconds provided",
}

# moto's FakeTrainingJob: a bag of attributes, DescribeTrainingJob's fields in snake case, which gains some here.
Job = Any


def begin(job: Job) -> None:
    job.training_job_status = "InProgress"
    job.secondary_status_transitions = []
    job.final_metric_data_list = []
    job.training_start_time = job.training_end_time = None
    job.failure_reason = None
    move(job, "Starting")


def move(job: Job, status: str, message: str | None = None) -> None:
    now = utcnow()
    if job.secondary_status_transitions:
        job.secondary_status_transitions[-1].setdefault("EndTime", now)
    job.secondary_status_transitions.append(
        {"Status": status, "StartTime": now, "StatusMessage": message or MESSAGES[status]}
    )
    job.secondary_status = status
    job.last_modified_time = now


def end(job: Job, outcome: str, reason: str | None, seconds: float = 0.0) -> None:
    """``seconds`` of training, in all attempts."""
    move(job, outcome, reason)
    job.secondary_status_transitions[-1]["EndTime"] = job.last_modified_time
    job.training_end_time = job.last_modified_time
    if job.training_start_time is not None:
        share = SPOT_SHARE if job.enable_managed_spot_training else 1.0
        job.training_time_in_seconds = int(seconds) + 1
        job.billable_time_in_seconds = max(1, round(job.training_time_in_seconds * share))
    job.failure_reason = reason[:REASON_LIMIT] if reason else None
    job.training_job_status = "Stopped" if outcome.endswith("Exceeded") else outcome
