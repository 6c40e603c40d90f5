"""From judged pictures to the table: means, 95 % intervals, floors and ceilings, as plain JSON values."""

import math
from typing import Any

import numpy as np

from emoji_adapter.evaluation.runner import (
    ADAPTER,
    EXPRESSION_ONLY,
    IDENTITY_ONLY,
    ORACLE,
    PLAIN,
    Judged,
    Row,
)
from emoji_adapter.metrics.bootstrap import ClusterBootstrap, Estimate, combine
from emoji_adapter.metrics.expression import blendshape_distance, normalised
from emoji_adapter.metrics.following import following_terms
from emoji_adapter.metrics.identity import cosine, different_person_cosine, leak, position

OWN = {ADAPTER: IDENTITY_ONLY, EXPRESSION_ONLY: PLAIN}
"""Rows that see a template, and the row that shows what the same cells are without it."""


class Scorer:
    """Scores rows on the same cells with the same resamplings, so that rows can be compared.

    Args:
        judged: cells and readings.
        draws: resamplings of the bootstrap.
    """

    def __init__(self, judged: Judged, draws: int = 2000):
        self.judged = judged
        cells = judged.cells
        people = np.array([cell.identity for cell in cells])
        self._bootstrap = ClusterBootstrap(people, np.array([cell.expression for cell in cells]), draws=draws)
        self._floor = different_person_cosine(
            judged.photos.embedding, judged.row(ORACLE).readings.embedding, people
        )
        self._columns = {row.name: self._cell_columns(row) for row in judged.rows}

    def rows(self) -> list[dict[str, Any]]:
        """All rows in order, in the form of the design's section 7."""
        return [self._row(row) for row in self.judged.rows]

    def _row(self, row: Row) -> dict[str, Any]:
        cells = self.judged.cells
        everywhere = np.ones(len(cells), dtype=bool)
        styles = np.array([cell.style for cell in cells])
        same = np.array([cell.same_style for cell in cells])
        contradicted = np.array([cell.contradicted for cell in cells])
        return {
            "name": row.name,
            **self._block(row.name, everywhere),
            "by_style": {
                style: self._block(row.name, styles == style) for style in dict.fromkeys(styles.tolist())
            },
            "by_template": {
                "same style": self._block(row.name, same),
                "other style": self._block(row.name, ~same),
            },
            "by_prompt": {
                "contradicting": self._block(row.name, contradicted),
                "silent": self._block(row.name, ~contradicted),
            },
        }

    def _cell_columns(self, row: Row) -> dict[str, np.ndarray]:
        """Figures a cell of one row."""
        judged, seen = self.judged, row.readings
        asked = {key: np.array([getattr(cell, key) for cell in judged.cells]) for key in _WORDS}
        named = asked["accessory"] != "none"
        oracle = judged.row(ORACLE).readings.embedding
        columns = {
            "id": cosine(seen.embedding, judged.photos.embedding),
            "exp": blendshape_distance(seen.blendshapes, np.stack([c.blendshapes for c in judged.cells])),
            "leak": leak(seen.embedding, oracle, judged.templates.embedding),
            "style": (seen.style == asked["style"]).astype(float),
            "background": (seen.background == asked["background"]).astype(float),
            "accessory": np.where(named, seen.accessory == asked["accessory"], np.nan),
            "found": (seen.faces == 1).astype(float),
        }
        if row.name in OWN:
            own = judged.row(OWN[row.name]).readings
            truth = {
                "skin": np.stack([cell.template_skin for cell in judged.cells]),
                "pose": np.stack([cell.template_pose for cell in judged.cells]),
            }
            for key, template in truth.items():
                top, bottom = following_terms(getattr(seen, key), getattr(own, key), template)
                columns |= {f"{key} step": top, f"{key} way": bottom}
        return columns

    def _block(self, name: str, where: np.ndarray) -> dict[str, Any]:
        """The figures of one row on some cells."""
        columns = self._columns[name]

        def mean(key: str, row: str = name) -> Estimate:
            return self._bootstrap.mean(self._columns[row][key], where)

        floor, ceiling = self._bootstrap.mean(self._floor, where), mean("id", ORACLE)
        place = combine(position, mean("id"), floor, ceiling)
        without, best = mean("exp", IDENTITY_ONLY), mean("exp", ORACLE)
        share = combine(normalised, mean("exp"), without, best)
        block: dict[str, Any] = {
            "n": int(where.sum()),
            "id": {
                **_figure(mean("id")),
                "floor": _number(floor.value),
                "oracle": _number(ceiling.value),
                "position": _number(place.value),
                "position_ci95": _interval(place),
            },
            "exp": {
                **_figure(mean("exp")),
                "without": _number(without.value),
                "oracle": _number(best.value),
                "normalised": _number(share.value),
                "normalised_ci95": _interval(share),
            },
            "leak": _figure(mean("leak")),
        }
        if name == ADAPTER:
            block["leak"]["identity_off"] = _figure(mean("leak", EXPRESSION_ONLY))
        for key, title in (("skin", "skin_leak"), ("pose", "pose_following")):
            if f"{key} way" in columns:
                ratio = self._bootstrap.ratio(columns[f"{key} step"], columns[f"{key} way"], where)
                block[title] = _figure(ratio)
        return block | {key: _figure(mean(key)) for key in (*_WORDS, "found")}


_WORDS = ("style", "background", "accessory")


def assemble(
    judged: Judged, protocol: dict[str, Any], judge_errors: dict[str, Any], draws: int = 2000
) -> dict[str, Any]:
    """The whole result of an evaluation, ready for JSON.

    Args:
        judged: cells and readings.
        protocol: seed, sizes, names and versions, as they are to be recorded.
        judge_errors: what the judges themselves err.
        draws: resamplings of the bootstrap.
    """
    return {
        "protocol": {**protocol, "cells": len(judged.cells), "refused": judged.refused},
        "judge_errors": judge_errors,
        "rows": Scorer(judged, draws).rows(),
    }


def _figure(estimate: Estimate) -> dict[str, Any]:
    return {"mean": _number(estimate.value), "ci95": _interval(estimate)}


def _interval(estimate: Estimate) -> list[float | None]:
    return [_number(bound) for bound in estimate.ci95]


def _number(value: float) -> float | None:
    """A JSON number; what cannot be measured is null."""
    return round(float(value), 5) if math.isfinite(value) else None
