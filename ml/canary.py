"""Questions with known good answers, asked of an endpoint while a new model takes its first calls.

CloudWatch sees a model that is slow or fails; one that answers nonsense in good time looks well to it. So whoever
deploys asks the endpoint, all through the deployment, for recommendations after single products that the serving model
knows, and publishes how many answers are bad: no contract, another question's answer, or products that the shop does
not sell. An alarm on that number takes the new model back (``ml.aws.alarms``).

AWS does not say which fleet gave an answer, so all bad answers count; before the deployment began there were none.
Recommendations that are well formed and merely poor are for the gate before and the experiment after.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from ml.aws import alarms, answers
from ml.contract import VERSION, ContractError, Query, Request, parse_response
from ml.errors import MlError

QUESTIONS = 20  # products asked about in turn
KNOWN = 200  # products of each list: the contract's limit
LEAST_KNOWN = 0.5  # of an answer's products; a catalogue does not change by half between two models
EACH_SECONDS, PUBLISHED_SECONDS = 0.2, 2.0

logger = logging.getLogger(__name__)


class CanaryError(MlError):
    """The endpoint answers badly before anything was changed."""


class Canary:
    """Known questions, and what the serving model recommends after them."""

    def __init__(self, endpoint: str) -> None:
        """Learn the products from the model that serves. Raises CanaryError or AwsError if it does not answer well."""
        self._endpoint = endpoint
        popular = _recommended(self._ask(None), "popular")
        if not popular:
            raise CanaryError(f"{endpoint} recommends nothing at all, so nothing can be compared with it")
        self._questions = popular[:QUESTIONS]
        self._known = set(popular)
        for product_id in self._questions:
            self._known |= set(_recommended(self._ask(product_id), "for_you"))

    @contextmanager
    def asking(self, config_name: str) -> Iterator[None]:
        """Ask all the while, and publish how many answers are bad as a metric of that configuration."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(config_name, ended), name="canary", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def bad(self, product_id: str) -> bool:
        """Whether the answer to one question is bad. Raises AwsError if there is none."""
        try:
            found = _recommended(self._ask(product_id), "for_you")
        except ContractError:
            return True
        known = sum(each in self._known for each in found)
        return not found or known < LEAST_KNOWN * len(found)

    def _watch(self, config_name: str, ended: threading.Event) -> None:
        bad = asked = 0
        for product_id in cycle(self._questions):
            if ended.wait(EACH_SECONDS):
                return
            try:
                bad += self.bad(product_id)
                asked += 1
                if asked * EACH_SECONDS >= PUBLISHED_SECONDS:
                    alarms.count_bad_answers(self._endpoint, config_name, bad)
                    bad = asked = 0
            except MlError as error:  # the line to AWS, or a failure, for which there are alarms of its own
                logger.warning("the canary has no answer: %s", error)

    def _ask(self, product_id: str | None) -> tuple[str, bytes]:
        slate_id = f"canary-{product_id or 'popular'}"[:128]
        query: Query = {
            "slate_id": slate_id,
            "history": [{"product_id": product_id, "kind": "view", "age": 0.0, "count": 1}] if product_id else [],
            "slates": [{"name": "for_you" if product_id else "popular", "limit": KNOWN}],
        }
        request = Request(version=VERSION, queries=[query])
        return slate_id, answers.ask(self._endpoint, json.dumps(request).encode())


def _recommended(asked: tuple[str, bytes], slate: str) -> list[str]:
    """Product ids of one answer's slate. Raises ContractError."""
    slate_id, body = asked
    response = parse_response(body)
    if [answer["slate_id"] for answer in response["answers"]] != [slate_id]:
        raise ContractError("answers", "not of the query that was asked")
    return [item["product_id"] for item in response["answers"][0]["slates"].get(slate, [])]
