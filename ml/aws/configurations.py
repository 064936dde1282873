"""Endpoint configurations: which models serve, on what, and what is captured. They never change, and stay.

Each carries the name of the one that it replaced, so that going back needs no memory but AWS's own.
"""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ml.aws.client import AwsError, clear, instance, is_missing, sagemaker, stamp
from ml.contract import CONTENT_TYPE

# An update must keep its variants' names; with one name for ever no deployment can break that rule.
VARIANT = "alltraffic"
SHADOW = "shadow"
REPLACES, SERVES = "aisle:replaces", "aisle:endpoint"  # tags: the configuration before, and whose it is


@dataclass(frozen=True, slots=True)
class Hosting:
    """What every configuration of an endpoint has in common."""

    endpoint: str
    role: str
    instance_type: str
    instances: int
    capture_url: str
    capture_percentage: int


def configure(arn: str, hosting: Hosting, replaces: str) -> str:
    """A new configuration that serves a registered model. Returns its name. Raises AwsError."""
    name = _name(arn, hosting.endpoint)
    with clear(f"configuring {arn}"):
        _create_model(name, arn, hosting)
        _create(name, hosting, replaces, ProductionVariants=[_variant(VARIANT, name, hosting)])
    return name


def configure_shadow(arn: str, hosting: Hosting, replaces: str) -> str:
    """A new configuration that serves as before, and asks a registered model too, whose answers are dropped.

    Returns its name. Raises AwsError.
    """
    name = _name(arn, hosting.endpoint)
    with clear(f"configuring {arn} as a shadow"):
        before = sagemaker().describe_endpoint_config(EndpointConfigName=replaces)["ProductionVariants"][0]
        _create_model(name, arn, hosting)
        _create(
            name,
            hosting,
            replaces,
            ProductionVariants=[_variant(VARIANT, before["ModelName"], hosting)],
            ShadowProductionVariants=[_variant(SHADOW, name, hosting)],
        )
    return name


def replaced_by(config_name: str) -> str:
    """The configuration that served before this one. Raises AwsError if none did, or if it is gone."""
    with clear(f"looking for what served before {config_name}"):
        arn = sagemaker().describe_endpoint_config(EndpointConfigName=config_name)["EndpointConfigArn"]
        before = _tags(arn).get(REPLACES, "")
        if not before:
            raise AwsError(f"nothing served before {config_name}; `python -m ml deploy ARN` deploys what you name")
        sagemaker().describe_endpoint_config(EndpointConfigName=before)  # AWS would only find out while it updates
    return before


def packages_of(config_name: str) -> tuple[str, ...]:
    """The model packages that a configuration serves, shadows last. Raises what ``clear`` translates."""
    config = sagemaker().describe_endpoint_config(EndpointConfigName=config_name)
    found = []
    for variant in [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]:
        model = sagemaker().describe_model(ModelName=variant["ModelName"])
        found += [each.get("ModelPackageName", "") for each in model.get("Containers", [])]
    return tuple(filter(None, found))


def delete_all(endpoint: str) -> int:
    """Delete every configuration that was made for an endpoint, with its model. Returns how many. Raises AwsError.

    Only once the endpoint is gone: AWS may need them for as long as it lives.
    """
    with clear(f"deleting the configurations of {endpoint}"):
        pages = sagemaker().get_paginator("list_endpoint_configs").paginate(NameContains=prefix(endpoint))
        found = [each for page in pages for each in page["EndpointConfigs"]]
        own = [each for each in found if _tags(each["EndpointConfigArn"]).get(SERVES) == endpoint]
        for each in own:
            sagemaker().delete_endpoint_config(EndpointConfigName=each["EndpointConfigName"])
            _delete_model(each["EndpointConfigName"])
    return len(own)


def _delete_model(name: str) -> None:
    try:
        sagemaker().delete_model(ModelName=name)
    except ClientError as error:
        if not is_missing(error):
            raise


def _tags(arn: str) -> dict[str, str]:
    pages = sagemaker().get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _create_model(name: str, arn: str, hosting: Hosting) -> None:
    sagemaker().create_model(ModelName=name, ExecutionRoleArn=hosting.role, Containers=[{"ModelPackageName": arn}])


def _create(name: str, hosting: Hosting, replaces: str, **variants: Any) -> None:
    sagemaker().create_endpoint_config(
        EndpointConfigName=name,
        **variants,
        DataCaptureConfig={
            "EnableCapture": hosting.capture_percentage > 0,
            "InitialSamplingPercentage": hosting.capture_percentage,
            "DestinationS3Uri": hosting.capture_url,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            # Types that are not listed are captured as base64.
            "CaptureContentTypeHeader": {"JsonContentTypes": [CONTENT_TYPE]},
        },
        Tags=[{"Key": REPLACES, "Value": replaces}, {"Key": SERVES, "Value": hosting.endpoint}],
    )


def _variant(name: str, model: str, hosting: Hosting) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": instance(hosting.instance_type),
        "InitialInstanceCount": hosting.instances,
        "InitialVariantWeight": 1.0,
    }


def _name(arn: str, endpoint: str) -> str:
    return f"{prefix(endpoint)}{arn.rpartition('/')[2]}-{stamp()}"


def prefix(endpoint: str) -> str:
    """How the names of an endpoint's configurations, models and alarms begin; others' may begin so too."""
    return f"{endpoint[:36]}-".lower()
