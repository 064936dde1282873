"""The shop's departments and their categories, from the catalogue itself."""

import time
from dataclasses import dataclass, field
from functools import lru_cache

from django.urls import reverse
from django.utils.text import slugify

from storefront.models import Product

KEPT = 60  # seconds in this process: every page shows the menu, and it changes when a catalogue is loaded


@dataclass(slots=True)
class Category:
    department: "Department"
    name: str
    slug: str
    count: int = 0

    @property
    def url(self) -> str:
        return reverse("category", args=[self.department.slug, self.slug])


@dataclass(slots=True)
class Department:
    name: str
    slug: str
    sample: str  # the product whose picture stands for the department: its most popular
    count: int = 0
    categories: dict[str, Category] = field(default_factory=dict)  # by slug

    @property
    def url(self) -> str:
        return reverse("department", args=[self.slug])


def departments() -> dict[str, Department]:
    """Departments by slug, the largest first."""
    return _read(int(time.monotonic() // KEPT))


def place(department: str, category: str) -> Category | None:
    """Where a product stands in the menu; None for one that came after the menu was last read."""
    found = departments().get(slugify(department) or "other")
    return found.categories.get(slugify(category) or "other") if found else None


@lru_cache(maxsize=1)
def _read(period: int) -> dict[str, Department]:
    found: dict[str, Department] = {}
    rows = Product.objects.visible().order_by("-popularity", "product_id")
    for department_name, category_name, product_id in rows.values_list("department", "category", "product_id"):
        slug = slugify(department_name) or "other"
        department = found.setdefault(slug, Department(department_name, slug, product_id))
        department.count += 1
        slug = slugify(category_name) or "other"
        category = department.categories.setdefault(slug, Category(department, category_name, slug))
        category.count += 1
    return dict(sorted(found.items(), key=lambda item: -item[1].count))


def refresh() -> None:
    """Read the catalogue anew at the next look, in this process."""
    _read.cache_clear()
