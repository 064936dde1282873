"""The cloud side's only way to AWS. One module for each noun: training, registry, endpoints, alarms, scaling, objects.

boto3 finds region, credentials and addresses in its own places (AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ENDPOINT_URL…).
What boto3 raises stays in here: callers see AwsError, one line that names cause and cure.

Resource names are lower-case throughout, because EventBridge and IAM show SageMaker's ARNs in lower case.
"""
