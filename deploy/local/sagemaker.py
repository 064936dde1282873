"""SageMaker's operations, where moto lacks or only pretends them.

Its SageMaker says "Completed" and "InService" at once; the operations below start real jobs and real endpoints instead,
refuse what SageMaker refuses, and keep what moto drops.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig
from moto.sagemaker.responses import SageMakerResponse

from deploy.local import tuning
from deploy.local.deployment import Wish, shown_capture
from deploy.local.endpoints import IN_PROGRESS, Endpoints
from deploy.local.fleets import MOST_INSTANCES, summarise
from deploy.local.jobs import DAY_SECONDS, Jobs
from deploy.local.policy import BadPolicy, Policy
from deploy.local.tuning import BadTuning, Tunings

PROPERTIES = frozenset({"DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"})


class SageMaker(SageMakerResponse):
    """SageMaker's operations. moto makes an instance for each request, so what they share hangs on the class."""

    jobs: ClassVar[Jobs]
    tunings: ClassVar[Tunings]
    endpoints: ClassVar[Endpoints]

    # Training

    def create_training_job(self) -> ActionResult:
        name = self._get_param("TrainingJobName")
        if name in self.sagemaker_backend.training_jobs:
            raise ResourceInUseException(
                f"Training job names must be unique within an AWS account and region, and {name} exists"
            )
        stopping = self._get_param("StoppingCondition") or {}
        if self._get_param("EnableManagedSpotTraining"):
            if stopping.get("MaxWaitTimeInSeconds", 0) < stopping.get("MaxRuntimeInSeconds", DAY_SECONDS):
                raise AWSValidationException(
                    "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                    "MaxRuntimeInSeconds"
                )
        elif "MaxWaitTimeInSeconds" in stopping:
            raise AWSValidationException("MaxWaitTimeInSeconds is for managed Spot training alone")
        # moto puts metrics of its own into it.
        algorithm = copy.deepcopy(dict(self._get_param("AlgorithmSpecification")))
        result = super().create_training_job()
        job: Any = self.sagemaker_backend.training_jobs[name]
        job.algorithm_specification = algorithm
        job.environment = dict(self._get_param("Environment") or {})
        self.jobs.start(self.region, job)
        return result

    def stop_training_job(self) -> ActionResult:
        name = self._get_param("TrainingJobName")
        job = self.sagemaker_backend.training_jobs.get(name)
        if job is None:
            raise AWSValidationException("Requested resource not found.")
        if job.training_job_status != "InProgress":
            raise AWSValidationException(
                f"The request was rejected because the training job is in status {job.training_job_status}."
            )
        self.jobs.stop(self.region, name)
        return EmptyResult()

    # Tuning

    def create_hyper_parameter_tuning_job(self) -> ActionResult:
        name, warm_start = self._get_param("HyperParameterTuningJobName"), self._get_param("WarmStartConfig")
        if self._get_param("TrainingJobDefinition") is None:
            raise AWSValidationException("the local cloud needs a TrainingJobDefinition")
        try:
            tuning.check(self.region, name, self._get_param("HyperParameterTuningJobConfig"), warm_start)
        except BadTuning as bad:
            raise AWSValidationException(str(bad)) from None
        result = super().create_hyper_parameter_tuning_job()
        self.tunings.start(self.region, self.sagemaker_backend.hyper_parameter_tuning_jobs[name])
        return result

    def stop_hyper_parameter_tuning_job(self) -> ActionResult:
        job = self._tuning()
        if job.hyper_parameter_tuning_job_status != "InProgress":
            raise AWSValidationException(
                f"The request was rejected because the tuning job is in status {job.hyper_parameter_tuning_job_status}."
            )
        job.hyper_parameter_tuning_job_status = "Stopping"
        self.tunings.stop(self.region, job.hyper_parameter_tuning_job_name)
        return EmptyResult()

    def list_training_jobs_for_hyper_parameter_tuning_job(self) -> ActionResult:
        return ActionResult({"TrainingJobSummaries": [tuning.shown(each) for each in self._tuning().trials]})

    def _tuning(self) -> Any:
        name = self._get_param("HyperParameterTuningJobName")
        self.sagemaker_backend.describe_hyper_parameter_tuning_job(name)  # raises SageMaker's error if there is none
        return self.sagemaker_backend.hyper_parameter_tuning_jobs[name]

    # Models and the registry

    def create_model(self) -> ActionResult:
        name = self._get_param("ModelName")
        if name in self.sagemaker_backend._models:
            raise AWSValidationException(
                f'Cannot create already existing model "{self.sagemaker_backend._models[name].arn}".'
            )
        for container in self._get_param("Containers") or []:
            if package := container.get("ModelPackageName"):
                self.sagemaker_backend.describe_model_package(package)  # raises SageMaker's error if there is none
        result = super().create_model()
        self.sagemaker_backend._models[name].enable_network_isolation = self._get_param("EnableNetworkIsolation", False)
        return result

    def create_model_package_group(self) -> ActionResult:
        name = self._get_param("ModelPackageGroupName")
        if name in self.sagemaker_backend.model_package_groups:
            raise AWSValidationException(f"Model Package Group already exists: {name}")
        return super().create_model_package_group()

    def update_model_package(self) -> ActionResult:
        """Keeps what the request does not name; moto would empty it."""
        package = self.sagemaker_backend.describe_model_package(self._get_param("ModelPackageArn"))
        before = copy.copy(vars(package))
        result = super().update_model_package()
        if self._get_param("ModelApprovalStatus") is None:
            package.model_approval_status = before["model_approval_status"]
        if self._get_param("ApprovalDescription") is None:
            package.approval_description = before["approval_description"]
        package.customer_metadata_properties = {
            name: value
            for name, value in {
                **(before["customer_metadata_properties"] or {}),
                **(self._get_param("CustomerMetadataProperties") or {}),
            }.items()
            if name not in (self._get_param("CustomerMetadataPropertiesToRemove") or [])
        }
        return result

    # Endpoints

    def create_endpoint_config(self) -> ActionResult:
        name = self._get_param("EndpointConfigName")
        if name in self.sagemaker_backend.endpoint_configs:
            found = self.sagemaker_backend.endpoint_configs[name].endpoint_config_arn
            raise AWSValidationException(f'Cannot create already existing endpoint configuration "{found}".')
        variants = self._get_param("ProductionVariants")
        shadows = self._get_param("ShadowProductionVariants") or []
        for variant in [*variants, *shadows]:
            if "ModelName" not in variant:
                raise AWSValidationException("the local cloud needs a ModelName in each variant")
            if variant.get("InitialInstanceCount", 1) > MOST_INSTANCES:
                raise AWSValidationException(f"the local cloud runs at most {MOST_INSTANCES} instances of a variant")
        if shadows and (len(shadows), len(variants)) != (1, 1):
            raise AWSValidationException("A shadow needs exactly one production variant and one shadow variant")
        for variant in shadows:
            self.sagemaker_backend.describe_model(variant["ModelName"])
        result = super().create_endpoint_config()
        config: Any = self.sagemaker_backend.endpoint_configs[name]
        config.shadow_production_variants = shadows or None
        return result

    def create_endpoint(self) -> ActionResult:
        name = self._get_param("EndpointName")
        if name in self.sagemaker_backend.endpoints:
            raise AWSValidationException(
                f'Cannot create already existing endpoint "{self.sagemaker_backend.endpoints[name].arn}".'
            )
        config = self._config()
        endpoint = self.sagemaker_backend.create_endpoint(name, config.endpoint_config_name, self._get_param("Tags"))
        endpoint.production_variants = summarise(config.production_variants)
        endpoint.data_capture_config = shown_capture(config.data_capture_config)  # type: ignore[assignment]
        self.endpoints.deploy(self.region, endpoint, Wish(config.endpoint_config_name), "Creating")
        return ActionResult({"EndpointArn": endpoint.arn})

    def update_endpoint(self) -> ActionResult:
        endpoint = self._endpoint()
        if endpoint.endpoint_status != "InService":
            state = "in-progress" if endpoint.endpoint_status in IN_PROGRESS else endpoint.endpoint_status
            raise AWSValidationException(f'Cannot update {state} endpoint "{endpoint.arn}".')
        deployment = self._get_param("DeploymentConfig")
        wish = Wish(self._config().endpoint_config_name, self._policy(endpoint, deployment), self._retained())
        if deployment:
            endpoint.last_deployment_config = dict(deployment)  # type: ignore[attr-defined]
        self.endpoints.deploy(self.region, endpoint, wish, "Updating")
        return ActionResult({"EndpointArn": endpoint.arn})

    def _policy(self, endpoint: FakeEndpoint, deployment: Mapping[str, Any] | None) -> Policy:
        try:
            policy = Policy.of(deployment)
        except BadPolicy as bad:
            raise AWSValidationException(f"Invalid DeploymentConfig: {bad}") from None
        known = cloudwatch_backends[ACCOUNT][self.region].alarms
        for name in policy.alarms:
            if name not in known:
                raise AWSValidationException(f"The alarm {name} does not exist")
            if known[name].state_value == "ALARM":
                raise AWSValidationException(f"The alarm {name} is in ALARM state before the deployment begins")
        before = {each["VariantName"] for each in endpoint.production_variants}
        after = {each["VariantName"] for each in self._config().production_variants}
        if deployment and before != after:
            raise AWSValidationException("A blue/green deployment must keep the names of the variants")
        return policy

    def _retained(self) -> frozenset[str]:
        """The properties of the present variants that this update shall keep."""
        if not self._get_param("RetainAllVariantProperties"):
            return frozenset()
        excluded = self._get_param("ExcludeRetainedVariantProperties") or []
        return PROPERTIES - {each["VariantPropertyType"] for each in excluded}

    def update_endpoint_weights_and_capacities(self) -> ActionResult:
        """Keeps the weight or the count that the request does not name; moto would empty it. Counts become real."""
        endpoint = self._endpoint()
        if endpoint.endpoint_status != "InService":
            raise AWSValidationException(f'Cannot update {endpoint.endpoint_status} endpoint "{endpoint.arn}".')
        before = copy.deepcopy(endpoint.production_variants)
        result = super().update_endpoint_weights_and_capacities()
        for variant, old in zip(endpoint.production_variants, before, strict=True):
            wanted = variant.get("DesiredInstanceCount") or old["DesiredInstanceCount"]
            variant.update({field: old[field] for field in old if variant.get(field) is None})
            variant.update({field: old[field] for field in ("CurrentInstanceCount", "DesiredInstanceCount")})
            self.endpoints.scale(self.region, endpoint, variant["VariantName"], min(wanted, MOST_INSTANCES))
        return result

    def delete_endpoint(self) -> ActionResult:
        self._endpoint()
        result = super().delete_endpoint()
        self.endpoints.remove(self.region, self._get_param("EndpointName"))
        return result

    # Tags

    def add_tags(self) -> ActionResult:
        """A tag of the same key is replaced; moto would keep both."""
        keys = [tag["Key"] for tag in self._get_param("Tags")]
        self.sagemaker_backend.delete_tags(self._get_param("ResourceArn"), keys)
        return super().add_tags()

    def _endpoint(self) -> FakeEndpoint:
        name = self._get_param("EndpointName")
        self.sagemaker_backend.describe_endpoint(name)  # raises SageMaker's error if there is none
        return self.sagemaker_backend.endpoints[name]

    def _config(self) -> FakeEndpointConfig:
        name = self._get_param("EndpointConfigName")
        self.sagemaker_backend.describe_endpoint_config(name)
        return self.sagemaker_backend.endpoint_configs[name]
