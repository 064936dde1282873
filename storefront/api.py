"""The HTTP API: what a page reports, and recommendations as JSON.

The shopper is the session's, never the body's. Views, impressions, clicks and dismissals are reported here, because
only the browser knows of them; carts and purchases are recorded by the server that made them.
"""

from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.urls import reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, CSRFCheck, SessionAuthentication
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ml.contract import MAX_TEXT
from storefront import panels, reports
from storefront import visitor as visitors
from storefront.feedback import LONGEST_ARM
from storefront.models import Product, is_product_id
from storefront.reports import KINDS, LAST_POSITION, LONGEST_KEY, MOST_BYTES, MOST_EVENTS

SERVER_KINDS = ("cart", "purchase")
WHO = frozenset({"shopper_id", "shopper", "user", "user_id", "customer_id", "account"})


class BrowserOnly(BaseAuthentication):
    """No user is looked up, since the session names the shopper; but every write proves that it came from our page.

    DRF's own SessionAuthentication asks that proof only of signed-in users, and costs a query for each.
    """

    def authenticate(self, request: Request) -> None:
        if request.method not in SAFE_METHODS:
            SessionAuthentication().enforce_csrf(request)
        return None


class ReportParser(JSONParser):
    """JSON of bounded size and depth: whatever else arrives is the sender's error, not ours."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise ParseError(f"A report has at most {MOST_BYTES} bytes.")
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


class BrowserOnlyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's registry
    """For the schema: what a caller must carry."""

    target_class = BrowserOnly
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "And X-CSRFToken on every write."}


class PerSender(BaseThrottle):
    """By shopper, or by address where nothing is stored and the limit spares the product lookup."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        return reports.is_within_limit(_plain(request))

    def wait(self) -> float:
        return reports.REPORTS_OF.seconds


class Strict(serializers.Serializer[Any]):
    """Refuses what it does not know: a misspelt field is an error, and a shopper's id is none of the browser's."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            if forged := WHO & data.keys():
                raise ValidationError({sorted(forged)[0]: "The shopper comes from the session, never from the body."})
            if unknown := data.keys() - self.fields.keys():
                raise ValidationError({str(sorted(unknown, key=str)[0])[:50]: "There is no such field."})
        return super().to_internal_value(data)


class EventSerializer(Strict):
    kind = serializers.CharField(help_text=f"One of {', '.join(KINDS)}.")
    product_id = serializers.CharField(max_length=MAX_TEXT, validators=[is_product_id])
    key = serializers.CharField(
        max_length=LONGEST_KEY, required=False, help_text="Idempotency key: the same key again is the same event."
    )
    slate_id = serializers.CharField(max_length=MAX_TEXT, required=False, allow_blank=True)
    model_version = serializers.CharField(max_length=MAX_TEXT, required=False, allow_blank=True)
    arm = serializers.CharField(max_length=LONGEST_ARM, required=False, allow_blank=True)
    position = serializers.IntegerField(min_value=1, max_value=LAST_POSITION, required=False)

    def validate_kind(self, kind: str) -> str:
        if kind in SERVER_KINDS:
            raise ValidationError(f"“{kind}” is recorded by the server that did it and cannot be reported.")
        if kind not in KINDS:
            raise ValidationError(f"“{kind[:50]}” is not one of {', '.join(KINDS)}.")
        return kind


class ReportSerializer(Strict):
    events = serializers.ListField(child=EventSerializer(), min_length=1, max_length=MOST_EVENTS)


class AcceptedSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Events stored: none without consent, none that came before.")


class EventsView(APIView):
    authentication_classes = (BrowserOnly,)
    parser_classes = (ReportParser,)
    throttle_classes = (PerSender,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """A good report is kept at once; everything else is refused by DRF, in its own words."""
        if request.method == "POST" and (events := reports.recognised(request)) and _is_from_our_page(request):
            with suppress(ValidationError):
                if reports.is_within_limit(request):
                    return reports.kept(request, events)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        request=ReportSerializer,
        responses={
            202: AcceptedSerializer,
            400: OpenApiResponse(OpenApiTypes.OBJECT, "What is wrong, by field."),
            403: OpenApiResponse(OpenApiTypes.OBJECT, "The CSRF token is missing or wrong."),
            429: OpenApiResponse(OpenApiTypes.OBJECT, "Too many reports."),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Report what the shopper saw and did. Without consent, a view is kept in the browser's cookie alone."""
        report = ReportSerializer(data=request.data)
        report.is_valid(raise_exception=True)
        return reports.kept(_plain(request), report.validated_data["events"])


def _is_from_our_page(request: HttpRequest) -> bool:
    return _from_our_page.process_view(request, None, (), {}) is None  # type: ignore[arg-type]  # of a view it asks little


_from_our_page = CSRFCheck(HttpResponse)  # says why not, where Django's own would answer with a page


class WantedSerializer(Strict):
    slate = serializers.ChoiceField(tuple(panels.SHOWN), default="for_you")
    product_id = serializers.CharField(max_length=MAX_TEXT, validators=[is_product_id], required=False)
    limit = serializers.IntegerField(min_value=1, max_value=max(panels.SHOWN.values()), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["slate"] in ("together", "similar") and "product_id" not in attrs:
            raise ValidationError({"product_id": f"“{attrs['slate']}” is of a product: name it."})
        return attrs


class RecommendedSerializer(serializers.Serializer[Any]):
    product_id = serializers.CharField()
    name = serializers.CharField()
    brand = serializers.CharField()
    size = serializers.CharField()
    price_cents = serializers.IntegerField()
    url = serializers.CharField()
    image = serializers.CharField()
    position = serializers.IntegerField(help_text="From 1; to be given back on impressions and clicks.")
    reason = serializers.CharField(help_text="Why it is there, in plain words; empty where there is no reason to give.")


class RecommendationsSerializer(serializers.Serializer[Any]):
    slate = serializers.CharField()
    slate_id = serializers.CharField()
    model_version = serializers.CharField()
    arm = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]  # the answer's field, not DRF's attribute
        help_text="fresh, stale, viewed, category, popular, or none when there is nothing."
    )
    products = RecommendedSerializer(many=True)


@lru_cache(maxsize=1_000)
def _wanted(query: str) -> dict[str, Any]:
    """What a query string asks for; checking it takes longer than the answer, and the same few are asked for ever."""
    wanted = WantedSerializer(data=QueryDict(query).dict())
    wanted.is_valid(raise_exception=True)
    checked: dict[str, Any] = wanted.validated_data
    return checked


class RecommendationsView(APIView):
    authentication_classes = (BrowserOnly,)
    throttle_classes = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """A good question is answered at once: there is one format, no user and no limit to look for, and looking cost
        more than the database. What is no good question, DRF refuses in its own words."""
        if request.method == "GET":
            with suppress(ValidationError):
                return HttpResponse(orjson.dumps(_recommended(request)), content_type="application/json")
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        parameters=[
            OpenApiParameter("slate", str, enum=list(panels.SHOWN), default="for_you"),
            OpenApiParameter("product_id", str, description="Whose neighbours: needed by together and similar."),
            OpenApiParameter("limit", int, description=f"1 to {max(panels.SHOWN.values())}."),
        ],
        responses={200: RecommendationsSerializer, 400: OpenApiResponse(OpenApiTypes.OBJECT, "What is wrong.")},
    )
    def get(self, request: Request) -> Response:
        """Products to show this session's shopper, every one of which can be bought at this moment."""
        return Response(_recommended(_plain(request)))


def _recommended(request: HttpRequest) -> dict[str, Any]:
    wanted = _wanted(request.META.get("QUERY_STRING", ""))
    name, product_id = wanted["slate"], wanted.get("product_id")
    product = Product.objects.visible().filter(product_id=product_id).first() if product_id else None
    if product_id and product is None:
        raise ValidationError({"product_id": f"There is no product {product_id}."})
    panel = panels.for_page(visitors.of(request), [name], product).get(name)
    if panel is None:
        return {"slate": name, "slate_id": "", "model_version": "", "arm": "", "source": "none", "products": []}
    return {
        "slate": name,
        "slate_id": panel.slate.slate_id,
        "model_version": panel.slate.model_version,
        "arm": panel.slate.arm,
        "source": panel.slate.source,
        "products": [_hydrated(card) for card in panel.cards[: wanted.get("limit")]],
    }


def _hydrated(card: panels.Card) -> dict[str, Any]:
    product = card.product
    return {
        "product_id": product.product_id,
        "name": product.name,
        "brand": product.brand,
        "size": product.size,
        "price_cents": product.price_cents,
        "url": _address("product", product.product_id),
        "image": _address("art", product.product_id),
        "position": card.position,
        "reason": card.because,
    }


@lru_cache(maxsize=40_000)
def _address(name: str, product_id: str) -> str:
    """A page's address never changes while the process runs, and finding it took longer than finding the product."""
    return reverse(name, args=[product_id])


def _plain(request: Request) -> HttpRequest:
    return request._request
