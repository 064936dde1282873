"""Endpoints and their configurations: each request as botocore's own model checks it, each outcome in one line."""

from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from ml.aws import configurations, endpoints
from ml.aws.client import AwsError
from ml.aws.configurations import Hosting
from ml.aws.endpoints import Rollout
from ml.tests.names import ARN, NOW, ROLE

ROLLOUT = Rollout(canary_percentage=10, bake_seconds=600, keep_seconds=300)
MISSING = ("describe_endpoint", "ValidationException", 'Could not find endpoint "arn:…".')
CHANGED = {"EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/aisle"}
CONFIG_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/old"


def hosting(endpoint: str = "aisle") -> Hosting:
    return Hosting(endpoint, ROLE, "ml.c6i.large", 2, "s3://aisle/capture", 100)


def variant(name: str, model: Any = ANY) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.c6i.large",
        "InitialInstanceCount": 2,
        "InitialVariantWeight": 1.0,
    }


def endpoint(status: str, config: str = "old", **changes: Any) -> dict[str, Any]:
    return {
        "EndpointName": "aisle",
        "EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/aisle",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **changes,
    }


def described_config(name: str = "old", **changes: Any) -> dict[str, Any]:
    return {
        "EndpointConfigName": name,
        "EndpointConfigArn": CONFIG_ARN,
        "ProductionVariants": [{"VariantName": "alltraffic", "ModelName": "model"}],
        "CreationTime": NOW,
        **changes,
    }


def expect_model_and_config(sagemaker: Stubber, **variants: Any) -> None:
    sagemaker.add_response(
        "create_model",
        {"ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/x"},
        {"ModelName": ANY, "ExecutionRoleArn": ROLE, "Containers": [{"ModelPackageName": ARN}]},
    )
    sagemaker.add_response(
        "create_endpoint_config",
        {"EndpointConfigArn": CONFIG_ARN},
        {
            "EndpointConfigName": ANY,
            **(variants or {"ProductionVariants": [variant("alltraffic")]}),
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://aisle/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            },
            "Tags": [{"Key": "aisle:replaces", "Value": "old"}, {"Key": "aisle:endpoint", "Value": ANY}],
        },
    )


# --- Configurations --------------------------------------------------------------------------------------


def test_configuration_captures_calls_and_names_what_it_replaces(sagemaker: Stubber) -> None:
    expect_model_and_config(sagemaker)
    assert configurations.configure(ARN, hosting(), replaces="old").startswith("aisle-7-2")


def test_names_are_short_and_lower_case_whatever_the_endpoint_is_called(sagemaker: Stubber) -> None:
    expect_model_and_config(sagemaker)
    name = configurations.configure(ARN, hosting("Recommender-" + "x" * 51), replaces="old")

    assert len(name) <= 63
    assert name == name.lower()


def test_shadow_stands_beside_the_very_model_that_serves(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint_config", described_config(), {"EndpointConfigName": "old"})
    expect_model_and_config(
        sagemaker,
        ProductionVariants=[variant("alltraffic", "model")],
        ShadowProductionVariants=[variant("shadow")],
    )
    configurations.configure_shadow(ARN, hosting(), replaces="old")


def test_what_served_before_is_read_from_the_configuration_itself(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint_config", described_config("new"), {"EndpointConfigName": "new"})
    tags = {"Tags": [{"Key": "team", "Value": "shop"}, {"Key": "aisle:replaces", "Value": "old"}]}
    sagemaker.add_response("list_tags", tags, {"ResourceArn": CONFIG_ARN})
    sagemaker.add_response("describe_endpoint_config", described_config(), {"EndpointConfigName": "old"})
    assert configurations.replaced_by("new") == "old"


def test_first_configuration_has_nothing_to_go_back_to(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint_config", described_config("new"))
    sagemaker.add_response("list_tags", {"Tags": [{"Key": "aisle:replaces", "Value": ""}]})
    with pytest.raises(AwsError, match="nothing served before new"):
        configurations.replaced_by("new")


def test_only_an_endpoint_s_own_configurations_go_with_their_models(sagemaker: Stubber) -> None:
    names = {"aisle-7-a": "aisle", "aisle-7-b": "aisle", "aisle-beta-1-c": "aisle-beta"}
    arn = CONFIG_ARN.removesuffix("old")
    found = [{"EndpointConfigName": name, "EndpointConfigArn": arn + name, "CreationTime": NOW} for name in names]
    sagemaker.add_response("list_endpoint_configs", {"EndpointConfigs": found}, {"NameContains": "aisle-"})
    for name, whose in names.items():
        tags = {"Tags": [{"Key": "aisle:endpoint", "Value": whose}]}
        sagemaker.add_response("list_tags", tags, {"ResourceArn": arn + name})
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "aisle-7-a"})
    sagemaker.add_response("delete_model", {}, {"ModelName": "aisle-7-a"})
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "aisle-7-b"})
    sagemaker.add_client_error("delete_model", "ValidationException", 'Could not find model "arn:…".')
    assert configurations.delete_all("aisle") == 2


# --- Endpoints -------------------------------------------------------------------------------------------


def test_endpoint_that_is_not_there_serves_nothing(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    assert endpoints.standing("aisle") == ""


def test_endpoint_in_service_has_a_configuration(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService"), {"EndpointName": "aisle"})
    assert endpoints.standing("aisle") == "old"


def test_failed_endpoint_is_deleted_so_that_it_can_be_made_anew(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("Failed"))
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "aisle"})
    sagemaker.add_response("describe_endpoint", endpoint("Deleting"))
    sagemaker.add_client_error(*MISSING)
    assert endpoints.standing("aisle") == ""


def test_deleting_returns_when_the_endpoint_is_gone(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService"), {"EndpointName": "aisle"})
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "aisle"})
    sagemaker.add_response("describe_endpoint", endpoint("Deleting"))
    sagemaker.add_response("describe_endpoint", endpoint("Deleting"))
    sagemaker.add_client_error(*MISSING)
    told: list[str] = []

    assert endpoints.delete("aisle", told.append)
    assert told == ["Deleting"]


def test_deleting_what_is_not_there_asks_for_nothing(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    assert not endpoints.delete("aisle", lambda status: None)


def test_endpoint_that_is_being_changed_is_left_alone(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("Updating"))
    with pytest.raises(AwsError, match="aisle is Updating; wait"):
        endpoints.standing("aisle")


def test_endpoint_is_created(sagemaker: Stubber) -> None:
    sagemaker.add_response("create_endpoint", CHANGED, {"EndpointName": "aisle", "EndpointConfigName": "new"})
    endpoints.create("aisle", "new")


def test_new_model_begins_as_a_canary_that_alarms_take_back(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "update_endpoint",
        CHANGED,
        {
            "EndpointName": "aisle",
            "EndpointConfigName": "new",
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                        "WaitIntervalInSeconds": 600,
                    },
                    "TerminationWaitInSeconds": 300,
                    "MaximumExecutionTimeoutInSeconds": 2_700,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "slow"}, {"AlarmName": "erring"}]},
            },
        },
    )
    endpoints.update("aisle", "new", ROLLOUT, ["slow", "erring"])


def test_scaled_endpoint_keeps_its_number_of_instances(sagemaker: Stubber) -> None:
    sagemaker.add_response(
        "update_endpoint",
        CHANGED,
        {
            "EndpointName": "aisle",
            "EndpointConfigName": "new",
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [
                {"VariantPropertyType": "DesiredWeight"},
                {"VariantPropertyType": "DataCaptureConfig"},
            ],
        },
    )
    endpoints.update("aisle", "new", None, [], keep_count=True)


@pytest.mark.parametrize("rollout", [Rollout(1, 0, 0), Rollout(50, 3_600, 3_600)])
def test_deployment_may_take_longer_than_its_waits_and_no_longer_than_aws_allows(rollout: Rollout) -> None:
    policy = endpoints.deployment_config(rollout, ["slow"])["BlueGreenUpdatePolicy"]
    waits = rollout.bake_seconds + rollout.keep_seconds
    assert max(600, waits + 1) <= policy["MaximumExecutionTimeoutInSeconds"] <= 28_800


def wait(sagemaker: Stubber, *answers: dict[str, Any]) -> list[str]:
    for answer in answers:
        sagemaker.add_response("describe_endpoint", answer, {"EndpointName": "aisle"})
    told: list[str] = []
    endpoints.wait("aisle", "new", told.append)
    return told


def pending(stage: str, weight: float = 0.1) -> dict[str, Any]:
    of_green = {
        "VariantName": "alltraffic", "CurrentWeight": weight, "CurrentInstanceCount": 2, "DesiredInstanceCount": 2,
        "VariantStatus": [{"Status": stage, "StartTime": NOW}],
    }  # fmt: skip
    return {"PendingDeploymentSummary": {"EndpointConfigName": "new", "ProductionVariants": [of_green]}}


def test_waiting_tells_the_canary_s_stages_and_ends_when_the_new_configuration_serves(sagemaker: Stubber) -> None:
    told = wait(
        sagemaker,
        endpoint("Updating", **pending("Creating")),
        endpoint("Updating", **pending("Baking")),
        endpoint("Updating", **pending("Baking")),
        endpoint("InService", "new"),
    )
    assert told == ["Updating Creating", "Updating Baking", "InService"]


def test_rolled_back_endpoint_is_an_error_although_it_is_in_service(sagemaker: Stubber) -> None:
    with pytest.raises(AwsError, match="rolled back to old: no ping"):
        wait(sagemaker, endpoint("Updating"), endpoint("InService", "old", FailureReason="no ping"))


def test_failed_endpoint_says_its_reason(sagemaker: Stubber) -> None:
    with pytest.raises(AwsError, match="the endpoint aisle is Failed: no ping"):
        wait(sagemaker, endpoint("Failed", FailureReason="no ping"))


def test_endless_update_is_given_up(sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("Updating"))
    with pytest.raises(AwsError, match="still Updating"):
        endpoints.wait("aisle", "new", lambda text: None, longest=-1.0)


def test_status_names_the_packages_that_serve_and_that_are_to_serve(sagemaker: Stubber) -> None:
    variants = [{"VariantName": "alltraffic", "CurrentWeight": 1.0, "CurrentInstanceCount": 2}]
    shadows = [{"VariantName": "shadow", "CurrentWeight": 1.0, "CurrentInstanceCount": 1}]
    sagemaker.add_response(
        "describe_endpoint",
        endpoint("Updating", ProductionVariants=variants, ShadowProductionVariants=shadows, **pending("Baking")),
    )
    for config, arn in (("old", ARN), ("new", ARN.replace("/7", "/8"))):
        sagemaker.add_response("describe_endpoint_config", described_config(config), {"EndpointConfigName": config})
        sagemaker.add_response(
            "describe_model",
            {
                "ModelName": "model",
                "ModelArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/model",
                "Containers": [{"ModelPackageName": arn}],
                "CreationTime": NOW,
            },
            {"ModelName": "model"},
        )
    found = endpoints.status("aisle")

    assert found is not None
    assert (found.status, found.packages) == ("Updating", (ARN,))
    assert [(each.name, each.weight, each.shadow) for each in found.variants] == [
        ("alltraffic", 1.0, False),
        ("shadow", 1.0, True),
    ]
    assert (found.pending, found.pending_packages) == ("new", (ARN.replace("/7", "/8"),))
    assert [(each.stage, each.weight) for each in found.pending_variants] == [("Baking", 0.1)]


def test_status_of_no_endpoint_is_none(sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*MISSING)
    assert endpoints.status("aisle") is None
