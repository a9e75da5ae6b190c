"""The plot of a result: a bar a contender, and hits a second over threads and processes.

It is a list of shapes, painted as SVG with nothing but text, or as PNG with Pillow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from barcache.bench import machine as machines
from barcache.bench.figures import figure, grouped
from barcache.bench.process_cases import MEMBERS
from barcache.bench.report import TITLES, cells_of, duration, operations_of, sizes_of

if TYPE_CHECKING:
    from pathlib import Path

Results = dict[str, Any]
SUFFIXES = (".svg", ".png")
_COLOURS = {
    "barcache": "#0b6e4f",
    "barcache, full": "#6fae94",
    "RustyBT": "#c8553d",
    "dict + clone": "#8d99ae",
    "polars Parquet": "#3d5a80",
    "polars + SHA-256": "#5c7fa8",
    "diskcache": "#b08900",
    "joblib": "#7a5195",
    "ArcticDB": "#a0a0a0",
    "threads": "#0b6e4f",
    "processes": "#3d5a80",
}
_PANEL, _BAR, _LEFT, _TOP = 250, 15, 120, 60
_PNG_SCALE = 2


@dataclass(frozen=True)
class Text:
    """Text whose baseline begins, or with `right` ends, at a point."""

    x: float
    y: float
    text: str
    size: int = 11
    bold: bool = False
    right: bool = False
    colour: str = "#000000"


@dataclass(frozen=True)
class Bar:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True)
class Drawing:
    """Shapes on a white page."""

    width: int
    height: int
    shapes: list[Text | Bar]


def write_plot(results: Results, path: Path) -> None:
    """Writes the plot; the suffix of the path, .svg or .png, says as what.

    Raises:
        ModuleNotFoundError: PNG without Pillow.
        ValueError: another suffix.
    """
    if path.suffix == ".svg":
        path.write_text(svg(draw(results)), encoding="utf-8")
    elif path.suffix == ".png":
        write_png(draw(results), path)
    else:
        raise ValueError(f"{path}: a plot is written as .svg or .png")


def draw(results: Results) -> Drawing:
    """The whole plot."""
    sizes, operations = sizes_of(results), operations_of(results)
    width = _LEFT + max(len(sizes), 2) * (_PANEL + 20) + 20
    height_of_panel = len(results["contenders"]) * _BAR + 44
    shapes: list[Text | Bar] = [
        Text(20, 24, "Median time of a call (shorter is better, logarithmic scale)", 15, bold=True),
        Text(20, 42, machines.one_line(results["machine"]), colour="#555555"),
    ]
    for line, operation in enumerate(operations):
        for place, size in enumerate(sizes):
            x, y = _LEFT + place * (_PANEL + 20), _TOP + line * height_of_panel
            shapes += _times(results, operation, size, (x, y), labelled=place == 0)
    bottom = _TOP + len(operations) * height_of_panel
    rates = _rates(results, bottom)
    height = bottom + 20 + (len(MEMBERS) * _BAR + 50 if rates else 0)
    return Drawing(width, height, shapes + rates)


def _times(
    results: Results, operation: str, size: int, at: tuple[int, int], *, labelled: bool
) -> list[Text | Bar]:
    """A panel: one operation at one size."""
    cells = cells_of(results)
    times = [one["median_us"] for one in results["measurements"]]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    x, y = at
    contenders = list(results["contenders"])
    shapes: list[Text | Bar] = [
        Text(x, y + 16, f"{TITLES[operation]}, {grouped(size)} rows", bold=True)
    ]
    scale = (_PANEL - 60) / max(1, high - low)
    for power in range(low, high + 1):
        shapes.append(
            Bar(x + scale * (power - low), y + 22, 1, 2 + len(contenders) * _BAR, "#e4e4e4")
        )
    for row, contender in enumerate(contenders):
        top = y + 24 + row * _BAR
        if labelled:
            shapes.append(Text(_LEFT - 6, top + 11, contender, right=True))
        cell = cells.get((operation, size, contender))
        if cell is None:
            continue
        length = max(1.0, scale * (math.log10(cell["median_us"]) - low))
        colour = _COLOURS.get(contender, "#888888")
        shapes.append(Bar(x, top + 2, length, _BAR - 4, colour))
        shapes.append(Text(x + length + 4, top + 11, duration(cell["median_us"])))
    return shapes


def _rates(results: Results, top: int) -> list[Text | Bar]:
    """Two panels, hits a second by the number of threads and of processes; none if unmeasured."""
    shapes: list[Text | Bar] = []
    found = {
        (kind, count): figure(results, f"hot hits, {count} {kind}")
        for kind in ("threads", "processes")
        for count in MEMBERS
    }
    highest = max((value for value in found.values() if value is not None), default=0.0)
    if highest <= 0:
        return []
    for place, kind in enumerate(("threads", "processes")):
        x = _LEFT + place * (_PANEL + 20)
        shapes.append(Text(x, top + 16, f"hot hits a second, {kind} (longer is better)", bold=True))
        for row, count in enumerate(MEMBERS):
            value = found[kind, count]
            y = top + 24 + row * _BAR
            if place == 0:
                shapes.append(Text(_LEFT - 6, y + 11, str(count), right=True))
            if value is None:
                continue
            length = max(1.0, (_PANEL - 60) * value / highest)
            shapes.append(Bar(x, y + 2, length, _BAR - 4, _COLOURS[kind]))
            shapes.append(Text(x + length + 4, y + 11, f"{value / 1e6:.2f} million"))
    return shapes


def svg(drawing: Drawing) -> str:
    """The drawing as the text of an SVG file."""
    view = f"0 0 {drawing.width} {drawing.height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" font-family="sans-serif">',
        f'<rect width="{drawing.width}" height="{drawing.height}" fill="#ffffff"/>',
    ]
    for shape in drawing.shapes:
        if isinstance(shape, Bar):
            parts.append(
                f'<rect x="{shape.x:.1f}" y="{shape.y}" width="{shape.width:.1f}" '
                f'height="{shape.height}" fill="{shape.colour}"/>'
            )
            continue
        marks = f' font-size="{shape.size}"'
        marks += ' font-weight="bold"' if shape.bold else ""
        marks += ' text-anchor="end"' if shape.right else ""
        marks += f' fill="{shape.colour}"' if shape.colour != "#000000" else ""
        parts.append(f'<text x="{shape.x:.1f}" y="{shape.y}"{marks}>{escape(shape.text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def write_png(drawing: Drawing, path: Path) -> None:
    """The drawing as a PNG file of twice its size. Needs Pillow (ModuleNotFoundError)."""
    from PIL import Image, ImageDraw, ImageFont

    def scaled(value: float) -> float:
        return value * _PNG_SCALE

    image = Image.new("RGB", (drawing.width * _PNG_SCALE, drawing.height * _PNG_SCALE), "#ffffff")
    brush = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        if isinstance(shape, Bar):
            right, bottom = scaled(shape.x + shape.width) - 1, scaled(shape.y + shape.height) - 1
            corner = scaled(shape.x), scaled(shape.y)
            brush.rectangle((*corner, max(corner[0], right), bottom), fill=shape.colour)
        else:
            brush.text(
                (scaled(shape.x), scaled(shape.y)),
                shape.text,
                fill=shape.colour,
                font=ImageFont.load_default(scaled(shape.size)),
                anchor="rs" if shape.right else "ls",
                stroke_width=0.4 if shape.bold else 0,
            )
    image.save(path)
