"""The shop's departments and their categories, from the catalogue itself."""

from dataclasses import dataclass, field
from functools import lru_cache

from django.urls import reverse
from django.utils.text import slugify

from storefront import index as catalogue
from storefront.index import Index

IN_MENU = 8  # departments that fit beside each other; the home page shows all of them


@dataclass(slots=True)
class Category:
    department: "Department"
    name: str
    slug: str
    count: int
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = reverse("category", args=[self.department.slug, self.slug])

    @property
    def value(self) -> str:
        """Its name among the index's values."""
        return f"{self.department.slug}/{self.slug}"


@dataclass(slots=True)
class Department:
    name: str
    slug: str
    sample: str  # the product whose picture stands for the department: its most popular
    count: int
    categories: dict[str, Category] = field(default_factory=dict)  # by slug
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = reverse("department", args=[self.slug])


def departments() -> dict[str, Department]:
    """Departments by slug, the largest first."""
    return _of(catalogue.current())


def named() -> tuple[tuple[str, str], ...]:
    """Names and slugs of those in the menu of every page."""
    return _named(catalogue.current())


def place(department: str, category: str) -> Category | None:
    """Where a product stands in the menu; None for one that came after the catalogue was last read."""
    found = departments().get(slugify(department) or "other")
    return found.categories.get(slugify(category) or "other") if found else None


@lru_cache(maxsize=1)
def _named(index: Index) -> tuple[tuple[str, str], ...]:
    return tuple((one.name, one.slug) for one in _of(index).values())[:IN_MENU]


@lru_cache(maxsize=1)
def _of(index: Index) -> dict[str, Department]:
    found = {
        slug: Department(index.labels[slug], slug, index.ids[places[0]], len(places))
        for slug, places in index.holders["department"].items()
    }
    for value, places in index.holders["category"].items():
        department = found[value.partition("/")[0]]
        slug = value.partition("/")[2]
        department.categories[slug] = Category(department, index.labels[value], slug, len(places))
    return dict(sorted(found.items(), key=lambda item: -item[1].count))
