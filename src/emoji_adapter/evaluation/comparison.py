"""What a step buys: each row against the one above it, paired over the same cells and resamplings."""

from typing import Any

import numpy as np

from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.scores import WITHOUT, Scorer, figure
from emoji_adapter.metrics.bootstrap import Estimate, Figure, combine

COMPARED = (
    "id", "position", "exp", "normalised", "leak", "identity_off", "skin_leak", "pose_following", "style",
    "background", "accessory", "found", "clip_t", "lms",
)  # fmt: skip
"""Figures whose difference is told."""


def difference(first: Figure, second: Figure) -> Figure:
    """How much larger the first is."""
    return np.subtract(first, second)


def ratio(part: Figure, whole: Figure) -> Figure:
    """Quotient that is NaN, without a warning, where the whole is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(part, whole) * np.where(np.equal(whole, 0), np.nan, 1.0)


def comparison(scorer: Scorer, row: Row, other: Row) -> dict[str, Any]:
    """A row against another.

    Args:
        scorer: of the table.
        row: the one that should be better.
        other: the one that it is compared with.

    Returns:
        `row`, the name of the other; the differences row - other of `COMPARED`, those measured in both, and
        of `style_off`, the style accuracy where the template wears another style; `leak_ratio`, row / other;
        `gap_closed`, the share of the way from the other's ID position to that of the identity-only row.
        Each with its paired 95 % interval.
    """
    mine, theirs = scorer.estimates(row.name), scorer.estimates(other.name)
    found: dict[str, Estimate] = {
        key: combine(difference, mine[key], theirs[key]) for key in COMPARED if key in mine and key in theirs
    }
    if scorer.other_style.any() and "style" in mine and "style" in theirs:
        off = [scorer.estimates(name, scorer.other_style)["style"] for name in (row.name, other.name)]
        found["style_off"] = combine(difference, *off)
    if "leak" in found:
        found["leak_ratio"] = combine(ratio, mine["leak"], theirs["leak"])
    free = scorer.judged.first(WITHOUT)
    if "position" in found and free is not None and free not in (row, other):
        gap = combine(difference, scorer.estimates(free.name)["position"], theirs["position"])
        found["gap_closed"] = combine(ratio, found["position"], gap)
    return {"row": other.name} | {key: figure(estimate) for key, estimate in found.items()}


def contradicted_share(scorer: Scorer, row: Row) -> Estimate | None:
    """ExpN where prompts contradict the template over ExpN where they are silent; None if not measured."""
    if not scorer.contradicted.any():
        return None
    parts = [scorer.estimates(row.name, where) for where in (scorer.contradicted, ~scorer.contradicted)]
    if any("normalised" not in part for part in parts):
        return None
    return combine(ratio, *(part["normalised"] for part in parts))


def assemble(
    judged: Judged, protocol: dict[str, Any], judge_errors: dict[str, Any], draws: int = 2000
) -> dict[str, Any]:
    """The whole result of an evaluation, ready for JSON.

    Args:
        judged: cells and readings.
        protocol: seed, sizes, names and versions, as they are to be recorded.
        judge_errors: what the judges themselves err.
        draws: resamplings of the bootstrap.

    Returns:
        `protocol`, `judge_errors`, `rows` in the form of the design's section 7, each with `versus`, its
        comparison with the row above it, and `missing`, the rows without weights.
    """
    scorer = Scorer(judged, draws)
    rows = scorer.rows()
    for row, told in zip(judged.rows, rows, strict=True):
        share = contradicted_share(scorer, row)
        if share is not None:
            told["exp"]["contradicted_share"] = figure(share)
        other = judged.above(row)
        told["versus"] = None if other is None else comparison(scorer, row, other)
    return {
        "protocol": {**protocol, "cells": len(judged.cells), "refused": judged.refused},
        "judge_errors": judge_errors,
        "missing": [{"name": name, "reason": reason} for name, reason in judged.missing.items()],
        "rows": rows,
    }
