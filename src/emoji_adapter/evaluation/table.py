"""The scores as tables for people: which columns there are and how a figure is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table


@dataclass(frozen=True)
class Column:
    """A column of the score table.

    Attributes:
        title: above the column; an arrow says which way is better.
        path: where the figure lies in a row.
        interval: where its 95 % interval lies, `ci95` beside the mean by default; None shows none.
    """

    title: str
    path: tuple[str, ...]
    interval: tuple[str, ...] | None = None


COLUMNS = (
    Column("ID ↑", ("id", "mean"), ("id", "ci95")),
    Column("position ↑", ("id", "position"), ("id", "position_ci95")),
    Column("Exp ↓", ("exp", "mean"), ("exp", "ci95")),
    Column("ExpN ↑", ("exp", "normalised"), ("exp", "normalised_ci95")),
    Column("ExpN, contradicted ↑", ("by_prompt", "contradicting", "exp", "normalised")),
    Column("LMS ↓", ("lms", "mean"), ("lms", "ci95")),
    Column("Leak ↓", ("leak", "mean"), ("leak", "ci95")),
    Column("Leak, identity 0 ↓", ("leak", "identity_off", "mean"), ("leak", "identity_off", "ci95")),
    Column("skin leak ↓", ("skin_leak", "mean"), ("skin_leak", "ci95")),
    Column("pose ↓", ("pose_following", "mean"), ("pose_following", "ci95")),
    Column("CLIP-T ↑", ("clip_t", "mean"), ("clip_t", "ci95")),
    Column("Style ↑", ("style", "mean")),
    Column("Style, off-style ↑", ("by_template", "other style", "style", "mean")),
    Column("Backgr. ↑", ("background", "mean")),
    Column("Access. ↑", ("accessory", "mean")),
    Column("Found ↑", ("found", "mean")),
)

GROUPS = (("style", "by_style"), ("template", "by_template"), ("prompt", "by_prompt"))
"""How the cells of the last row are told apart, and under which key."""

ERROR_COLUMNS = (
    "id_same",
    "id_other",
    "id_rank1",
    "exp",
    "style",
    "background",
    "accessory",
    "skin",
    "pose",
)


VERSUS = {
    "id": "ID ↑",
    "position": "position ↑",
    "gap_closed": "gap closed ↑",
    "exp": "Exp ↓",
    "normalised": "ExpN ↑",
    "lms": "LMS ↓",
    "leak": "Leak ↓",
    "leak_ratio": "Leak ratio ↓",
    "identity_off": "Leak, identity 0 ↓",
    "skin_leak": "skin leak ↓",
    "pose_following": "pose ↓",
    "clip_t": "CLIP-T ↑",
    "style": "Style ↑",
    "style_off": "Style, off-style ↑",
    "found": "Found ↑",
}
"""Columns of the table of differences, see `comparison`."""


def columns_of(rows: Sequence[dict[str, Any]]) -> list[Column]:
    """The columns in which some row has a figure."""
    return [column for column in COLUMNS if any(cell_text(row, column) for row in rows)]


def versus_lines(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The table of differences: its head, and a line for each row that is compared with another."""
    compared = [row for row in rows if row.get("versus")]
    keys = [key for key in VERSUS if any(key in row["versus"] for row in compared)]
    lines = [
        [row["name"], row["versus"]["row"]]
        + [cell_text(row["versus"], Column("", (key, "mean"), (key, "ci95"))) for key in keys]
        for row in compared
    ]
    return ["", "less", *(VERSUS[key] for key in keys)], lines


def cell_text(row: dict[str, Any], column: Column, digits: int = 3) -> str:
    """A figure as text, with its interval in brackets where the column has one; empty when not measured."""
    value = _at(row, column.path)
    if value is None:
        return ""
    bounds = _at(row, column.interval) if column.interval else None
    if bounds is None or None in bounds:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def error_text(group: dict[str, Any], key: str) -> str:
    """An error of the judges as text."""
    return f"{group[key]:.3f}" if key in group else ""


def tables(result: dict[str, Any]) -> Group:
    """All tables of an evaluation, for a terminal."""
    last = result["rows"][-1]
    parts: list[Any] = [_table("Scores", [(row["name"], row) for row in result["rows"]])]
    for title, key in GROUPS:
        if key in last:
            parts.append(_table(f"{last['name']} by {title}", list(last[key].items())))
    head, lines = versus_lines(result["rows"])
    if lines:
        parts.append(_rich("Differences, paired", head, lines))
    parts += [f"Missing: {row['name']} ({row['reason']})" for row in result["missing"]]
    if result["judge_errors"]:
        parts.append(_errors(result["judge_errors"]))
    return Group(*parts)


def _table(title: str, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    columns = columns_of([row for _, row in rows])
    lines = [[name, str(row["n"]), *(cell_text(row, column) for column in columns)] for name, row in rows]
    return _rich(title, ["", "n", *(column.title for column in columns)], lines)


def _rich(title: str, head: list[str], lines: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(head):
        table.add_column(name, no_wrap=place == 0, justify="right" if place else "left")
    for line in lines:
        table.add_row(*map(_lines, line))
    return table


def _lines(text: str) -> str:
    """Interval under the figure; square brackets are markup to rich."""
    return text.replace(" [", "\n").replace("]", "").replace(", ", " to ")


def _errors(errors: dict[str, Any]) -> Table:
    table = Table("", *ERROR_COLUMNS, title="What the judges themselves err", title_justify="left")
    for name, group in {"all": errors, **errors.get("by_style", {}), **errors.get("by_skin", {})}.items():
        table.add_row(name, *(error_text(group, key) for key in ERROR_COLUMNS))
    return table


def _at(row: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
