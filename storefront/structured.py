"""A product page in schema.org's words, for search engines: https://schema.org/Product, https://schema.org/BreadcrumbList.

Data, not a program: browsers do not run a script of this type, so the page's policy need not allow it.
"""

from typing import Any

import orjson
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from storefront import art
from storefront.menu import Category
from storefront.models import Product

# A name must not end the element it stands in; these are JSON's own escapes.
_ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


def facts(request: HttpRequest, product: Product, place: Category | None) -> SafeString:
    """The script element's text."""
    told = {
        "@context": "https://schema.org",
        "@graph": [_product(request, product), _breadcrumbs(request, product, place)],
    }
    return SafeString(orjson.dumps(told).decode().translate(_ESCAPES))


def _product(request: HttpRequest, product: Product) -> dict[str, Any]:
    address = request.build_absolute_uri(product.get_absolute_url())
    available = "InStock" if product.can_be_bought else "Discontinued" if product.hidden else "OutOfStock"
    told = {
        "@type": "Product",
        "name": product.name,
        "sku": product.product_id,
        "category": f"{product.department} > {product.category}",
        "image": request.build_absolute_uri(art.address(product.label)),
        "url": address,
        "offers": {
            "@type": "Offer",
            "url": address,
            "price": f"{product.price_cents // 100}.{product.price_cents % 100:02d}",
            "priceCurrency": "USD",
            "availability": f"https://schema.org/{available}",
        },
    }
    if product.brand:
        told["brand"] = {"@type": "Brand", "name": product.brand}
    if product.size:
        told["size"] = product.size
    return told


def _breadcrumbs(request: HttpRequest, product: Product, place: Category | None) -> dict[str, Any]:
    steps = [("Home", reverse("home"))]
    if place:
        steps += [(place.department.name, place.department.url), (place.name, place.url)]
    steps.append((product.name, product.get_absolute_url()))
    return {
        "@type": "BreadcrumbList",
        "itemListElement": [
            {"@type": "ListItem", "position": position, "name": name, "item": request.build_absolute_uri(address)}
            for position, (name, address) in enumerate(steps, 1)
        ],
    }
