"""What a product comes in and what its label shows, chosen from the words of the catalogue by ``art.toml``."""

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

_FILE = Path(__file__).with_name("art.toml")

_PACK = re.compile(r"(?<![\d.])(\d{1,2}) ?(?:/\d+&\d+)?-?(?:pk|pack|p\b|[x×] |cans?\b|btl)")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?(fl oz|oz|lbs?|l|ml|gal|ga|kg|g|pt|qt)\b")
_OUNCES = {"lb": 16, "lbs": 16, "l": 34, "ml": 0.034, "gal": 128, "ga": 128, "kg": 35, "g": 0.035, "pt": 16, "qt": 32}


class Shape(NamedTuple):
    """A shape of ``art.toml``, where the fields are explained."""

    label: tuple[int, int, int, int]
    outline: str = ""
    back: str = ""
    front: str = ""
    fill: str = "{a}"
    ink: str = ""


class Ink(NamedTuple):
    own: str
    deep: str
    light: str
    accent: str


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


@cache
def _rules(section: str, key: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(f"(?<![a-z])(?:{'|'.join(rule['words'])})"), rule[key]) for rule in _read()[section])


def _first(section: str, key: str, text: str) -> str | None:
    return next((choice for words, choice in _rules(section, key) if words.search(text)), None)


@cache
def shape(name: str) -> Shape:
    """Its fragments come without the file's line breaks, which are for people."""
    fields: dict[str, Any] = dict(_read()["shapes"][name])
    x, y, width, height = fields.pop("label")
    fragments: dict[str, str] = {key: " ".join(text.split()) for key, text in fields.items()}
    return Shape((x, y, width, height), **fragments)


@cache
def shapes() -> tuple[str, ...]:
    return tuple(_read()["shapes"])


@cache
def inks() -> dict[str, Ink]:
    return {name: Ink(*colours) for name, colours in _read()["inks"].items()}


@cache
def printed() -> tuple[str, ...]:
    """The inks of packs whose words speak for no colour."""
    return tuple(_read()["printed"]["inks"])


@cache
def pictures() -> dict[str, str]:
    """Path data of each stamp by its name."""
    found: dict[str, str] = _read()["pictures"]
    return found


@lru_cache(maxsize=4096)
def package_of(type_: str, category: str, department: str, size: str) -> str:
    """The shape's name; a plain box when nothing says better, as most of a grocer's shelf is boxes.

    The department is asked last: the one of "Meat & fish" says little of a steak.
    """
    text = f"{type_} | {category} | {size}".lower()
    department = department.lower()
    return _first("packages", "shape", text) or _first("packages", "shape", f"{text} | {department}") or "box"


def ink_of(words: str) -> str | None:
    """The ink that the words name, as "cherry" names a red one; None when they say nothing of colour."""
    return _first("flavours", "ink", words.lower())


def picture_of(words: str) -> str:
    return _first("themes", "picture", words.lower()) or "star"


def pieces(text: str) -> int:
    """How many single packs are sold together ("6 PK" → 6), 1 when nothing says so."""
    found = _PACK.search(text.lower())
    return int(found[1]) if found else 1


def bulk(size: str) -> float:
    """From 0 (a few grams) to 1 (the largest packs), 0.5 when the size does not say: how big it is drawn."""
    found = _AMOUNT.search(size.lower()[:64])
    if not found:
        return 0.5
    ounces = float(found[1]) * _OUNCES.get(found[2], 1)
    return float(min(1.0, ounces**0.5 / 10))
