"""The pages that find: department, category, search, and the suggestions of the search box.

Every listing is one GET form of facets and sort order, and its address says everything: it can be sent, bookmarked and
come back to. With htmx the same address answers with the parts that change. A listing costs one query for its
products, one for the panel below them, and one for the cart of who has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from django_htmx.http import push_url, replace_url
from django_htmx.middleware import HtmxDetails

from storefront import index as catalogue
from storefront import menu, panels, search, suggestions
from storefront import visitor as visitors
from storefront.facets import Narrowing, Value
from storefront.models import Product

A_PAGE = 24  # products
MOST_PAGES = 5  # that "Show more" puts below each other; then the next page is a page of its own
BEST, POPULAR = ("", "Best match"), ("", "Most popular")  # the order that a listing has by itself
SORTS = {"price": "Price, low to high", "-price": "Price, high to low", "name": "Name", "new": "Newest"}
IN_DEPARTMENT = ("brand", "price", "stock")
IN_CATEGORY = ("type", "brand", "price", "stock")
IN_SEARCH = ("department", "category", "brand", "price", "stock")
POPULAR_SHOWN = 6  # where nothing was found
MORE = "more"  # the id of what "Show more" replaces


@dataclass
class Listing:
    """A page of products as the address asks for it."""

    request: HttpRequest
    narrowing: Narrowing
    own_order: tuple[str, str]
    fixed: list[tuple[str, str]] = field(default_factory=list)  # parameters that are not the listing's: the search

    def __post_init__(self) -> None:
        query = self.request.GET
        self.sort = query.get("sort", "") if query.get("sort", "") in SORTS else ""
        self.kept = self.narrowing.kept()
        self.ordered = self._sorted()
        # get_page makes the nearest real page of whatever stands in the address.
        self.page = Paginator(self.ordered, A_PAGE).get_page(query.get("page"))
        first = whole(query.get("from", ""), 1, self.page.number)
        self.first_page = max(first, self.page.number - MOST_PAGES + 1)

    def _sorted(self) -> Sequence[int]:
        if not self.sort:
            return self.kept
        keys = self.narrowing.index.keys[self.sort.lstrip("-")]
        # Sorting is stable, reversed too: among equals the more popular stays first.
        newest_or_dearest_first = self.sort in ("-price", "new")
        return sorted(self.kept, key=keys.__getitem__, reverse=newest_or_dearest_first)

    @property
    def sorts(self) -> list[tuple[str, str]]:
        return [self.own_order, *SORTS.items()]

    @property
    def count(self) -> int:
        return len(self.kept)

    @property
    def facets(self) -> list[Any]:
        return self.narrowing.facets(self.kept)

    @property
    def chips(self) -> list[tuple[Value, str]]:
        """What is chosen, each with the address without it."""
        return [(chip, self.address(without=chip)) for chip in self.narrowing.chips()]

    @property
    def unfiltered(self) -> str:
        return self._as_address([*self.fixed, *self._sort()])

    @property
    def left(self) -> int:
        """Products after those shown."""
        return self.count - self.page.end_index()

    @property
    def here(self) -> str:
        return self.address(first=self.first_page, page=self.page.number)

    @property
    def next_page(self) -> str:
        return self.address(page=self.page.next_page_number())

    @property
    def previous_page(self) -> str:
        return self.address(page=self.first_page - 1)

    @property
    def longer(self) -> str:
        """The address that shows the next page below these; empty if that would be too long a page."""
        if not self.page.has_next() or self.page.number - self.first_page + 1 >= MOST_PAGES:
            return ""
        return self.address(first=self.first_page, page=self.page.next_page_number())

    def address(self, without: Value | None = None, first: int = 0, page: int = 1) -> str:
        """Canonical: what is chosen, in one order, and nothing that says nothing. ``first``: of the pages shown."""
        span = [("from", str(first))] if 0 < first < page else []
        number = [("page", str(page))] if page > 1 else []
        return self._as_address([*self.fixed, *self.narrowing.pairs(without), *self._sort(), *span, *number])

    def _sort(self) -> list[tuple[str, str]]:
        return [("sort", self.sort)] if self.sort else []

    def _as_address(self, pairs: list[tuple[str, str]]) -> str:
        return f"{self.request.path}?{urlencode(pairs)}" if pairs else self.request.path

    def places(self, only_last_page: bool) -> Sequence[int]:
        start = self.page.number if only_last_page else self.first_page
        return self.ordered[(start - 1) * A_PAGE : self.page.number * A_PAGE]


@require_safe
def department(request: HttpRequest, department: str) -> HttpResponse:
    found = _department(department)
    index = catalogue.current()
    narrowing = Narrowing(index, index.holders["department"].get(found.slug, ()), IN_DEPARTMENT, request.GET)
    context = {"title": found.name, "department": found, "categories": found.categories.values()}
    return _answer(request, "listing.html", Listing(request, narrowing, POPULAR), context)


@require_safe
def category(request: HttpRequest, department: str, category: str) -> HttpResponse:
    shelves = _department(department)
    found = shelves.categories.get(category)
    if found is None:
        raise Http404("There is no such category.")
    index = catalogue.current()
    narrowing = Narrowing(index, index.holders["category"].get(found.value, ()), IN_CATEGORY, request.GET)
    context = {
        "title": found.name,
        "department": shelves,
        "category": found,
        "categories": shelves.categories.values(),
    }
    return _answer(request, "listing.html", Listing(request, narrowing, POPULAR), context, found.name)


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    query = _query(request)
    exact = bool(request.GET.get("exact"))
    found = search.find(query, exact)
    if not found.ranked:
        return _nothing(request, query)
    narrowing = Narrowing(catalogue.current(), found.ranked, IN_SEARCH, request.GET)
    fixed = [("q", query), *([("exact", "1")] if exact else [])]
    context = {
        "title": found.corrected or query,
        "query": query,
        "corrected": found.corrected,
        "also": found.also,
        "matched": found.matched,
    }
    return _answer(request, "search.html", Listing(request, narrowing, BEST, fixed), context)


@require_safe
@cache_control(public=True, max_age=60)
def suggest(request: HttpRequest) -> HttpResponse:
    """The options of the search box's list. The same for everybody, so that proxies and browsers may keep it."""
    return render(request, "suggestions.html", {"suggestions": suggestions.suggest(_query(request))})


def _answer(
    request: HttpRequest, template: str, listing: Listing, context: dict[str, Any], category: str | None = None
) -> HttpResponse:
    visitor = visitors.of(request)
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]  # the middleware's
    is_part = bool(htmx) and not htmx.history_restore_request
    is_below = is_part and htmx.target == MORE
    ids = [listing.narrowing.index.ids[place] for place in listing.places(only_last_page=is_below)]
    cards = panels.listing(visitor, Product.objects.visible().in_order(ids))
    context = {"matched": (), **context, "listing": listing, "cards": cards, "is_part": is_part}
    if is_below:
        response = replace_url(render(request, "more.html", context), listing.here)
    elif is_part:
        response = push_url(render(request, "found.html", context), listing.here)
    else:
        context["panels"] = panels.for_page(visitor, ["for_you"], category=category)
        response = render(request, template, context)
    # A browser that comes back must not take a part that it kept for the page.
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


def _nothing(request: HttpRequest, query: str) -> HttpResponse:
    """The search page without results: nearest words, each word by itself, what others buy, departments."""
    context: dict[str, Any] = {"query": query, "departments": menu.departments().values()}
    if query:
        visitor = visitors.of(request)
        popular = Product.objects.visible().in_stock().in_order(catalogue.current().ids[:POPULAR_SHOWN])
        context |= {
            "nearest": search.nearest(query),
            "alone": search.alone(query),
            "panels": panels.for_page(visitor, ["for_you"]),
            "cards": panels.listing(visitor, popular),
        }
    return render(request, "nothing.html", context)


def whole(text: str, least: int, most: int) -> int:
    """The number in a query string, brought into its bounds; ``most`` for what is none."""
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 10 else most


def _query(request: HttpRequest) -> str:
    # Nobody means to look for NUL, and a longer query is no better understood.
    return request.GET.get("q", "").replace("\0", "").strip()[: search.LONGEST]


def _department(slug: str) -> menu.Department:
    found = menu.departments().get(slug)
    if found is None:
        raise Http404("There is no such department.")
    return found
