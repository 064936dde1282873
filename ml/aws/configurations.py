"""Endpoint configurations: which models serve, on what, and what is captured. They never change, and stay.

Each carries the name of the one that it replaced, so that going back needs no memory but AWS's own.
"""

from dataclasses import dataclass
from typing import Any

from ml.aws.client import AwsError, clear, instance, sagemaker, stamp
from ml.contract import CONTENT_TYPE

# An update must keep its variants' names; with one name for ever no deployment can break that rule.
VARIANT = "alltraffic"
SHADOW = "shadow"
REPLACES = "aisle:replaces"  # a tag


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
        tags = sagemaker().list_tags(ResourceArn=arn)["Tags"]
        before = next((tag["Value"] for tag in tags if tag["Key"] == REPLACES), "")
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
        Tags=[{"Key": REPLACES, "Value": replaces}],
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
    return f"{endpoint[:36]}-{arn.rpartition('/')[2]}-{stamp()}".lower()
