"""Product names that people can read, made from till codes such as ``FRZN SS PREMIUM ENTREES/DNRS/T``.

Real: what a thing is (type, category) and its size. Invented, since the data hides them: brands (one for each
manufacturer number) and the word that tells two products of one brand, type and size apart (flavour, strength…).
Both are picked in a fixed order, so the same data always gets the same names.

Tables beside this file: ``categories.csv`` (a category's code → department and category; ``-`` is not goods),
``types.csv`` (a type's code, in one category or in all → name), ``variants.csv`` (pools of telling words).
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

OWN_LABEL = "Hearth & Field"
UNBRANDED = 2  # the manufacturer number of loose goods
NOT_GOODS = "-"


class Code(NamedTuple):
    """A product as the till knows it. Texts are empty where the data has none."""

    product_id: int
    manufacturer: int
    private: bool
    department: str
    category: str
    type: str
    size: str


class Named(NamedTuple):
    """A product as a shop shows it."""

    product_id: int
    name: str
    department: str
    category: str
    type: str
    brand: str
    size: str


class _Place(NamedTuple):
    department: str
    category: str
    variants: str


def _table(name: str) -> Iterator[dict[str, str]]:
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


class Names:
    """The three tables, read once."""

    def __init__(self) -> None:
        self._places = {
            row["code"]: _Place(row["department"], row["category"], row["variants"]) for row in _table("categories.csv")
        }
        self._types = {(row["category"], row["code"]): (row["name"], row["variants"]) for row in _table("types.csv")}
        self._variants = {row["pool"]: row["variants"].split(";") for row in _table("variants.csv")}

    def named(self, codes: Sequence[Code]) -> list[Named]:
        """Name the goods among ``codes``; what is not goods (fuel, coupons, tobacco…) is left out.

        Products that would share a name get telling words in the order of ``codes``, so give best sellers first.
        """
        goods = [(code, place, *self.type_of(code)) for code in codes if (place := self.place_of(code)) is not None]
        goods = [entry for entry in goods if entry[2] != NOT_GOODS]
        brands = brand_names(sorted({code.manufacturer for code, *_ in goods}))
        plain: list[Named] = []
        for code, place, type_name, _ in goods:
            brand = OWN_LABEL if code.private else brands[code.manufacturer]
            size = "" if is_case(code) else readable_size(code.size)
            plain.append(Named(code.product_id, "", place.department, place.category, type_name, brand, size))
        alike = Counter(_bare(entry) for entry in plain)
        nth: Counter[tuple[str, str, str]] = Counter()
        taken = {full_name(entry, "") for entry in plain}
        result = []
        for entry, (_, place, _, pool) in zip(plain, goods, strict=True):
            key, name = _bare(entry), full_name(entry, "")
            while alike[key] > 1 and name in taken:
                name = full_name(entry, self.variant(pool or place.variants, entry.type, nth[key]))
                nth[key] += 1
            taken.add(name)
            result.append(entry._replace(name=name))
        return result

    def place_of(self, code: Code) -> _Place | None:
        """Where the shop puts it; None for what is not goods."""
        place = self._places.get(code.category)
        if place is None and code.category:  # one that the table does not know: the till's own words have to do
            place = _Place(readable(code.department), readable(code.category), "plain")
        return None if place is None or place.department == NOT_GOODS else place

    def type_of(self, code: Code) -> tuple[str, str]:
        """Its readable type, and the pool of its variants ("" for the category's)."""
        for category in (code.category, ""):
            if (category, code.type) in self._types:
                return self._types[category, code.type]
        return readable(code.type) or readable(code.category), ""

    def variant(self, pool: str, type_name: str, nth: int) -> str:
        """The nth telling word for this type: first the pool's own, then those with a line's name before them."""
        words = self._words_for(pool, type_name)
        line, position = divmod(nth, len(words))
        if line >= len(LINES):
            return f"{words[position]} No. {line}"
        return f"{LINES[line]} {words[position]}".strip()

    @cache  # noqa: B019 - lives as long as the one conversion
    def _words_for(self, pool: str, type_name: str) -> list[str]:
        """Without those that the type says already."""
        said = set(type_name.split())
        return [word for word in self._variants[pool] if said.isdisjoint(word.split())]


LINES = ("", "Signature", "Everyday", "Harvest", "Reserve", "Chef's", "Family", "Simply")
_STEMS = (  # noqa: SIM905 - as a list it would be fifty lines
    "Alder Ash Barn Birch Bram Brier Calder Cedar Clover Copper Corn Dale Elder Elm Fair Fen Fern Glen Gold Hazel "
    "Heron Hollow Juniper Kestrel Lark Linden Maple Marlow Meadow Mill Moss Nettle North Oaken Orchard Pebble Quill "
    "Raven Rowan Sable Stone Thistle Thorn Vale Wester Willow Winter Wren"
).split()
_ENDS = (  # noqa: SIM905
    "brook bury by combe cote cott croft den dene don fell field ford gate grove ham haven heath hurst lea ley low "
    "mere mont more ness ridge row shaw side stead stow thorpe ton vale wade ward well wick wold worth yard"
).split()


def brand_names(manufacturers: Iterable[int]) -> dict[int, str]:
    """An invented brand for each manufacturer number, such as Thornwick; loose goods have none."""
    brands = [stem + end for stem, end in product(_STEMS, _ENDS) if not end.startswith(stem[-1].lower())]
    stride = 1019  # a prime that does not divide the number of brands, so neighbours in number do not sound alike
    named = {number: brands[position * stride % len(brands)] for position, number in enumerate(manufacturers)}
    return named | {UNBRANDED: ""}


def full_name(product: Named, word: str) -> str:
    """``Thornwick Strawberry Yogurt 6 oz``; how it is done or sold goes behind: ``Bananas, Loose``."""
    behind = word.startswith(("In ", "With ", "For ", "Size ", "Loose", "Bagged"))
    parts = [product.brand, "" if behind else word, product.type]
    name = " ".join(part for part in parts if part)
    if behind:
        name += f", {word}"
    return f"{name}, {product.size}" if behind and product.size else f"{name} {product.size}".strip()


def _bare(product: Named) -> tuple[str, str, str]:
    return product.brand, product.type, product.size


_LONG = {
    "ACCS": "Accessories", "ADDITI": "Additives", "BBQ": "Barbecue", "BEV": "Beverage", "BKD": "Baked", "BN": "Bean",
    "BRD": "Breaded", "BRKFST": "Breakfast", "BTL": "Bottle", "CHIX": "Chicken", "CHOC": "Chocolate", "CND": "Canned",
    "CONC": "Concentrate", "DECAFFINATED": "Decaf", "DNR": "Dinner", "DNRS": "Dinners", "DRNK": "Drink", "FD": "Food",
    "FLVR": "Flavor", "FLVRD": "Flavored", "FRZ": "Frozen", "FRZN": "Frozen", "GRND": "Ground", "JCE": "Juice",
    "LNCHMT": "Lunch Meat", "MISC": "", "MIXS": "Mixes", "MLK": "Milk", "MX": "Mix", "ORIENTAL": "Asian", "PK": "Pack",
    "PKG": "Packed", "PKGD": "Packaged", "PKLD": "Pickled", "PNT": "Peanut", "POINSETTA": "Poinsettia",
    "PORTABELLA": "Portabella", "PREM": "Premium", "PWDR": "Powder", "REFRGRATD": "Refrigerated",
    "REFRIG": "Refrigerated", "SAUS": "Sausage", "SGL": "Single", "SNACK": "Snack", "SPECILATY": "Specialty",
    "SV": "Service", "SW": "Sweet", "SYRP": "Syrup", "VEG": "Vegetable", "WHL": "Whole", "WTR": "Water",
}  # fmt: skip
_NOISE = {"ALL", "BRANDS", "OTHER", "MISCELLANEOUS", "N/A", "ETC", "EXCEPT", "INCLUDING"}


def readable(code: str) -> str:
    """A till code without its bracketed remarks and abbreviations: ``AIR CARE - CANDLES`` → ``Candles Air Care``."""
    code = re.sub(r"\(.*?(\)|$)", " ", code).replace("W/", "WITH ").replace("&", " & ")
    head, _, tail = (part.strip() for part in re.sub(r"\s*(?::|\s-|-\s)\s*", "|", code, count=1).partition("|"))
    words = f"{tail} {head}".replace("/", " & ").replace(".", " ").split()
    kept = [_LONG.get(word, word) for word in words if word not in _NOISE]
    text = " ".join(word if word in _LONG.values() else word.capitalize() for word in kept if word)
    return re.sub(r"^(& )+|( &)+$", "", re.sub(r"(& )+", "& ", text))


_UNITS = {
    "OZ": "oz", "OZS": "oz", "Z": "oz", "LB": "lb", "LBS": "lb", "CT": "ct", "PK": "pack", "PKS": "pack", "P": "pack",
    "L": "L", "LTR": "L", "ML": "ml", "SQ FT": "sq ft", "QT": "qt", "PT": "pt", "GAL": "gal", "GA": "gal", "G": "g",
    "LOAD": "loads", "LOADS": "loads", "LD": "loads", "LDS": "loads", "USE": "uses", "IN": "in", "FT": "ft",
    "PC": "pieces", "PCS": "pieces", "DZ": "dozen", "DOZ": "dozen", "STEM": "stems", "KIT": "kit", "FL OZ": "fl oz",
}  # fmt: skip
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_SINGLE = re.compile(rf"(?P<amount>[\d.]+(?:-[\d.]+)?|[\d]+ \d/\d)?\s*(?P<unit>{_UNIT})\b")
_MANY = re.compile(rf"(?P<count>\d+)\s*(?P<of>PK|P|CT)?\s*/\s*(?P<amount>[\d.]+)\s*(?P<unit>{_UNIT})\b")


def readable_size(code: str) -> str:
    """``12/12 OZ`` → ``12 × 12 oz``, ``1 GA`` → ``1 gal``; empty for what is no size."""
    code = re.sub(r"^[A-Z]\s+(?=[\d.])", "", code.strip())
    if many := _MANY.match(code):
        return f"{many['count']} × {_number(many['amount'])} {_UNITS[many['unit']]}"
    if single := _SINGLE.match(code):
        return f"{_number(single['amount'] or '1')} {_UNITS[single['unit']]}"
    return ""


def _number(text: str) -> str:
    return "-".join(re.sub(r"^\.", "0.", part.rstrip(".")) for part in text.split("-"))


def is_case(code: Code) -> bool:
    """Whether the size is that of the crate a grocer buys (bananas, 40 LB), not of what a shopper takes home."""
    match = _SINGLE.match(code.size)
    if code.department not in ("PRODUCE", "MEAT", "SEAFOOD", "DELI", "SALAD BAR", "FLORAL") or match is None:
        return False
    amount = max(float(part) for part in re.findall(r"\d*\.?\d+", match["amount"] or "1"))
    return amount > {"LB": 5, "CT": 10, "OZ": 64}.get(match["unit"], 1_000)
