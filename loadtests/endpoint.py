"""The endpoint itself, asked through boto3 with SigV4 as the workers ask it, without the shop in between."""

# First of all: locust patches sockets with gevent, which must happen before anything else imports them.
import locust  # noqa: F401  # isort: skip

import json
import os
import random
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loadtests import addresses
from loadtests.population import Population

NAME = os.environ.get("RECOMMENDER_ENDPOINT", "aisle")
HISTORY = 20  # events of a query


class Endpoint:
    """A client of one process. Raises NotAllowed for an endpoint that nobody allowed to load."""

    def __init__(self, population: Population, request_event: Any, allowed: str = "") -> None:
        config = Config(connect_timeout=2, read_timeout=10, max_pool_connections=200, retries={"total_max_attempts": 1})
        self._client = boto3.session.Session().client("sagemaker-runtime", config=config)
        addresses.check(self._client.meta.endpoint_url, allowed)
        self._population, self._fire = population, request_event.fire

    def invoke(self, chance: random.Random, name: str = "invocation", due: float | None = None) -> None:
        """One query; fires Locust's request event."""
        body = json.dumps(query(self._population, chance))
        begun, failed = due if due is not None else time.perf_counter(), None
        try:
            answer = self._client.invoke_endpoint(EndpointName=NAME, ContentType="application/json", Body=body)
            if not json.load(answer["Body"])["answers"][0]["slates"]["for_you"]:
                failed = ValueError("the slate is empty")
        except (BotoCoreError, ClientError, ValueError, LookupError) as error:
            failed = ValueError(f"{type(error).__name__}: {error}")
        waited = time.perf_counter() - begun
        self._fire(
            request_type="POST", name=name, response_time=waited * 1e3, response_length=0, response=None,
            context={}, exception=failed, start_time=time.time() - waited, url=self._client.meta.endpoint_url,
        )  # fmt: skip


def query(population: Population, chance: random.Random) -> dict[str, Any]:
    """A request of the wire's version 1 with a made-up history of popular products."""
    history = [
        {
            "product_id": population.products.draw(chance),
            "kind": "purchase",
            "age": chance.expovariate(1e-6),
            "count": 1,
        }
        for _ in range(HISTORY)
    ]
    one = {"slate_id": f"{chance.getrandbits(64):x}", "history": history, "slates": [{"name": "for_you", "limit": 48}]}
    return {"version": 1, "queries": [one]}
