"""One plot as SVG text, so that neither the image nor a data scientist's laptop needs a plotting library for it."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN = 720, 420, 64
COLOURS = ("#2563a8", "#c2571a", "#3d8b40", "#8a4fa3", "#9a7b00", "#111111")


class Point(NamedTuple):
    x: float
    y: float
    label: str


def scatter(title: str, x_title: str, y_title: str, series: Mapping[str, Sequence[Point]]) -> str:
    """Lines through labelled points, a colour a series, on logarithmic axes. Values must be positive."""
    points = [point for each in series.values() for point in each]
    along, up = _axis([point.x for point in points]), _axis([point.y for point in points])

    def place(x: float, y: float) -> tuple[float, float]:
        right, above = _share(x, along), _share(y, up)
        return MARGIN + right * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - above * (HEIGHT - 2 * MARGIN)

    parts = [_text(WIDTH / 2, 24, title, "middle", 15), _text(WIDTH / 2, HEIGHT - 12, x_title, "middle"),
             _text(8, MARGIN - 16, y_title, "start")]  # fmt: skip
    for power in range(along[0], along[1] + 1):
        x, bottom = place(10.0**power, 10.0 ** up[0])
        parts += [_line([(x, bottom), (x, MARGIN)], "#ddd"), _text(x, bottom + 18, f"{10.0**power:g}", "middle")]
    for power in range(up[0], up[1] + 1):
        left, y = place(10.0 ** along[0], 10.0**power)
        parts += [_line([(left, y), (WIDTH - MARGIN, y)], "#ddd"), _text(left - 8, y + 4, f"{10.0**power:g}", "end")]
    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(point.x, point.y) for point in each]
        parts.append(_line(places, colour))
        for (x, y), point in zip(places, each, strict=True):
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>', _text(x + 7, y - 6, point.label)]
        parts.append(_text(MARGIN + 12, MARGIN + 18 * (number + 1), name, "start", 12, colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" role="img">\n'
        f'<title>{escape(title)}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _axis(values: Sequence[float]) -> tuple[int, int]:
    lowest, highest = floor(log10(min(values))), ceil(log10(max(values)))
    return lowest, max(highest, lowest + 1)


def _share(value: float, axis: tuple[int, int]) -> float:
    return (log10(value) - axis[0]) / (axis[1] - axis[0])


def _line(places: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 11, colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )
