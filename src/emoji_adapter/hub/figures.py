"""The figures of an evaluation, from the file of `emoji-adapter evaluate --json`, for a model card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult

from emoji_adapter.errors import InputError


class Figure(NamedTuple):
    """A figure that a card tells.

    Attributes:
        type: id in the card's metadata.
        name: for people; an arrow says which way is better.
        path: where it lies in a row of the table.
        interval: name of its 95 % interval beside it.
    """

    type: str
    name: str
    path: tuple[str, ...]
    interval: str = "ci95"


FIGURES = (
    Figure("identity_cosine", "ID ↑", ("id", "mean")),
    Figure("identity_position", "ID position ↑ (0 other, 1 perfect)", ("id", "position"), "position_ci95"),
    Figure("expression_error", "Exp ↓", ("exp", "mean")),
    Figure("expression_normalised", "ExpN ↑ (0 none, 1 perfect)", ("exp", "normalised"), "normalised_ci95"),
    Figure("landmark_ratios", "LMS ↓", ("lms", "mean")),
    Figure("identity_leak", "Leak ↓", ("leak", "mean")),
    Figure("skin_leak", "skin leak ↓", ("skin_leak", "mean")),
    Figure("clip_t", "CLIP-T ↑", ("clip_t", "mean")),
    Figure("style_accuracy", "Style ↑", ("style", "mean")),
    Figure("background_accuracy", "Background ↑", ("background", "mean")),
    Figure("accessory_accuracy", "Accessory ↑", ("accessory", "mean")),
    Figure("face_found", "Found ↑", ("found", "mean")),
)  # fmt: skip
"""What is reported together, never one alone."""


def read_evaluation(source: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    """A table of `evaluate` or `accept`.

    Args:
        source: the file that `--json` wrote, or its content.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if isinstance(source, Mapping):
        table, name = source, "The evaluation"
    else:
        name = str(source)
        try:
            table = json.loads(Path(source).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"Cannot read the evaluation {name}: {error.strerror}.") from error
        except ValueError as error:
            raise InputError(
                f"{name} is not JSON ({error}). Expected what `evaluate --json` wrote."
            ) from error
    rows = table.get("rows") if isinstance(table, Mapping) else None
    scored = rows and any(_value(rows[-1], figure.path) is not None for figure in FIGURES)
    if not scored or "protocol" not in table:
        raise InputError(
            f"{name} holds no table of scores: expected 'protocol' and 'rows' with the adapter's row last, "
            "as `emoji-adapter evaluate --json` and `accept --json` write them."
        )
    return table


def is_drawn(protocol: Mapping[str, Any]) -> bool:
    """Whether a table is the micro-world's (`evaluate`), not one of somebody's photographs (`accept`)."""
    return protocol.get("judges") == "micro"


def eval_results(table: Mapping[str, Any]) -> list[EvalResult]:
    """The figures of the adapter under test, which is the last row, for the card's metadata."""
    row, protocol = table["rows"][-1], table["protocol"]
    drawn = is_drawn(protocol)
    counts = {
        key: protocol[key] for key in ("seed", "identities", "expressions", "styles") if key in protocol
    }
    return [
        EvalResult(
            task_type="text-to-image",
            task_name="A person with an expression",
            dataset_type="emoji-adapter-microworld" if drawn else "emoji-adapter-acceptance",
            dataset_name="Micro-world (drawn faces), test split"
            if drawn
            else "Own photographs and templates",
            dataset_args={**counts, "cells": row.get("n")},
            metric_type=figure.type,
            metric_name=figure.name,
            metric_value=value,
            metric_args=_interval(row, figure),
        )
        for figure in FIGURES
        if (value := _value(row, figure.path)) is not None
    ]


def markdown(table: Mapping[str, Any]) -> str:
    """All rows as a Markdown table, the adapter under test last."""
    rows = table["rows"]
    shown = [figure for figure in FIGURES if any(_value(row, figure.path) is not None for row in rows)]
    head = ["", *(figure.name.partition(" (")[0] for figure in shown)]
    lines = [head, ["---"] * len(head)]
    lines += [[row["name"], *(_text(row, figure) for figure in shown)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(row: Mapping[str, Any], figure: Figure) -> str:
    value, interval = _value(row, figure.path), _interval(row, figure)
    if value is None:
        return ""
    return f"{value:.3f}" + (" ({:.2f} to {:.2f})".format(*interval["ci95"]) if interval else "")


def _interval(row: Mapping[str, Any], figure: Figure) -> dict[str, list[float]] | None:
    bounds = _value(row, (*figure.path[:-1], figure.interval))
    return {"ci95": list(bounds)} if bounds and None not in bounds else None


def _value(row: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        row = row.get(key) if isinstance(row, Mapping) else None
    return row
