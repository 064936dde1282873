"""Deployments as the local cloud performs them: canaries, alarms that take a model back, shadows, and what is shown."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.local import fleets, lookout, server
from deploy.local.tests.conftest import Aws, LocalCloud, eventually

FLEET = [
    {"Name": "EndpointName", "Value": "aisle"},
    {"Name": "VariantName", "Value": "main"},
    {"Name": "EndpointConfigName", "Value": "new"},
]


TRACKING = {
    "TargetValue": 20.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}


@contextmanager
def shoppers(aws: Aws) -> Iterator[list[str]]:
    """Calls without a pause; the models that answered, "" for a failure."""
    answered: list[str] = []
    stop = threading.Event()

    def shop() -> None:
        while not stop.is_set():
            try:
                answered.append(aws.invoke()["model"])
            except aws.runtime.exceptions.ModelError:
                answered.append("")

    threads = [threading.Thread(target=shop) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def make(aws: Aws, behaviour: str, name: str = "new") -> None:
    aws.model(name, behaviour)
    aws.config(name)


def alarm(aws: Aws, name: str, metric: str, threshold: float, **changes: Any) -> None:
    aws.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name, "Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": FLEET, "Period": 60,
            "EvaluationPeriods": 1, "Threshold": threshold, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching", **({} if "ExtendedStatistic" in changes else {"Statistic": "Average"}),
            **changes,
        }
    )  # fmt: skip


def update(aws: Aws, *alarms: str, bake: int = 60, keep: int = 0, percent: int = 50, **changes: Any) -> None:
    aws.sagemaker.update_endpoint(
        EndpointName="aisle",
        EndpointConfigName="new",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": percent},
                    "WaitIntervalInSeconds": bake,
                },
                "TerminationWaitInSeconds": keep,
                "MaximumExecutionTimeoutInSeconds": 600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms or ("errors",)]},
        },
        **changes,
    )


def stage(aws: Aws) -> str:
    found = aws.sagemaker.describe_endpoint(EndpointName="aisle").get("PendingDeploymentSummary", {})
    variants = found.get("ProductionVariants", [])
    return str(variants[0]["VariantStatus"][0]["Status"]) if variants else ""


@pytest.fixture
def served(aws: Aws) -> Aws:
    aws.serve()
    alarm(aws, "errors", "Invocation5XXErrors", 0.01)
    return aws


# --- A good model ----------------------------------------------------------------------------------------


def test_canary_takes_its_share_and_then_everything_without_a_failed_call(served: Aws) -> None:
    make(served, "better")
    with shoppers(served) as answered:
        update(served, bake=2, percent=20)
        eventually(lambda: stage(served) == "Baking")
        began = len(answered)
        found = served.sagemaker.describe_endpoint(EndpointName="aisle")
        endpoint = served.endpoint()
        baked = Counter(answered[began:])
        ended = len(answered)
        eventually(lambda: len(answered) > ended + 50)
        last = set(answered[ended + 10 :])

    pending = found["PendingDeploymentSummary"]
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("Updating", "aisle-well")
    assert (pending["EndpointConfigName"], pending["ProductionVariants"][0]["CurrentWeight"]) == ("new", 0.2)
    assert 0.1 < baked["better"] / baked.total() < 0.4
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "new")
    assert "PendingDeploymentSummary" not in endpoint
    assert endpoint["LastDeploymentConfig"]["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "errors"}]}
    assert "FailureReason" not in endpoint
    assert last == {"better"}
    assert "" not in answered


def test_linear_and_all_at_once_arrive_too(served: Aws) -> None:
    for name, routing in (
        ("linear", {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}}),
        ("at-once", {"Type": "ALL_AT_ONCE"}),
    ):
        make(served, name, name)
        policy = {"TrafficRoutingConfiguration": {**routing, "WaitIntervalInSeconds": 0}}
        served.sagemaker.update_endpoint(
            EndpointName="aisle", EndpointConfigName=name, DeploymentConfig={"BlueGreenUpdatePolicy": policy}
        )
        assert served.endpoint()["EndpointConfigName"] == name


# --- A bad one -------------------------------------------------------------------------------------------


def taken_back(aws: Aws, cloud: LocalCloud) -> str:
    """Wait for the old model, alone. The reason that is given."""
    endpoint = aws.endpoint()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "aisle-well")
    assert "PendingDeploymentSummary" not in endpoint
    assert {aws.invoke()["model"] for _ in range(30)} == {"well"}
    eventually(lambda: len(list((cloud.state / "work").glob("endpoint-*"))) == 1)
    return str(endpoint["FailureReason"])


def test_model_that_errs_is_taken_back(served: Aws, cloud: LocalCloud) -> None:
    make(served, "erring")
    with shoppers(served) as answered:
        update(served)
        reason = taken_back(served, cloud)

    assert "the alarm errors is in ALARM: Threshold Crossed" in reason
    assert answered.count("") < len(answered) / 2  # the canary's share of a short time


def test_model_that_is_slow_is_taken_back(served: Aws, cloud: LocalCloud) -> None:
    make(served, "slow")
    alarm(served, "latency", "ModelLatency", 200_000, ExtendedStatistic="p99")
    with shoppers(served) as answered:
        update(served, "errors", "latency")
        reason = taken_back(served, cloud)

    assert "the alarm latency is in ALARM" in reason
    assert "" not in answered


def test_model_that_an_own_metric_condemns_is_taken_back(served: Aws, cloud: LocalCloud) -> None:
    make(served, "odd")
    own = {"Namespace": "Aisle", "Dimensions": FLEET[:1], "Statistic": "Sum"}
    alarm(served, "quality", "BadAnswers", 2, **own)
    update(served, "quality")
    eventually(lambda: stage(served) == "Baking")
    for _ in range(3):
        served.client("cloudwatch").put_metric_data(
            Namespace="Aisle", MetricData=[{"MetricName": "BadAnswers", "Dimensions": FLEET[:1], "Value": 1}]
        )
    assert "the alarm quality is in ALARM" in taken_back(served, cloud)


def test_alarm_set_off_by_hand_ends_the_deployment(served: Aws, cloud: LocalCloud) -> None:
    make(served, "better")
    update(served)
    eventually(lambda: stage(served) == "Baking")
    served.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="by hand")
    assert "by hand" in taken_back(served, cloud)


def test_model_that_turns_bad_when_all_calls_reach_it_is_taken_back(served: Aws, cloud: LocalCloud) -> None:
    make(served, "better")
    update(served, bake=0, keep=60)
    eventually(lambda: {served.invoke()["model"] for _ in range(10)} == {"better"})
    served.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="late")
    assert "late" in taken_back(served, cloud)


def test_model_that_never_gets_healthy_gets_no_call(
    served: Aws, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STARTUP_SECONDS", 1.0)
    make(served, "never healthy")
    with shoppers(served) as answered:
        update(served)
        assert "did not pass the ping health check" in taken_back(served, cloud)

    assert set(answered) == {"well"}


def test_deployment_that_takes_too_long_is_taken_back(
    served: Aws, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.local.policy import Policy

    monkeypatch.setattr(Policy, "of", lambda config: Policy(steps=(0.5, 1.0), bake=60.0, limit=1.0))
    make(served, "better")
    update(served)
    assert "longer than MaximumExecutionTimeoutInSeconds" in taken_back(served, cloud)


def test_endpoint_that_is_deleted_during_its_deployment_leaves_nothing(served: Aws, cloud: LocalCloud) -> None:
    make(served, "better")
    update(served)
    eventually(lambda: stage(served) == "Baking")
    served.sagemaker.delete_endpoint(EndpointName="aisle")
    eventually(lambda: not list((cloud.state / "work").glob("endpoint-*")))


def test_local_cloud_that_ends_during_a_deployment_comes_back_with_the_old_model(
    served: Aws, cloud: LocalCloud
) -> None:
    make(served, "better")
    update(served)
    eventually(lambda: stage(served) == "Baking")
    cloud.restart()
    endpoint = served.endpoint()
    assert endpoint["EndpointConfigName"] == "aisle-well"
    assert "PendingDeploymentSummary" not in endpoint


# --- Requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"percent": 51}, "CanarySize: must be 1 to 50 percent"),
        ({"bake": 600}, "MaximumExecutionTimeoutInSeconds: must be more than all waits"),
    ],
)
def test_deployment_that_sagemaker_refuses_is_refused(served: Aws, changes: dict[str, int], words: str) -> None:
    make(served, "better")
    with pytest.raises(served.sagemaker.exceptions.ClientError, match=words):
        update(served, **changes)
    assert served.endpoint()["EndpointConfigName"] == "aisle-well"


def test_alarm_that_is_not_there_or_goes_already_stops_a_deployment_before_it_begins(served: Aws) -> None:
    make(served, "better")
    with pytest.raises(served.sagemaker.exceptions.ClientError, match="The alarm none does not exist"):
        update(served, "none")
    alarm(served, "errors", "Invocation5XXErrors", 0.01, TreatMissingData="breaching")
    served.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="before")
    with pytest.raises(served.sagemaker.exceptions.ClientError, match="in ALARM state before"):
        update(served)


def test_canary_must_keep_the_variants_names(served: Aws) -> None:
    served.model("new", "better")
    served.config("new", {"new": 1.0})
    with pytest.raises(served.sagemaker.exceptions.ClientError, match="keep the names of the variants"):
        update(served)


# --- Shadows ---------------------------------------------------------------------------------------------


def shadowed(aws: Aws, behaviour: str) -> None:
    aws.model("shadow", behaviour)
    shadow = {
        "VariantName": "shadow", "ModelName": "shadow", "InstanceType": "ml.c7i.large", "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }  # fmt: skip
    main = shadow | {"VariantName": "main", "ModelName": "aisle-well"}
    aws.config("new", ProductionVariants=[main], ShadowProductionVariants=[shadow])
    aws.sagemaker.update_endpoint(EndpointName="aisle", EndpointConfigName="new")
    aws.endpoint()


def calls(aws: Aws, variant: str, metric: str = "Invocations") -> float:
    from deploy.local.tests.test_runtime import total

    return total(aws, metric, variant)[0]


def test_shadow_is_asked_what_the_model_is_asked_and_its_answers_are_dropped(served: Aws) -> None:
    shadowed(served, "erring")
    assert {served.invoke()["model"] for _ in range(10)} == {"well"}
    eventually(lambda: calls(served, "shadow") == 10)

    assert calls(served, "shadow", "Invocation5XXErrors") == 10
    assert calls(served, "main", "Invocation5XXErrors") == 0
    described = served.endpoint()
    assert [each["VariantName"] for each in described["ShadowProductionVariants"]] == ["shadow"]
    assert served.sagemaker.describe_endpoint_config(EndpointConfigName="new")["ShadowProductionVariants"]


def test_nobody_waits_for_a_slow_shadow(served: Aws) -> None:
    shadowed(served, "slow")
    began = time.monotonic()
    for _ in range(10):
        served.invoke()
    spent = time.monotonic() - began
    eventually(lambda: calls(served, "shadow") == 10)
    assert spent < 10 * 0.3  # which is what the shadow takes one by one


# --- Instances -------------------------------------------------------------------------------------------


def processes(aws: Aws, calls: int = 40) -> set[int]:
    return {aws.invoke()["pid"] for _ in range(calls)}


def test_two_instances_are_two_containers(aws: Aws) -> None:
    aws.model("aisle-two", "well")
    variant = {
        "VariantName": "main", "ModelName": "aisle-two", "InstanceType": "ml.c7i.large", "InitialInstanceCount": 2
    }  # fmt: skip
    aws.config("two", ProductionVariants=[variant])
    aws.sagemaker.create_endpoint(EndpointName="aisle", EndpointConfigName="two")
    assert aws.endpoint()["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert len(processes(aws)) == 2


def test_more_instances_than_this_machine_should_run_are_refused(aws: Aws) -> None:
    aws.model("m")
    variant = {
        "VariantName": "main", "ModelName": "m", "InstanceType": "ml.c7i.large",
        "InitialInstanceCount": fleets.MOST_INSTANCES + 1,
    }  # fmt: skip
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="at most 8 instances"):
        aws.config("many", ProductionVariants=[variant])


def set_count(aws: Aws, count: int) -> None:
    wanted = [{"VariantName": "main", "DesiredInstanceCount": count}]
    aws.sagemaker.update_endpoint_weights_and_capacities(EndpointName="aisle", DesiredWeightsAndCapacities=wanted)


def test_instances_come_and_go_as_they_are_asked_for(served: Aws) -> None:
    for count in (3, 1):
        set_count(served, count)
        endpoint = served.endpoint()
        assert endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == count
        assert len(processes(served)) == count


def test_update_may_keep_the_number_of_instances_that_scaling_chose(served: Aws) -> None:
    set_count(served, 2)
    served.endpoint()
    make(served, "better")
    update(served, bake=0, RetainAllVariantProperties=True)
    assert served.endpoint()["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_endpoint_scales_out_with_its_calls_and_not_while_it_is_suspended(served: Aws) -> None:
    scaling = served.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/aisle/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    paused = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True}
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2, SuspendedState=paused)
    scaling.put_scaling_policy(
        **target, PolicyName="calls", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=TRACKING,
    )  # fmt: skip
    for _ in range(30):
        served.invoke()
    eventually(lambda: calls(served, "main") == 30)
    time.sleep(3 * lookout.LOOK_SECONDS)
    assert len(processes(served, 10)) == 1
    running = dict.fromkeys(paused, False)
    scaling.register_scalable_target(**target, SuspendedState=running)
    eventually(lambda: len(processes(served, 10)) == 2)


def test_container_that_hangs_is_replaced(served: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PING_SECONDS", 0.3)
    first = served.invoke(b"hang")["pid"]

    def replaced() -> bool:
        try:
            return bool(served.invoke()["pid"] != first)
        except served.runtime.exceptions.ModelError:
            return False

    assert eventually(replaced)
    assert served.endpoint()["EndpointStatus"] == "InService"


# --- CloudWatch ------------------------------------------------------------------------------------------


def test_container_s_log_is_in_cloudwatch_where_sagemaker_puts_it(served: Aws) -> None:
    logs = served.client("logs")
    group = "/aws/sagemaker/Endpoints/aisle"

    def lines() -> list[str]:
        try:
            streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        assert all(each["logStreamName"].startswith("main/i-") for each in streams)
        return [
            event["message"]
            for each in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=each["logStreamName"])["events"]
        ]

    assert eventually(lines) == ["serving well"]


def test_alarms_and_scaling_outlive_a_restart(served: Aws, cloud: LocalCloud) -> None:
    scaling = served.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/aisle/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **target,
        PolicyName="calls",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=TRACKING,
    )

    def known() -> Any:
        alarms = served.client("cloudwatch").describe_alarms()["MetricAlarms"]
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        return [{**each, "StateUpdatedTimestamp": None} for each in alarms], targets, policies

    before = known()
    cloud.restart()
    assert known() == before
    assert [len(each) for each in before] == [1, 1, 1]
