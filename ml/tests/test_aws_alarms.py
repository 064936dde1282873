"""Alarms and autoscaling: each request as botocore's own model checks it."""

from typing import Any

from botocore.stub import ANY, Stubber

from ml.aws import alarms, scaling
from ml.aws.scaling import Scaling

RESOURCE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/aisle/variant/alltraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


def running(suspended: bool) -> dict[str, bool]:
    return {
        "DynamicScalingInSuspended": suspended,
        "DynamicScalingOutSuspended": suspended,
        "ScheduledScalingSuspended": suspended,
    }


def alarm(what: str, threshold: float, **metric: Any) -> dict[str, Any]:
    return {
        "AlarmName": f"aisle-7-{what}",
        "AlarmDescription": ANY,
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **metric,
    }


def test_alarms_are_on_the_new_fleet_alone_and_can_fire(cloudwatch: Stubber) -> None:
    fleet = [
        {"Name": "EndpointName", "Value": "aisle"},
        {"Name": "VariantName", "Value": "alltraffic"},
        {"Name": "EndpointConfigName", "Value": "aisle-7"},
    ]
    of_fleet: dict[str, Any] = {"Namespace": "AWS/SageMaker", "Dimensions": fleet}
    for wanted in (
        alarm("latency", 1_000_000, **of_fleet, MetricName="ModelLatency", ExtendedStatistic="p99"),  # microseconds
        alarm("errors", 0.01, **of_fleet, MetricName="Invocation5XXErrors", Statistic="Average"),
        alarm("failures", 0.01, **of_fleet, MetricName="InvocationModelErrors", Statistic="Average"),
        alarm(
            "quality", 2, Namespace="Aisle", MetricName="BadAnswers", Statistic="Sum", Dimensions=[fleet[0], fleet[2]]
        ),
    ):
        cloudwatch.add_response("put_metric_alarm", {}, wanted)
    names = alarms.create("aisle", "aisle-7", 1_000.0)

    assert names == ["aisle-7-latency", "aisle-7-errors", "aisle-7-failures", "aisle-7-quality"]


def test_alarms_of_a_configuration_are_read_with_their_reasons(cloudwatch: Stubber) -> None:
    found = {"MetricAlarms": [{"AlarmName": "aisle-7-errors", "StateValue": "ALARM", "StateReason": "too many"}]}
    cloudwatch.add_response("describe_alarms", found, {"AlarmNamePrefix": "aisle-7-"})
    assert alarms.of("aisle-7") == [alarms.Alarm("aisle-7-errors", "ALARM", "too many")]


def made(name: str, endpoint: str, config_name: str) -> dict[str, Any]:
    """An alarm of ours as CloudWatch tells it."""
    watched = {"EndpointName": endpoint, "EndpointConfigName": config_name}
    return {
        "AlarmName": name,
        "AlarmDescription": alarms.DESCRIPTION,
        "Dimensions": [{"Name": key, "Value": value} for key, value in watched.items()],
    }


def expect_alarms(cloudwatch: Stubber) -> None:
    """Of two configurations of aisle, of an endpoint whose name begins with aisle's, and of somebody else."""
    found = [
        made("aisle-6-errors", "aisle", "aisle-6"),
        made("aisle-7-errors", "aisle", "aisle-7"),
        made("aisle-beta-1-errors", "aisle-beta", "aisle-beta-1"),
        {"AlarmName": "aisle-disk", "AlarmDescription": "somebody else's", "Dimensions": []},
    ]
    cloudwatch.add_response("describe_alarms", {"MetricAlarms": found}, {"AlarmNamePrefix": "aisle-"})


def test_only_our_own_alarms_of_old_configurations_go(cloudwatch: Stubber) -> None:
    expect_alarms(cloudwatch)
    cloudwatch.add_response("delete_alarms", {}, {"AlarmNames": ["aisle-6-errors"]})
    assert alarms.keep_only("aisle", "aisle-7") == 1


def test_alarms_of_an_endpoint_that_is_no_more_go_and_no_others(cloudwatch: Stubber) -> None:
    expect_alarms(cloudwatch)
    cloudwatch.add_response("delete_alarms", {}, {"AlarmNames": ["aisle-6-errors", "aisle-7-errors"]})
    assert alarms.keep_only("aisle") == 2


def test_alarms_are_found_by_the_beginning_that_names_are_given(cloudwatch: Stubber) -> None:
    long = "Recommender-" + "x" * 51
    prefix = f"recommender-{'x' * 24}-"
    found = {"MetricAlarms": [made(f"{prefix}7-errors", long, f"{prefix}7")]}
    cloudwatch.add_response("describe_alarms", found, {"AlarmNamePrefix": prefix})
    assert alarms.keep_only(long, f"{prefix}7") == 0


def test_alarm_can_be_set_off_by_hand(cloudwatch: Stubber) -> None:
    wanted = {"AlarmName": "aisle-7-quality", "StateValue": "ALARM", "StateReason": "because"}
    cloudwatch.add_response("set_alarm_state", {}, wanted)
    alarms.raise_one("aisle-7", "because")


def test_bad_answers_are_counted_where_the_alarm_looks(cloudwatch: Stubber) -> None:
    datum = {
        "MetricName": "BadAnswers",
        "Dimensions": [
            {"Name": "EndpointName", "Value": "aisle"},
            {"Name": "EndpointConfigName", "Value": "aisle-7"},
        ],
        "Value": 3,
        "Unit": "Count",
    }
    cloudwatch.add_response("put_metric_data", {}, {"Namespace": "Aisle", "MetricData": [datum]})
    alarms.count_bad_answers("aisle", "aisle-7", 3)


# --- Autoscaling -----------------------------------------------------------------------------------------


def expect_targets(autoscaling: Stubber, *targets: dict[str, Any]) -> None:
    autoscaling.add_response(
        "describe_scalable_targets",
        {"ScalableTargets": list(targets)},
        {"ServiceNamespace": "sagemaker", "ResourceIds": [RESOURCE["ResourceId"]]},
    )


def target(suspended: bool = False) -> dict[str, Any]:
    return {
        **RESOURCE, "MinCapacity": 2, "MaxCapacity": 4, "RoleARN": "arn:…", "CreationTime": 0,
        "SuspendedState": running(suspended),
    }  # fmt: skip


def expect_policies(autoscaling: Stubber) -> None:
    policy = {
        **RESOURCE, "PolicyARN": "arn:…", "PolicyName": "aisle-calls", "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 3_000.0}, "CreationTime": 0,
    }  # fmt: skip
    autoscaling.add_response(
        "describe_scaling_policies",
        {"ScalingPolicies": [policy]},
        {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE["ResourceId"]},
    )


def test_endpoint_scales_by_calls_per_instance_and_minute(autoscaling: Stubber) -> None:
    autoscaling.add_response(
        "register_scalable_target",
        {},
        {**RESOURCE, "MinCapacity": 2, "MaxCapacity": 4, "SuspendedState": running(False)},
    )
    autoscaling.add_response(
        "put_scaling_policy",
        {"PolicyARN": "arn:…"},
        {
            **RESOURCE,
            "PolicyName": "aisle-calls",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 3_000.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleOutCooldown": 60,
                "ScaleInCooldown": 300,
            },
        },
    )
    scaling.register("aisle", Scaling(2, 4, 3_000.0))


def test_scaling_is_read_back(autoscaling: Stubber) -> None:
    expect_targets(autoscaling, target(suspended=True))
    expect_policies(autoscaling)
    assert scaling.of("aisle") == Scaling(2, 4, 3_000.0, paused=True)


def test_endpoint_that_does_not_scale_has_none_and_loses_none(autoscaling: Stubber) -> None:
    expect_targets(autoscaling)
    expect_targets(autoscaling)
    assert scaling.of("aisle") is None
    scaling.deregister("aisle")


def test_scaling_ends(autoscaling: Stubber) -> None:
    expect_targets(autoscaling, target())
    autoscaling.add_response("deregister_scalable_target", {}, RESOURCE)
    scaling.deregister("aisle")


def test_scaling_rests_while_two_fleets_are_up_even_if_the_deployment_fails(autoscaling: Stubber) -> None:
    expect_targets(autoscaling, target())
    expect_policies(autoscaling)
    for suspended in (True, False):
        wanted = {**RESOURCE, "SuspendedState": running(suspended)}
        autoscaling.add_response("register_scalable_target", {}, wanted)

    class Failed(Exception):
        pass

    def deployment() -> None:
        with scaling.paused("aisle") as scales:
            assert scales
            raise Failed

    try:
        deployment()
    except Failed:
        return
    raise AssertionError("the failure must come through")
