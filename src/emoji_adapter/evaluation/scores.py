"""From judged pictures to the table: means, 95 % intervals, floors and ceilings, as plain JSON values."""

import math
from typing import Any

import numpy as np

from emoji_adapter.evaluation.columns import FOLLOWING, WORDS, cell_columns
from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.plan import ORACLE
from emoji_adapter.metrics.bootstrap import ClusterBootstrap, Estimate, combine
from emoji_adapter.metrics.expression import normalised
from emoji_adapter.metrics.identity import different_person_cosine, position

WITHOUT = "identity"
"""The way of the row that ExpN counts from: the first that is drawn so."""
PLAIN_FIGURES = (*WORDS, "found", "clip_t", "lms")
"""Figures that are means of their column and nothing else."""


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
        self._oracle, self._without = judged.first(ORACLE), judged.first(WITHOUT)
        self._floor = None
        oracle = None if self._oracle is None else self._oracle.readings
        if oracle is not None:
            self._floor = different_person_cosine(judged.photos.embedding, oracle.embedding, people)
        self._columns = {row.name: cell_columns(judged, row, oracle) for row in judged.rows}
        self.everywhere = np.ones(len(cells), dtype=bool)
        self.styles = np.array([cell.style for cell in cells])
        known = np.array([cell.template_style is not None for cell in cells])
        self.same_style = np.array([cell.same_style for cell in cells]) & known
        self.other_style = ~self.same_style & known
        self.contradicted = np.array([cell.contradicted for cell in cells])

    def estimates(self, name: str, where: np.ndarray | None = None) -> dict[str, Estimate]:
        """The figures of a row with their draws; those of all rows are paired.

        Args:
            name: of the row.
            where: only these cells, boolean (n,); all by default.

        Returns:
            What can be measured of: `id`, `floor`, `ceiling`, `position`; `exp`, `without`, `best`,
            `normalised`; `leak`, `identity_off`; `skin_leak`, `pose_following`; `style`, `background`,
            `accessory`, `found`, `clip_t`, `lms`.
        """
        columns = self._columns[name]
        found = {
            key: self._bootstrap.mean(values, where)
            for key, values in columns.items()
            if not key.endswith((" step", " way"))
        }
        for title in FOLLOWING.values():
            if f"{title} way" in columns:
                found[title] = self._bootstrap.ratio(columns[f"{title} step"], columns[f"{title} way"], where)
        if self._oracle is not None and self._floor is not None:
            ceiling = self._bootstrap.mean(self._columns[self._oracle.name]["id"], where)
            found |= {"floor": self._bootstrap.mean(self._floor, where), "ceiling": ceiling}
            found["position"] = combine(position, found["id"], found["floor"], ceiling)
        if "exp" in found:
            found |= self._bounds(found["exp"], where)
        return found

    def _bounds(self, exp: Estimate, where: np.ndarray | None) -> dict[str, Estimate]:
        """What Exp is without control and at best, and its place between them."""
        found = {}
        for key, row in (("without", self._without), ("best", self._oracle)):
            if row is not None:
                found[key] = self._bootstrap.mean(self._columns[row.name]["exp"], where)
        if len(found) == 2:
            found["normalised"] = combine(normalised, exp, found["without"], found["best"])
        return found

    def rows(self) -> list[dict[str, Any]]:
        """All rows in order, in the form of the design's section 7."""
        return [self._row(row) for row in self.judged.rows]

    def _row(self, row: Row) -> dict[str, Any]:
        found = {"name": row.name, **self.block(row.name)}
        styles = dict.fromkeys(self.styles.tolist())
        found["by_style"] = {style: self.block(row.name, self.styles == style) for style in styles}
        if self.other_style.any() or self.same_style.any():
            found["by_template"] = {
                "same style": self.block(row.name, self.same_style),
                "other style": self.block(row.name, self.other_style),
            }
        if self.contradicted.any():
            found["by_prompt"] = {
                "contradicting": self.block(row.name, self.contradicted),
                "silent": self.block(row.name, ~self.contradicted),
            }
        return found

    def block(self, name: str, where: np.ndarray | None = None) -> dict[str, Any]:
        """The figures of one row on some cells, as JSON values."""
        found = self.estimates(name, where)
        block: dict[str, Any] = {"n": int((self.everywhere if where is None else where).sum())}
        block["id"] = figure(found["id"]) | values(
            found, floor="floor", oracle="ceiling", position="position"
        )
        if "position" in found:
            block["id"]["position_ci95"] = interval(found["position"])
        if "exp" in found:
            places = values(found, without="without", oracle="best", normalised="normalised")
            block["exp"] = figure(found["exp"]) | places
            if "normalised" in found:
                block["exp"]["normalised_ci95"] = interval(found["normalised"])
        if "leak" in found:
            block["leak"] = figure(found["leak"])
            if "identity_off" in found:
                block["leak"]["identity_off"] = figure(found["identity_off"])
        plain = (*FOLLOWING.values(), *PLAIN_FIGURES)
        return block | {key: figure(found[key]) for key in plain if key in found}


def figure(estimate: Estimate) -> dict[str, Any]:
    """A mean and its 95 % interval, as JSON values."""
    return {"mean": number(estimate.value), "ci95": interval(estimate)}


def interval(estimate: Estimate) -> list[float | None]:
    """A 95 % interval, as JSON values."""
    return [number(bound) for bound in estimate.ci95]


def number(value: float) -> float | None:
    """A JSON number; what cannot be measured is null."""
    return round(float(value), 5) if math.isfinite(value) else None


def values(found: dict[str, Estimate], **names: str) -> dict[str, float | None]:
    """Some estimates under other names, those that there are, without intervals."""
    return {key: number(found[name].value) for key, name in names.items() if name in found}
