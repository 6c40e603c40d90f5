"""The scores as tables for people: which columns there are and how a figure is written."""

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
    Column("Leak ↓", ("leak", "mean"), ("leak", "ci95")),
    Column("skin leak ↓", ("skin_leak", "mean"), ("skin_leak", "ci95")),
    Column("pose ↓", ("pose_following", "mean"), ("pose_following", "ci95")),
    Column("Style ↑", ("style", "mean")),
    Column("Backgr. ↑", ("background", "mean")),
    Column("Access. ↑", ("accessory", "mean")),
    Column("Found ↑", ("found", "mean")),
)

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


def cell_text(row: dict[str, Any], column: Column) -> str:
    """A figure as text, with its interval in brackets where the column has one; empty when not measured."""
    value = _at(row, column.path)
    if value is None:
        return ""
    bounds = _at(row, column.interval) if column.interval else None
    if bounds is None or None in bounds:
        return f"{value:.3f}"
    return f"{value:.3f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def error_text(group: dict[str, Any], key: str) -> str:
    """An error of the judges as text."""
    return f"{group[key]:.3f}" if key in group else ""


def tables(result: dict[str, Any]) -> Group:
    """All tables of an evaluation, for a terminal."""
    last = result["rows"][-1]
    parts = [_table("Scores", [(row["name"], row) for row in result["rows"]])]
    for title, key in (("style", "by_style"), ("template", "by_template"), ("prompt", "by_prompt")):
        parts.append(_table(f"{last['name']} by {title}", list(last[key].items())))
    off = last["leak"].get("identity_off")
    if off:
        note = f"Leak with identity scale 0: {cell_text(off, Column('', ('mean',), ('ci95',)))}"
        return Group(*parts, note, _errors(result["judge_errors"]))
    return Group(*parts, _errors(result["judge_errors"]))


def _table(title: str, rows: list[tuple[str, dict[str, Any]]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column("n", justify="right")
    for column in COLUMNS:
        table.add_column(column.title, justify="right")
    for name, row in rows:
        table.add_row(name, str(row["n"]), *(_lines(cell_text(row, column)) for column in COLUMNS))
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
