"""What a page reports: recognised, counted, kept.

What a report may be, storefront.api's serializers say, and what is wrong with one they alone can tell. But nearly every
report is good, and asking them costs more than keeping its events. So what is good beyond doubt is recognised here in
one pass, in C; it is a subset of what they accept, and means the same.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec
import orjson
from django.http import HttpRequest, HttpResponse
from msgspec import UNSET, Meta, UnsetType
from rest_framework.exceptions import ValidationError

from ml.contract import MAX_TEXT
from recommender.events import NewEvent
from storefront import visitor as visitors
from storefront.catalogue import known
from storefront.feedback import LONGEST_ARM
from storefront.limits import Limit, address
from storefront.models import is_product_id

Kind = Literal["view", "impression", "click", "dismiss"]
KINDS: tuple[str, ...] = get_args(Kind)
MOST_EVENTS = 50  # of one report
MOST_BYTES = 50_000  # of one report: fifty events with every field at its longest are near it
LONGEST_KEY, LAST_POSITION = 64, 200

REPORTS_OF = Limit("reports of a shopper", most=120, seconds=60)  # a busy hand opens two products a second
REPORTS_FROM = Limit("reports without consent from an address", most=3000, seconds=60)  # which may be an office's

_PLAIN = r"\A[!-~]*\Z"  # nothing that a serializer would trim or refuse
Stamp = Annotated[str, Meta(max_length=MAX_TEXT, pattern=_PLAIN)]


class Event(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    kind: Kind
    product_id: Annotated[str, Meta(max_length=MAX_TEXT, pattern=is_product_id.regex.pattern)]
    key: Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY, pattern=_PLAIN)] | UnsetType = UNSET
    slate_id: Stamp = ""
    model_version: Stamp = ""
    arm: Annotated[str, Meta(max_length=LONGEST_ARM, pattern=_PLAIN)] = ""
    position: Annotated[int, Meta(ge=1, le=LAST_POSITION)] | UnsetType = UNSET


class Report(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: Annotated[list[Event], Meta(min_length=1, max_length=MOST_EVENTS)]


_decode = msgspec.json.Decoder(Report).decode


def recognised(request: HttpRequest) -> list[dict[str, Any]] | None:
    """The events of a report that is good beyond doubt, without the fields that say nothing; else None.

    Reads no body that is longer than a report may be.
    """
    length = request.META.get("CONTENT_LENGTH", "")
    if request.content_type != "application/json" or request.encoding:  # another than JSON's own
        return None
    if not length.isdecimal() or len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
        return None
    return decoded(request.body)


def decoded(body: bytes) -> list[dict[str, Any]] | None:
    try:
        events: list[dict[str, Any]] = msgspec.to_builtins(_decode(body).events)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return events


_WITHIN_LIMIT = "aisle.within_limit"


def is_within_limit(request: HttpRequest) -> bool:
    """Whether this report is; counted once, though it may be asked twice."""
    if _WITHIN_LIMIT not in request.META:
        shopper_id = visitors.of(request).shopper_id
        limit, whom = (REPORTS_FROM, address(request)) if shopper_id is None else (REPORTS_OF, str(shopper_id))
        request.META[_WITHIN_LIMIT] = not limit.exceeded(whom)
    return bool(request.META[_WITHIN_LIMIT])


def kept(request: HttpRequest, reported: list[dict[str, Any]]) -> HttpResponse:
    """Keep the events, and what this browser remembers of them. Raises DRF's ValidationError for unknown products."""
    _check_products({event["product_id"] for event in reported})
    visitor = visitors.of(request)
    stored = 0
    if visitor.shopper_id is not None:
        stored = visitor.record([NewEvent(**event, basket=visitor.visit) for event in reported])
    response = HttpResponse(orjson.dumps({"accepted": stored}), status=202, content_type="application/json")
    for event in reported:
        if event["kind"] == "dismiss":
            visitor.dismiss(event["product_id"])
        elif event["kind"] == "view":
            visitor.saw(event["product_id"], response)
    return response


def _check_products(product_ids: set[str]) -> None:
    """Raises ValidationError for one that never was. What was found once is not asked again: products are hidden, and
    what happened to one that an administrator did delete does no harm."""
    if product_ids <= _found:
        return
    _found.update(known(product_ids))
    if unknown := sorted(product_ids - _found):
        raise ValidationError({"product_id": f"There is no product {', '.join(unknown)}."})


_found: set[str] = set()  # as many as the catalogue has
