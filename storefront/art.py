"""Each product's own illustration: a small SVG drawn from what the catalogue says of it.

Type, category and size choose the packaging, the name's words its colour, and the product's id the rest, so that a
product always looks the same and its neighbours on the shelf do not. A shop with photographs replaces the view.
"""

import hashlib
import re
from html import escape

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from storefront import packaging
from storefront.models import Label, Product
from storefront.packaging import Ink, Shape

_STYLE = "3"  # part of every version: raise it when the drawing changes, and browsers ask again

_PAPER = "#fffaf1"
_WALLS = ("#f8efe2", "#eaf3ea", "#e9f1f7", "#f8ebe8", "#f1edf6", "#f6f2dd", "#e7f3f1", "#f3eee9")
_PLAIN = {"white", "cream", "cocoa"}  # what is white, or a cola, is not sold in orange
_STROKED = {"wheat", "snow"}  # pictures that are lines, not surfaces
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LETTER = 0.64  # width of a bold sans-serif letter in font sizes, generously: the browser chooses the font
_LEADING = 1.08

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 240" width="240" height="240" '
    'font-family="system-ui,sans-serif" font-weight="700" text-anchor="middle">'
    # The light: a shine at the left and a shade at the right of everything that is packed.
    '<defs><linearGradient id="g"><stop stop-opacity=".12"/><stop offset=".22" stop-color="#fff" stop-opacity=".3"/>'
    '<stop offset=".5" stop-color="#fff" stop-opacity="0"/><stop offset="1" stop-opacity=".2"/></linearGradient>'
)
_SHELF = '<path d="M0 206H240V240H0z" opacity=".06"/>'
_TWO_BEHIND = "".join(f'<use href="#p" transform="translate({x} 18) scale(.91)"/>' for x in (-20, 42))


@require_safe
def art(request: HttpRequest, product_id: str) -> HttpResponse:
    product = get_object_or_404(Product, product_id=product_id).label
    current = version(product)
    etag = f'"{current}"'
    response: HttpResponse
    if request.headers.get("If-None-Match", "").removeprefix("W/") == etag:
        response = HttpResponseNotModified()
    else:
        response = HttpResponse(draw(product), content_type="image/svg+xml; charset=utf-8")
    response.headers["ETag"] = etag
    # An address that names its version never changes; a bare one may, after an edit of the catalogue.
    if request.GET.get("v") == current:
        patch_cache_control(response, public=True, max_age=31_536_000, immutable=True)
    else:
        patch_cache_control(response, public=True, max_age=86_400)
    return response


def address(product: Label) -> str:
    """Where the picture is, with its version: browsers keep it for ever."""
    return f"{reverse('art', args=[product.product_id])}?v={version(product)}"


def version(product: Label) -> str:
    """Changes when the drawing may."""
    return _digest("\0".join((_STYLE, *product))).hex()


def draw(product: Label) -> str:
    """The product's SVG, at most 4 KB. It depends on the product's text alone."""
    type_, category, department, size = _shelving(product)
    words = f"{product.name} {type_} {category}"
    several = packaging.pieces(f"{product.name} {type_} {size}") >= 4
    shape = packaging.shape(packaging.package_of(type_, category, department, size))
    dice = _digest(f"{product.brand}\0{product.product_id}")
    ink = _ink(words, shape, dice)
    if shape.outline:
        pack, ticket = (
            _pack(
                product, shape, _house(product.brand, ink), packaging.picture_of(words), layout=_layout(product, dice)
            ),
            "",
        )
    else:
        pack, ticket = _coloured(shape.front, ink), _ticket(product, shape)
    wall = _WALLS[_digest(f"{department}\0{category}")[0] % len(_WALLS)]
    scale = 0.94 + 0.17 * packaging.bulk(size)
    # Nobody sets things out to the hair: a little aside, and what is not packed leans a little too.
    aside, lean = dice[3] % 13 - 6, 0 if shape.outline else dice[4] % 11 - 5
    stand = (
        f"translate({120 + aside - 120 * scale:.1f} {213 - 208 * scale:.1f}) scale({scale:.3f}) rotate({lean} 120 180)"
    )
    several = several and bool(shape.outline)
    return (
        f'{_HEAD}<g id="p">{pack}</g></defs><path fill="{wall}" d="M0 0H240V240H0z"/>{_SHELF}'
        f"{_shadow(shape, several)}"
        f'<g transform="{stand}">{_TWO_BEHIND if several else ""}<use href="#p"/></g>{ticket}</svg>'
    )


def _shelving(product: Label) -> tuple[str, str, str, str]:
    return product.type, product.category, product.department, product.size


def _digest(text: str) -> bytes:
    """The same in every process, unlike hash()."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).digest()


def _ink(words: str, shape: Shape, dice: bytes) -> Ink:
    named = packaging.ink_of(words)
    if not shape.outline:  # an apple is never blue
        return packaging.inks()[named or shape.ink]
    # One in five goes its own way, for a shelf of one flavour is not a shelf of one colour.
    if named is None or (named not in _PLAIN and dice[0] % 5 == 0):
        named = packaging.printed()[dice[1] % len(packaging.printed())]
    return packaging.inks()[named]


def _shadow(shape: Shape, several: bool) -> str:
    x, _, width, _ = shape.label
    middle, reach = (x + width // 2, width // 2 + 26) if shape.outline and not several else (122, 90)
    return f'<ellipse cx="{middle + 2}" cy="213" rx="{reach}" ry="8" opacity=".14"/>'


def _house(brand: str, ink: Ink) -> Ink:
    """With the colour of the brand's bands and caps: two colas stand beside each other, and one is not the other."""
    houses = [name for name in packaging.printed() if name not in _PLAIN]  # on paper nobody would see those
    colour = packaging.inks()[houses[_digest(brand)[3] % len(houses)]].own
    return ink._replace(accent=colour) if brand and colour not in (ink.own, ink.deep) else ink


def _layout(product: Label, dice: bytes) -> int:
    """A brand prints all its packs alike: that is how it is known from afar."""
    return (_digest(product.brand)[4] if product.brand else dice[2]) % len(_LAYOUTS)


def _coloured(fragment: str, ink: Ink) -> str:
    for mark, colour in zip(("{a}", "{d}", "{l}", "{x}"), ink, strict=True):
        fragment = fragment.replace(mark, colour)
    return fragment


def _pack(product: Label, shape: Shape, ink: Ink, picture: str, layout: int) -> str:
    return (
        f'<defs><path id="o" d="{shape.outline}"/><clipPath id="c"><use href="#o"/></clipPath></defs>'
        f'{_coloured(shape.back, ink)}<use href="#o" fill="{_coloured(shape.fill, ink)}"/>'
        f'<g clip-path="url(#c)">{_LAYOUTS[layout](shape, ink)}</g>{_coloured(shape.front, ink)}'
        # The light under the print: what is in its shade is still read.
        f'<use href="#o" fill="url(#g)"/><g clip-path="url(#c)">{_print(product, shape, ink, picture, layout)}</g>'
    )


def _band(shape: Shape, ink: Ink) -> str:
    _, y, _, height = shape.label
    return (
        f'<path fill="{_PAPER}" d="M0 {y}H240V{y + height}H0z"/>'
        f'<path stroke="{ink.accent}" stroke-width="5" d="M0 {y + 2}H240M0 {y + height - 2}H240"/>'
    )


def _badge(shape: Shape, ink: Ink) -> str:
    x, y, width, height = shape.label
    return (
        f'<rect x="{x + 6}" y="{y}" width="{width - 12}" height="{height}" rx="14" fill="{_PAPER}" '
        f'stroke="{ink.accent}" stroke-width="4"/>'
    )


def _two_tones(shape: Shape, ink: Ink) -> str:
    x, y, width, height = shape.label
    edge, dip = round(y + height * 0.4), round(y + height * 0.58)
    return (
        f'<path fill="{_PAPER}" d="M0 {y}H240V{y + height}H0z"/>'
        f'<path fill="{ink.light}" d="M0 {y}H240V{edge}Q{x + width // 2} {dip} 0 {edge}z"/>'
    )


def _wave(shape: Shape, ink: Ink) -> str:
    """No paper: printed on the pack itself, over a wave."""
    x, y, width, height = shape.label
    middle, foot = x + width // 2, y + height
    return (
        f'<path fill="{ink.accent}" d="M0 {foot - 6}Q{middle} {foot - 20} 240 {foot - 8}'
        f'V{foot + 8}Q{middle} {foot - 6} 0 {foot + 10}z"/>'
    )


_LAYOUTS = (_band, _badge, _two_tones, _wave)


def _print(product: Label, shape: Shape, ink: Ink, picture: str, layout: int) -> str:
    """What is printed in the label's zone: where there is room, picture and size above and below the name."""
    x, y, width, height = shape.label
    middle, on_pack = x + width // 2, layout == _LAYOUTS.index(_wave)
    dark = ink.deep if _light(ink.deep) < 110 else "#4a3a22"
    text = "#fff" if on_pack and _light(_coloured(shape.fill, ink)) < 150 else dark
    top, bottom = y + 8.0, y + height - (20.0 if on_pack else 8.0)
    printed = ""
    brand = _clean(product.brand)[:20]
    if height < 66 and height >= 40 and brand:
        printed += _line(brand, middle, top + 7, min(9, (width - 18) / (_LETTER * len(brand))), text)
        top += 9
    if height >= 66:
        colour = ink.accent if on_pack else ink.own if _light(ink.own) < 200 else ink.deep
        printed += _stamp(picture, middle, y + height * 0.13, 1.0 if height > 90 else 0.7, colour)
        top = y + height * (0.34 if on_pack else 0.4)
        if brand:
            printed += _line(brand, middle, top + 5, min(9.5, (width - 22) / (_LETTER * len(brand))), text)
            top += 9
        size = _clean(product.size)[:12]
        if size:
            printed += _line(size, middle, bottom, 10, text)
            bottom -= 11
    return printed + _name(product.bare_name, middle, top, width - 22, bottom - top, text)


def _stamp(picture: str, x: float, y: float, scale: float, colour: str) -> str:
    paint = f'fill="{colour}"'
    if picture in _STROKED:
        paint = f'fill="none" stroke="{colour}" stroke-width="3" stroke-linecap="round"'
    place = f"translate({x - 10 * scale:.1f} {y - 6 * scale:.1f}) scale({scale})"
    return f'<path transform="{place}" {paint} d="{packaging.pictures()[picture]}"/>'


def _ticket(product: Label, shape: Shape) -> str:
    x, y, width, height = shape.label
    return (
        f'<rect x="{x}" y="{y + 10}" width="{width}" height="{height}" rx="6" fill="{_PAPER}" stroke="#d8ccb8" '
        f'stroke-width="2"/>{_name(product.bare_name, x + width // 2, y + 13, width - 14, height - 6, "#4a3f33")}'
    )


def _name(name: str, x: float, top: float, width: float, height: float, colour: str) -> str:
    """A name's first words on one to three lines, whichever sets them largest, in the middle of the space."""
    size, lines = max((_font_size(lines, width, height), lines) for lines in _wrappings(_first_words(name)))
    start = top + (height - size * _LEADING * len(lines)) / 2 + size * 0.88
    return "".join(_line(line, x, start + size * _LEADING * row, size, colour) for row, line in enumerate(lines))


def _font_size(lines: list[str], width: float, height: float) -> float:
    return min(22.0, width / (_LETTER * max(map(len, lines))), height / (_LEADING * len(lines)))


def _wrappings(words: list[str]) -> list[list[str]]:
    """The words on one line, and cut into two and three at every place."""
    cuts = [(first, second) for first in range(1, len(words) + 1) for second in range(first, len(words) + 1)]
    return [
        [" ".join(part) for part in (words[:first], words[first:second], words[second:]) if part]
        for first, second in cuts
    ]


def _first_words(name: str) -> list[str]:
    """As many as a label bears, without the "12 oz" or "Loose" after a comma."""
    words: list[str] = []
    for word in _clean(name[:200]).split(",")[0].split()[:5]:
        if words and len(" ".join([*words, word])) > 28:
            break
        words.append(word[:16])
    while len(words) > 1 and words[-1] in ("&", "and"):
        words.pop()
    return words or ["·"]


def _line(text: str, x: float, y: float, size: float, colour: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.1f}" font-size="{size:.1f}" fill="{colour}">{escape(text)}</text>'


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return _NOT_XML.sub("", text).strip()


def _light(colour: str) -> float:
    """From 0, black, to 255, white."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.3 * red + 0.6 * green + 0.1 * blue
