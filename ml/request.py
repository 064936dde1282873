"""A request's bytes become checked queries in one pass of msgspec's compiled decoder.

The contract's own ``parse_request`` decides what is right and words what is wrong, but looking at every field in Python
costs a server more than decoding. So msgspec is told the same limits, and whatever it refuses goes through
``parse_request``; the tests hold the two to one verdict. Fields that the contract does not name are skipped.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
import orjson
from msgspec import Meta

from ml import contract
from ml.contract import Kind, Query, SlateName

_Text = Annotated[str, Meta(min_length=1, max_length=contract.MAX_TEXT)]


class _HistoryItem(TypedDict):
    product_id: _Text
    kind: Kind
    age: Annotated[float, Meta(ge=0, le=contract.MAX_AGE)]
    count: Annotated[int, Meta(ge=1, le=contract.MAX_COUNT)]


class _SlateQuery(TypedDict):
    name: SlateName
    limit: Annotated[int, Meta(ge=1, le=contract.MAX_LIMIT)]
    exclude: NotRequired[Annotated[list[_Text], Meta(max_length=contract.MAX_EXCLUDE)]]
    category: NotRequired[_Text]
    repeats: NotRequired[bool]


class _Query(TypedDict):
    slate_id: _Text
    history: Annotated[list[_HistoryItem], Meta(max_length=contract.MAX_HISTORY)]
    slates: Annotated[list[_SlateQuery], Meta(max_length=contract.MAX_SLATES)]


class _Request(TypedDict):
    version: Literal[1]
    queries: Annotated[list[_Query], Meta(max_length=contract.MAX_QUERIES)]


_decode = msgspec.json.Decoder(_Request).decode


def queries_of(body: bytes) -> list[Query]:
    """The queries of a request. Raises ContractError as ``parse_request`` does."""
    if len(body) <= contract.MAX_BYTES:
        try:
            return _decode(body)["queries"]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    return contract.parse_request(body, orjson.loads)["queries"]
