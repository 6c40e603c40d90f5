"""Pictures side by side, with words along the edges."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN = 4
INK, PAPER = (30, 30, 30), (255, 255, 255)


def grid(
    pictures: Sequence[Sequence[Image.Image | None]],
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    tile: int = 128,
) -> Image.Image:
    """Lay pictures out in rows.

    Args:
        pictures: row by row; None leaves a place empty.
        columns: words above the columns, none by default.
        rows: words left of the rows, none by default.
        tile: side of a picture in pixels; others are resampled.
    """
    font = ImageFont.load_default(12)
    top = 20 if columns else 0
    left = 8 + max((round(font.getlength(word)) for word in rows), default=-8)
    wide, step = max(map(len, pictures)), tile + MARGIN
    sheet = Image.new("RGB", (left + wide * step - MARGIN, top + len(pictures) * step - MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, word in enumerate(columns):
        pen.text((left + place * step + tile / 2, 10), word, INK, font, anchor="mm")
    for place, word in enumerate(rows):
        pen.text((4, top + place * step + tile / 2), word, INK, font, anchor="lm")
    for y, line in enumerate(pictures):
        for x, picture in enumerate(line):
            if picture is not None:
                if picture.size != (tile, tile):
                    picture = picture.resize((tile, tile), Image.Resampling.LANCZOS)
                sheet.paste(picture, (left + x * step, top + y * step))
    return sheet
