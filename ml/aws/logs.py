"""Containers' logs in CloudWatch, read while they are written."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from ml.aws.client import clear, logs

TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"


class Log:
    """All streams of a group that begin with a prefix: one for each host, and each time that it starts."""

    def __init__(self, group: str, prefix: str) -> None:
        self._group = group
        self._prefix = prefix
        self._next: dict[str, str] = {}  # where to go on, by stream

    def lines(self) -> Iterator[str]:
        """What is new since the last time, stream by stream. Raises AwsError."""
        for stream in self._streams():
            yield from self._rest(stream)

    def _rest(self, stream: str) -> Iterator[str]:
        """CloudWatch may answer with an empty page before the last; that it is the end, the same token says."""
        token = None
        while token is None or self._next[stream] != token:
            token = self._next.get(stream)
            going_on = {"nextToken": token} if token else {"startFromHead": True}
            with clear(f"reading the log {stream}"):
                found = logs().get_log_events(logGroupName=self._group, logStreamName=stream, **going_on)
            self._next[stream] = found["nextForwardToken"]
            yield from (event["message"] for event in found["events"])

    def _streams(self) -> list[str]:
        with clear(f"looking for the log {self._group}"):
            try:
                found = logs().describe_log_streams(logGroupName=self._group, logStreamNamePrefix=self._prefix)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return []  # nothing has said anything yet
                raise
        return [each["logStreamName"] for each in found["logStreams"]]
