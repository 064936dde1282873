"""Names of things in AWS that the tests of its requests share."""

from datetime import UTC, datetime

from ml.aws.training import TrainedJob

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/aisle/7"
ROLE = "arn:aws:iam::123456789012:role/aisle-sagemaker"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/aisle-model:1"
NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
JOB = TrainedJob(
    name="aisle-1",
    arn="arn:aws:sagemaker:eu-west-1:123456789012:training-job/aisle-1",
    data_url="s3://aisle/export/",
    model_data_url="s3://aisle/models/aisle-1/output/model.tar.gz",
    metrics={},
)
