"""The endpoint's answers, decoded and checked in one pass.

The contract's own parser says the same in Python, at five times the cost of a drain's other work. So the good answer
is recognised here, in C, and a bad one is shown to the contract, which knows how to say what is wrong with it.
"""

from typing import Annotated, Literal

import msgspec
import orjson

from ml import contract

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=contract.MAX_TEXT)]


class Item(msgspec.Struct, gc=False):
    product_id: Text
    score: float
    because: Text | None = None


class Answer(msgspec.Struct, gc=False):
    slate_id: Text
    slates: dict[contract.SlateName, Annotated[list[Item], msgspec.Meta(max_length=contract.MAX_LIMIT)]]


class Response(msgspec.Struct, gc=False):
    version: Literal[1]
    model_version: Text
    answers: Annotated[list[Answer], msgspec.Meta(max_length=contract.MAX_QUERIES)]


_decode = msgspec.json.Decoder(Response).decode


def decoded(body: bytes) -> Response:
    """The answer. Raises contract.ContractError, which names the field."""
    try:
        if len(body) <= contract.MAX_BYTES:
            return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    contract.parse_response(body, orjson.loads)
    raise contract.ContractError("body", "is taken for an answer by the contract, but not here")
