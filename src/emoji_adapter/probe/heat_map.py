"""What each layer carries, as a picture: a layer a row, a figure a column."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from emoji_adapter.probe.rule import Carried, carried
from emoji_adapter.probe.runner import Probed

CELL, ROW, MARGIN, TOP = 92, 24, 8, 28
RADIUS = 4
INK, PAPER = (30, 30, 30), (255, 255, 255)
GAIN, COST = (46, 125, 90), (190, 60, 50)
COLUMNS = (("expression", GAIN), ("style", COST), ("identity", COST), ("background", COST))
"""Figures of `Carried` and the colour of a large one: green is what is wanted, red what it costs."""


def heat_map(probed: Probed, chosen: Sequence[str]) -> Image.Image:
    """Draw the figures of all layers; chosen ones have a full dot. Each column has a scale of its own.

    Args:
        probed: what the layers do.
        chosen: layers that are kept.
    """
    font = ImageFont.load_default(12)
    found = [(effect.layer, carried(probed, effect)) for effect in probed.effects]
    dots = 2 * MARGIN + 2 * RADIUS
    left = dots + round(max(font.getlength(short(layer)) for layer, _ in found)) + MARGIN
    size = (left + len(COLUMNS) * CELL + MARGIN, TOP + len(found) * ROW + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    for column, (title, colour) in enumerate(COLUMNS):
        x = left + column * CELL
        pen.text((x + CELL / 2, TOP / 2), title, INK, font, anchor="mm")
        largest = max(abs(getattr(figures, title)) for _, figures in found)
        for row, (_, figures) in enumerate(found):
            y = TOP + row * ROW
            _cell(pen, (x, y), figures, title, largest, colour, font)
    for row, (layer, _) in enumerate(found):
        middle = TOP + row * ROW + ROW / 2
        full = INK if layer in chosen else None
        pen.circle((MARGIN + RADIUS, middle), RADIUS, fill=full, outline=INK)
        pen.text((dots, middle), short(layer), INK, font, anchor="lm")
    return picture


def short(layer: str) -> str:
    """A layer's name without what all have in common."""
    return layer.removesuffix(".attn2").replace(".transformer_blocks", "").replace("attentions.", "")


def _cell(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    figures: Carried,
    title: str,
    largest: float,
    colour: tuple[int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    value = getattr(figures, title)
    share = max(value, 0.0) / largest if largest else 0.0
    shade = tuple(round(255 + (part - 255) * share) for part in colour)
    x, y = corner
    pen.rectangle((x, y, x + CELL - 2, y + ROW - 2), fill=shade)
    ink = PAPER if share > 0.6 else INK
    pen.text((x + CELL / 2, y + ROW / 2), f"{value:+.3f}", ink, font, anchor="mm")
