"""Automatic model tuning that really searches: CreateHyperParameterTuningJob's trials are training jobs of this cloud.

SageMaker's Bayesian strategy is not published; optuna's tree-structured Parzen estimator stands in for it, and optuna's
median rule for TrainingJobEarlyStoppingType Auto, on the objective's values that a trial prints on its way.
"""

import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

import optuna
from moto.core.utils import utcnow
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from deploy.local import registry
from deploy.local.host import Host
from deploy.local.jobs import Jobs, Run

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
STRATEGIES = {"Bayesian": optuna.samplers.TPESampler, "Random": optuna.samplers.RandomSampler}
STARTUP = 4  # trials that end before early stopping judges another by them
LOOK_SECONDS = 0.2

# moto's HyperParameterTuningJob: a bag of attributes, which gains ``trials``.
Tuned = Any

log = logging.getLogger("deploy.local")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class BadTuning(ValueError):
    """A tuning job that SageMaker would refuse, or that this cloud cannot run."""


class Tunings:
    """Every tuning job of this program's life."""

    def __init__(self, host: Host, jobs: Jobs) -> None:
        self._host = host
        self._jobs = jobs
        self._runs: dict[tuple[str, str], Tuning] = {}

    def settle(self) -> None:
        """Tuning jobs that a former life of this program left running have failed."""
        for _, backend in registry.regions():
            for job in backend.hyper_parameter_tuning_jobs.values():
                if job.hyper_parameter_tuning_job_status not in TERMINAL:
                    job.hyper_parameter_tuning_job_status = "Failed"
                    job.failure_reason = "InternalServerError: the local cloud ended while the job ran"

    def start(self, region: str, job: Tuned) -> None:
        """Run a tuning job that was just created."""
        run = Tuning(region, job, self._host, self._jobs)
        self._runs[region, job.hyper_parameter_tuning_job_name] = run
        run.start()

    def stop(self, region: str, name: str) -> None:
        if run := self._runs.get((region, name)):
            run.stop()

    def end(self) -> None:
        """Start no more trials."""
        for run in self._runs.values():
            run.stop()

    def close(self) -> None:
        """Once the trials have ended."""
        for run in self._runs.values():
            run.join()


class Tuning(threading.Thread):
    """One tuning job from its first trial to its last."""

    def __init__(self, region: str, job: Tuned, host: Host, jobs: Jobs) -> None:
        super().__init__(name=f"tuning-{job.hyper_parameter_tuning_job_name}")
        self._region = region
        self._job = job
        self._host = host
        self._jobs = jobs
        self._config = job.hyper_parameter_tuning_job_config
        self._definition = job.training_job_definition
        self._objective = self._config["HyperParameterTuningJobObjective"]
        self._space = space(self._config.get("ParameterRanges", {}))
        self._study = self._begun_study()
        self._running: dict[str, tuple[optuna.Trial, Run]] = {}
        self._ending = threading.Event()
        job.hyper_parameter_tuning_job_status = "InProgress"
        job.hyper_parameter_tuning_end_time = None
        job.tuning_job_completion_details = job.consumed_resources = None
        job.failure_reason = None
        job.trials = []
        self._tell_state()

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        status, reason = "Completed", None
        try:
            self._search()
            if self._ending.is_set():
                status = "Stopped"
            elif not any(trial["ObjectiveStatus"] == "Succeeded" for trial in self._job.trials):
                status, reason = "Failed", "All training jobs failed; see the FailureReason of one of them"
        except Exception as error:
            log.exception("tuning job %s", self._job.hyper_parameter_tuning_job_name)
            status, reason = "Failed", f"InternalServerError: {error!r}"
        self._tell_state()
        self._job.hyper_parameter_tuning_end_time = self._job.last_modified_time = utcnow()
        self._job.failure_reason = reason
        self._job.hyper_parameter_tuning_job_status = status
        log.info("tuning job %s: %s %s", self._job.hyper_parameter_tuning_job_name, status, reason or "")
        try:
            self._host.keep()
        except OSError as error:
            log.error("tuning job %s is not kept: %s", self._job.hyper_parameter_tuning_job_name, error)

    def _search(self) -> None:
        limits = self._config["ResourceLimits"]
        most, parallel = limits["MaxNumberOfTrainingJobs"], min(limits["MaxParallelTrainingJobs"], os.cpu_count() or 1)
        deadline = time.monotonic() + limits.get("MaxRuntimeInSeconds", math.inf)
        while self._running or (len(self._job.trials) < most and not self._ending.is_set()):
            while len(self._running) < parallel and len(self._job.trials) < most and not self._ending.is_set():
                self._start_trial()
            for name in list(self._running):
                self._look_at(name)
            self._tell_state()
            if time.monotonic() > deadline:
                self._ending.set()
            time.sleep(LOOK_SECONDS)

    def _start_trial(self) -> None:
        trial = self._study.ask(self._space)
        tuned = {name: str(value) for name, value in trial.params.items()}
        number = len(self._job.trials) + 1
        name = f"{self._job.hyper_parameter_tuning_job_name}-{number:03}-{secrets.token_hex(4)}"
        definition = self._definition
        static = definition.get("StaticHyperParameters") or {}
        job: Any = registry.backend(self._region).create_training_job(
            training_job_name=name,
            hyper_parameters={**static, **tuned, "_tuning_objective_metric": self._objective["MetricName"]},
            algorithm_specification=dict(definition["AlgorithmSpecification"]),
            role_arn=definition["RoleArn"],
            input_data_config=definition.get("InputDataConfig"),
            output_data_config=definition["OutputDataConfig"],
            resource_config=definition["ResourceConfig"],
            vpc_config=definition.get("VpcConfig"),
            stopping_condition=definition["StoppingCondition"],
            tags=[],
            enable_network_isolation=definition.get("EnableNetworkIsolation", False),
            enable_inter_container_traffic_encryption=False,
            enable_managed_spot_training=definition.get("EnableManagedSpotTraining", False),
            checkpoint_config=definition.get("CheckpointConfig"),
            debug_hook_config={},
            debug_rule_configurations=[],
            tensor_board_output_config={},
            experiment_config={},
        )
        job.algorithm_specification = dict(definition["AlgorithmSpecification"])  # moto puts metrics of its own into it
        job.environment = dict(definition.get("Environment") or {})
        job.tuning_job_arn = self._job.arn
        self._job.trials.append(
            {"TrainingJobName": name, "TrainingJobArn": job.arn, "TunedHyperParameters": tuned,
             "CreationTime": job.creation_time, "TrainingJobStatus": "InProgress", "ObjectiveStatus": "Pending",
             "values": []}
        )  # fmt: skip
        self._running[name] = trial, self._jobs.start(self._region, job)

    def _look_at(self, name: str) -> None:
        """Take in what a trial has printed; stop it if it is worse than the median of others; note its end."""
        trial, run = self._running[name]
        told = next(each for each in self._job.trials if each["TrainingJobName"] == name)
        for value in run.metrics.get(self._objective["MetricName"], [])[len(told["values"]) :]:
            trial.report(value, len(told["values"]))
            told["values"].append(value)
            early = self._config.get("TrainingJobEarlyStoppingType", "Off") == "Auto"
            if self._ending.is_set() or (early and trial.should_prune()):
                run.stop("Stopped")
        told["TrainingJobStatus"] = run.job.training_job_status
        if self._ending.is_set():
            run.stop("Stopped")
        if told["TrainingJobStatus"] in TERMINAL and not run.is_alive():
            self._note_end(told, trial, run)
            del self._running[name]

    def _note_end(self, told: dict[str, Any], trial: optuna.Trial, run: Run) -> None:
        told.update(TrainingStartTime=run.job.training_start_time, TrainingEndTime=run.job.training_end_time)
        if told["TrainingJobStatus"] == "Completed" and told["values"]:
            told["ObjectiveStatus"] = "Succeeded"
            self._study.tell(trial, told["values"][-1])
        else:
            told["ObjectiveStatus"] = "Failed"
            told["FailureReason"] = run.job.failure_reason
            stopped = told["TrainingJobStatus"] == "Stopped"
            self._study.tell(trial, state=TrialState.PRUNED if stopped and told["values"] else TrialState.FAIL)
        if told["values"]:
            told["FinalHyperParameterTuningJobObjectiveMetric"] = {**self._objective, "Value": told["values"][-1]}

    def _tell_state(self) -> None:
        job, trials = self._job, self._job.trials
        count = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
        for trial in trials:
            status = trial["TrainingJobStatus"]
            count["NonRetryableError" if status == "Failed" else status if status in count else "InProgress"] += 1
        job.training_job_status_counters = count
        job.objective_status_counters = {
            status: sum(trial["ObjectiveStatus"] == status for trial in trials)
            for status in ("Succeeded", "Pending", "Failed")
        }
        good = [trial for trial in trials if trial["ObjectiveStatus"] == "Succeeded"]
        pick = max if self._objective["Type"] == "Maximize" else min
        best = pick(good, key=lambda trial: trial["values"][-1]) if good else None
        job.best_training_job = shown(best) if best else None
        job.OverallBestTrainingJob = None
        job.last_modified_time = utcnow()

    def _begun_study(self) -> optuna.Study:
        """A study that knows the trials of the parents, if this is a warm start."""
        sampler = STRATEGIES[self._config["Strategy"]](seed=self._config.get("RandomSeed"))
        larger = self._objective["Type"] == "Maximize"
        direction = StudyDirection.MAXIMIZE if larger else StudyDirection.MINIMIZE
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        study = optuna.create_study(sampler=sampler, pruner=pruner, direction=direction)
        known = registry.backend(self._region).hyper_parameter_tuning_jobs
        for parent in (self._job.warm_start_config or {}).get("ParentHyperParameterTuningJobs", []):
            for told in getattr(known[parent["HyperParameterTuningJobName"]], "trials", []):
                if told["ObjectiveStatus"] == "Succeeded":
                    self._recall(study, told)
        return study

    def _recall(self, study: optuna.Study, told: Mapping[str, Any]) -> None:
        """One trial of a parent, if it lies within the ranges of today."""
        values = {name: told["TunedHyperParameters"].get(name) for name in self._space}
        if any(value is None for value in values.values()):
            return
        parameters = {name: typed(self._space[name], str(value)) for name, value in values.items()}
        inside = all(
            isinstance(range_, CategoricalDistribution) or range_.low <= parameters[name] <= range_.high  # type: ignore[attr-defined]
            for name, range_ in self._space.items()
        )
        if inside:
            study.add_trial(
                optuna.trial.create_trial(
                    params=parameters, distributions=self._space, value=told["values"][-1],
                    intermediate_values=dict(enumerate(told["values"])),
                )
            )  # fmt: skip


def check(region: str, name: str, config: Mapping[str, Any], warm_start: Mapping[str, Any] | None) -> None:
    """Raises BadTuning for what SageMaker refuses."""
    if config["Strategy"] not in STRATEGIES:
        raise BadTuning(f"the local cloud knows the strategies {', '.join(STRATEGIES)}")
    if "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise BadTuning("MaxNumberOfTrainingJobs must be given")
    if not space(config.get("ParameterRanges", {})):
        raise BadTuning("ParameterRanges must name something to tune")
    known = registry.backend(region).hyper_parameter_tuning_jobs
    for parent in (warm_start or {}).get("ParentHyperParameterTuningJobs", []):
        found: Tuned = known.get(parent["HyperParameterTuningJobName"])
        if found is None or found.hyper_parameter_tuning_job_status not in TERMINAL:
            raise BadTuning(f"parent {parent['HyperParameterTuningJobName']} is no tuning job that has ended")


def space(ranges: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """ParameterRanges, whose numbers are strings, as optuna knows them."""
    found: dict[str, BaseDistribution] = {}
    for each in ranges.get("IntegerParameterRanges", []):
        scaled = each.get("ScalingType") == "Logarithmic"
        found[each["Name"]] = IntDistribution(int(each["MinValue"]), int(each["MaxValue"]), log=scaled)
    for each in ranges.get("ContinuousParameterRanges", []):
        scaled = each.get("ScalingType") == "Logarithmic"
        found[each["Name"]] = FloatDistribution(float(each["MinValue"]), float(each["MaxValue"]), log=scaled)
    for each in ranges.get("CategoricalParameterRanges", []):
        found[each["Name"]] = CategoricalDistribution(each["Values"])
    return found


def typed(range_: BaseDistribution, text: str) -> Any:
    if isinstance(range_, IntDistribution):
        return int(text)
    return float(text) if isinstance(range_, FloatDistribution) else text


def shown(trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as the API tells it."""
    return {name: value for name, value in trial.items() if name != "values" and value is not None}
