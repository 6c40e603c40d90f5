"""One HTML file that shows the pictures beside the figures, with nothing to load from elsewhere."""

import base64
import html
import io
from collections.abc import Iterable
from typing import Any

from PIL.Image import Image

from emoji_adapter.evaluation.grid import grid
from emoji_adapter.evaluation.judged import Judged
from emoji_adapter.evaluation.plan import ORACLE
from emoji_adapter.evaluation.table import (
    ERROR_COLUMNS,
    GROUPS,
    cell_text,
    columns_of,
    error_text,
    versus_lines,
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1600px; padding: 0 1rem; color:
#222 } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px } img { max-width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr:last-child td { font-weight: 600 }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1rem } dd { margin: 0 }
"""


def sample_sheet(judged: Judged, style: str, count: int = 10) -> Image:
    """Some cells of a style: inputs, every row, and the perfect answer.

    Args:
        judged: the pictures.
        style: which cells.
        count: at most so many, spread over people and expressions.
    """
    numbers = [number for number, cell in enumerate(judged.cells) if cell.style == style]
    count = min(count, len(numbers))
    numbers = [numbers[(k * len(numbers) // count + k) % len(numbers)] for k in range(count)]
    oracle = judged.first(ORACLE)
    rows = [row for row in judged.rows if row is not oracle] + ([oracle] if oracle else [])
    pictures = [[*judged.inputs[number], *(row.images[number] for row in rows)] for number in numbers]
    return grid(pictures, ["identity", "expression", *(_short(row.name) for row in rows)])


def matrix_sheet(judged: Judged, style: str, people: int = 8, expressions: int = 8) -> Image:
    """The last row's pictures of a style: a person a row, an expression a column, photos on the left."""
    images = judged.rows[-1].images
    place = {(c.identity, c.expression): n for n, c in enumerate(judged.cells) if c.style == style}
    who = sorted({person for person, _ in place})[:people]
    what = sorted({expression for _, expression in place})[:expressions]
    lines: list[list[Image | None]] = []
    for person in who:
        found = [place.get((person, expression)) for expression in what]
        photo = next(judged.inputs[number][0] for number in found if number is not None)
        lines.append([photo, *(None if number is None else images[number] for number in found)])
    return grid(lines)


def report(result: dict[str, Any], judged: Judged) -> str:
    """Write the report.

    Args:
        result: what `assemble` returned.
        judged: the pictures.

    Returns:
        HTML, self-contained.
    """
    last = result["rows"][-1]
    parts = [
        "<h1>Evaluation</h1>",
        _definitions(result["protocol"]),
        "<h2>Rows</h2>",
        _table((row["name"], row) for row in result["rows"]),
        *map(_missing, result["missing"]),
    ]
    head, lines = versus_lines(result["rows"])
    if lines:
        parts += ["<h2>Differences, paired over cells</h2>", _html_table(head, lines)]
    for title, key in GROUPS:
        if key in last:
            parts += [f"<h2>{html.escape(last['name'])} by {title}</h2>", _table(last[key].items())]
    if result["judge_errors"]:
        parts += ["<h2>What the judges themselves err</h2>", _errors(result["judge_errors"])]
    for style in last["by_style"]:
        parts += [f"<h2>{html.escape(style)}</h2>", _picture(sample_sheet(judged, style))]
        parts += [f"<p>{html.escape(last['name'])}, a person a row, an expression a column:</p>"]
        parts += [_picture(matrix_sheet(judged, style))]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _missing(row: dict[str, str]) -> str:
    return f"<p>{html.escape(row['name'])} is missing: {html.escape(row['reason'])}</p>"


def _short(name: str) -> str:
    return {"oracle through autoencoder": "decoded oracle"}.get(name, name)


def _definitions(protocol: dict[str, Any]) -> str:
    pairs = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(_plain(v))}</dd>" for k, v in protocol.items())
    return f"<dl>{''.join(pairs)}</dl>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(rows: Iterable[tuple[str, dict[str, Any]]]) -> str:
    named = list(rows)
    columns = columns_of([row for _, row in named])
    return _html_table(
        ["", *(column.title for column in columns)],
        [[name, *(cell_text(row, column) for column in columns)] for name, row in named],
    )


def _errors(errors: dict[str, Any]) -> str:
    groups = {"all": errors, **errors.get("by_style", {}), **errors.get("by_skin", {})}
    return _html_table(
        ["", *ERROR_COLUMNS],
        [[name, *(error_text(group, key) for key in ERROR_COLUMNS)] for name, group in groups.items()],
    )


def _html_table(head: list[str], lines: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(cells, "td") for cells in lines) + "</table>"


def _picture(image: Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{text}">'
