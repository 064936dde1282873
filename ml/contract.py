"""The wire between the shop and the model: the one module that belongs to both sides.

The on-prem side (``recommender``) writes requests and reads answers, the cloud side (``ml``) does the
opposite; neither imports anything else of the other. Both wires live here: *asking the model* (JSON over
SageMaker InvokeEndpoint) and *feeding the model* (Parquet tables in S3, and the CSV files of ``load_shop``
with the same columns). Changing a field means a new ``VERSION`` and a new golden file in ``ml/tests/golden``,
which the tests of both sides parse.

A query holds a history and never says whose it is, so the endpoint is stateless: known, new and anonymous
shoppers are one case. Standard library only, because the web image carries no NumPy and the model image no
Django.
"""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Literal, NotRequired, TypedDict, cast, get_args

VERSION = 1
CONTENT_TYPE = "application/json"

Kind = Literal["view", "cart", "purchase", "dismiss"]
SlateName = Literal["for_you", "again", "together", "similar", "complete", "popular"]

KINDS: frozenset[str] = frozenset(get_args(Kind))
SLATES: frozenset[str] = frozenset(get_args(SlateName))

# Limits are part of the contract: a request past one is refused with a 400 that names the field.
MAX_BYTES = 4_000_000  # SageMaker's serverless payload limit, the tightest of its endpoint kinds
MAX_QUERIES = 1_000
MAX_HISTORY = 500
MAX_SLATES = 8
MAX_LIMIT = 200
MAX_EXCLUDE = 1_000
MAX_TEXT = 128  # characters of any id or category
MAX_AGE = 3_153_600_000.0  # seconds: a hundred years
MAX_COUNT = 1_000_000


class HistoryItem(TypedDict):
    """``count`` events of one kind on one product, folded; ``age`` is that of the latest, in seconds."""

    product_id: str
    kind: Kind
    age: float
    count: int


class SlateQuery(TypedDict):
    """One list wanted of a history.

    ``repeats`` says whether products that the history holds as purchases may appear; left out, only
    ``again`` and ``popular`` show them. ``category`` narrows ``popular`` to one category of the catalogue.
    """

    name: SlateName
    limit: int
    exclude: NotRequired[list[str]]
    category: NotRequired[str]
    repeats: NotRequired[bool]


class Query(TypedDict):
    """One history and the slates wanted of it. ``slate_id`` is random, says nothing, and is echoed."""

    slate_id: str
    history: list[HistoryItem]
    slates: list[SlateQuery]


class Request(TypedDict):
    version: int
    queries: list[Query]


class Recommendation(TypedDict):
    """``because`` is the history's product that contributed most; None where popularity filled the list."""

    product_id: str
    score: float
    because: str | None


class Answer(TypedDict):
    slate_id: str
    slates: dict[str, list[Recommendation]]


class Response(TypedDict):
    version: int
    model_version: str
    answers: list[Answer]


class ContractError(ValueError):
    """A message that breaks the contract; ``field`` is its path, such as ``queries[3].history[0].kind``."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def parse_request(body: bytes, loads: Callable[[bytes], Any] = json.loads) -> Request:
    """Decode and check a request. Raises ContractError; ``loads`` may be any faster JSON decoder."""
    request = _decoded(body, loads)
    for position, query in enumerate(_list(request, "queries", "queries", MAX_QUERIES)):
        try:
            _check_query(query)
        except ContractError as error:  # the path is built only when it is needed: this is the hot path
            raise ContractError(f"queries[{position}]{error.field}", error.problem) from None
    return cast(Request, request)


def parse_response(body: bytes, loads: Callable[[bytes], Any] = json.loads) -> Response:
    """Decode and check an answer, so that nonsense from an endpoint never reaches a cache."""
    response = _decoded(body, loads)
    _text(response, "model_version", "model_version")
    for position, answer in enumerate(_list(response, "answers", "answers", MAX_QUERIES)):
        try:
            _check_answer(answer)
        except ContractError as error:
            raise ContractError(f"answers[{position}]{error.field}", error.problem) from None
    return cast(Response, response)


def _decoded(body: bytes, loads: Callable[[bytes], Any]) -> dict[str, Any]:
    if len(body) > MAX_BYTES:
        raise ContractError("body", f"{len(body)} bytes, the limit is {MAX_BYTES}")
    try:
        message = loads(body)
    except (ValueError, RecursionError) as error:
        raise ContractError("body", f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ContractError("body", "must be a JSON object")
    version = message.get("version")
    if type(version) is not int or version != VERSION:
        raise ContractError("version", f"{version!r:.40} is not spoken here, {VERSION} is")
    return message


def _check_query(query: object) -> None:
    if not isinstance(query, dict):
        raise ContractError("", "must be an object")
    _text(query, "slate_id", ".slate_id")
    for position, item in enumerate(_list(query, "history", ".history", MAX_HISTORY)):
        field = f".history[{position}]"
        if not isinstance(item, dict):
            raise ContractError(field, "must be an object")
        _text(item, "product_id", f"{field}.product_id")
        _choice(item, "kind", f"{field}.kind", KINDS)
        age: Any = item.get("age")
        if type(age) not in (float, int) or not 0 <= age <= MAX_AGE:
            raise ContractError(f"{field}.age", f"must be seconds from 0 to {MAX_AGE:.0f}")
        _whole(item, "count", f"{field}.count", MAX_COUNT)
    for position, slate in enumerate(_list(query, "slates", ".slates", MAX_SLATES)):
        field = f".slates[{position}]"
        if not isinstance(slate, dict):
            raise ContractError(field, "must be an object")
        _choice(slate, "name", f"{field}.name", SLATES)
        _whole(slate, "limit", f"{field}.limit", MAX_LIMIT)
        if "exclude" in slate:
            for product_id in _list(slate, "exclude", f"{field}.exclude", MAX_EXCLUDE):
                if not isinstance(product_id, str) or not 0 < len(product_id) <= MAX_TEXT:
                    raise ContractError(
                        f"{field}.exclude", f"holds something else than ids of 1 to {MAX_TEXT} characters"
                    )
        if "category" in slate:
            _text(slate, "category", f"{field}.category")
        if "repeats" in slate and type(slate["repeats"]) is not bool:
            raise ContractError(f"{field}.repeats", "must be true or false")


def _check_answer(answer: object) -> None:
    if not isinstance(answer, dict):
        raise ContractError("", "must be an object")
    _text(answer, "slate_id", ".slate_id")
    slates = answer.get("slates")
    if not isinstance(slates, dict):
        raise ContractError(".slates", "must be an object")
    for name, items in slates.items():
        field = f".slates.{name}"
        if name not in SLATES or not isinstance(items, list) or len(items) > MAX_LIMIT:
            raise ContractError(field, f"must be a known slate with a list of at most {MAX_LIMIT}")
        for item in items:
            if not isinstance(item, dict):
                raise ContractError(field, "must hold objects")
            _text(item, "product_id", f"{field}.product_id")
            score: Any = item.get("score")
            if type(score) not in (float, int) or not isfinite(score):
                raise ContractError(f"{field}.score", "must be a finite number")
            if item.get("because") is not None:
                _text(item, "because", f"{field}.because")


def _list(holder: dict[str, Any], key: str, field: str, most: int) -> list[Any]:
    value = holder.get(key)
    if not isinstance(value, list):
        raise ContractError(field, "must be a list")
    if len(value) > most:
        raise ContractError(field, f"{len(value)} entries, the limit is {most}")
    return value


def _text(holder: dict[str, Any], key: str, field: str) -> None:
    value = holder.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise ContractError(field, f"must be text of 1 to {MAX_TEXT} characters")


def _choice(holder: dict[str, Any], key: str, field: str, choices: frozenset[str]) -> None:
    value = holder.get(key)
    if not isinstance(value, str) or value not in choices:
        raise ContractError(field, f"must be one of {', '.join(sorted(choices))}")


def _whole(holder: dict[str, Any], key: str, field: str, most: int) -> None:
    value = holder.get(key)
    if type(value) is not int or not 1 <= value <= most:
        raise ContractError(field, f"must be a whole number from 1 to {most}")


# --- Feeding the model -----------------------------------------------------------------------------------
# Two tables, written to S3 as Parquet by recommender.tasks.export_events and read by ml.data; load_shop reads
# CSV files with the same columns. A shopper is an opaque key that "forget me" replaces.


class EventRow(TypedDict):
    """One line of the events table. ``time`` is UTC: timestamp[us, tz=UTC] in Parquet, ISO 8601 in CSV."""

    shopper: str
    basket: str
    product_id: str
    kind: Kind
    quantity: int
    time: Any


class ProductRow(TypedDict):
    """One line of the products table. ``price`` is in the shop's currency, a float in Parquet."""

    product_id: str
    name: str
    department: str
    category: str
    type: str
    brand: str
    size: str
    price: float


EVENT_COLUMNS: tuple[str, ...] = tuple(EventRow.__annotations__)
PRODUCT_COLUMNS: tuple[str, ...] = tuple(ProductRow.__annotations__)
# Objects below an export's prefix. A part is written whole or not at all; _SUCCESS comes last and names the rows.
EVENTS_PREFIX = "events/"
PRODUCTS_PREFIX = "products/"
EXPORT_MARKER = "_SUCCESS"
