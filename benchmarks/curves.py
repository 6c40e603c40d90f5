"""Lines over a common axis with their intervals, drawn by Pillow: panels side by side, one legend."""

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#7f7f7f", "#ff7f0e")
PANEL, MARGIN, LEGEND = (380, 300), 56, 28


@dataclass(frozen=True)
class Line:
    """Values over an axis.

    Attributes:
        name: in the legend.
        values: one a place.
        low: lower ends of the intervals, or None.
        high: upper ends.
    """

    name: str
    values: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


@dataclass(frozen=True)
class Panel:
    """Lines that share both axes.

    Attributes:
        title: over it.
        axis: under it.
        places: along the axis, rising.
        lines: to be drawn.
        log: whether the values' axis is logarithmic.
    """

    title: str
    axis: str
    places: list[float]
    lines: list[Line]
    log: bool = False


def draw(rows: list[list[Panel]]) -> Image.Image:
    """One picture of rows of panels; lines of one name have one colour."""
    names = list(dict.fromkeys(line.name for row in rows for panel in row for line in panel.lines))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    width, height = max(len(row) for row in rows) * PANEL[0], len(rows) * PANEL[1] + LEGEND
    image = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    x = MARGIN
    for name in names:
        pen.line((x, 14, x + 24, 14), fill=colours[name], width=3)
        pen.text((x + 30, 6), name, fill="black", font=font)
        x += 60 + int(font.getlength(name))
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            _panel(pen, font, panel, colours, (j * PANEL[0], LEGEND + i * PANEL[1]))
    return image


def _panel(pen: ImageDraw.ImageDraw, font, panel: Panel, colours: dict, corner: tuple[int, int]) -> None:
    left, top = corner[0] + MARGIN, corner[1] + 24
    right, bottom = corner[0] + PANEL[0] - 14, corner[1] + PANEL[1] - 42
    seen = [v for line in panel.lines for v in (*line.values, *(line.low or []), *(line.high or []))]
    seen = [_scaled(value, panel) for value in seen]
    least, most = min(seen), max(seen)
    room = 0.05 * (most - least) or 0.5
    least, most = least - room, most + room
    first, last = panel.places[0], panel.places[-1]

    def at(place: float, value: float) -> tuple[float, float]:
        along = (place - first) / (last - first) if last > first else 0.5
        height = (_scaled(value, panel) - least) / (most - least)
        return left + along * (right - left), bottom - height * (bottom - top)

    pen.rectangle((left, top, right, bottom), outline="#999999")
    pen.text((left, corner[1] + 4), panel.title, fill="black", font=font)
    pen.text((left, bottom + 22), panel.axis, fill="black", font=font)
    for share in (0.0, 0.5, 1.0):
        value = least + share * (most - least)
        shown, y = 10**value if panel.log else value, bottom - share * (bottom - top)
        pen.text((corner[0] + 4, y - 7), f"{shown:.3g}", fill="#555555", font=font)
    for place in (first, last):
        along = left if place == first else right
        pen.text((along - 10, bottom + 5), f"{place:g}", fill="#555555", font=font)
    for line in panel.lines:
        points = [at(place, value) for place, value in zip(panel.places, line.values, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colours[line.name], width=2)
        for index, (x, y) in enumerate(points):
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colours[line.name])
            if line.low and line.high:
                place = panel.places[index]
                pen.line((*at(place, line.low[index]), *at(place, line.high[index])), fill=colours[line.name])


def _scaled(value: float, panel: Panel) -> float:
    return math.log10(max(value, 1e-9)) if panel.log else value
