"""The figures of a row, a number a cell: what is averaged, compared and split by style."""

import numpy as np

from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.metrics.following import following_terms
from emoji_adapter.metrics.identity import cosine, leak
from emoji_adapter.metrics.landmarks import landmark_distance
from emoji_adapter.metrics.records import Readings

WORDS = ("style", "background", "accessory")
FOLLOWING = {"skin": "skin_leak", "pose": "pose_following"}
"""Readings that the template should not lead, and what their columns are called."""


def cell_columns(judged: Judged, row: Row, oracle: Readings | None) -> dict[str, np.ndarray]:
    """Figures of a row, a number a cell; what the judges do not look at has no column.

    Args:
        judged: cells and inputs.
        row: which row.
        oracle: the judges on the perfect answers, if anybody knows them. Leak is relative to them, else to
            the row's own cells without the template.
    """
    seen = row.readings
    columns = {
        "id": cosine(seen.embedding, judged.photos.embedding),
        "found": (seen.faces == 1).astype(float),
        **_expression(judged, seen),
        **_words(judged, seen),
        **_following(judged, row),
    }
    reference = oracle or row.own
    if reference is not None:
        columns["leak"] = leak(seen.embedding, reference.embedding, judged.templates.embedding)
        if row.identity_off is not None:
            columns["identity_off"] = leak(
                row.identity_off.embedding, reference.embedding, judged.templates.embedding
            )
    if seen.clip is not None and judged.texts is not None:
        columns["clip_t"] = 100 * np.maximum(cosine(seen.clip, judged.texts), 0)
    return columns


def _expression(judged: Judged, seen: Readings) -> dict[str, np.ndarray]:
    found = {}
    if seen.blendshapes is not None:
        true = [cell.blendshapes for cell in judged.cells if cell.blendshapes is not None]
        shown = judged.templates.blendshapes if len(true) < len(judged.cells) else np.stack(true)
        if shown is not None:
            found["exp"] = blendshape_distance(seen.blendshapes, shown)
    if seen.ratios is not None and judged.templates.ratios is not None:
        found["lms"] = landmark_distance(seen.ratios, judged.templates.ratios)
    return found


def _words(judged: Judged, seen: Readings) -> dict[str, np.ndarray]:
    found = {}
    for key in WORDS:
        read, asked = getattr(seen, key), [getattr(cell, key) for cell in judged.cells]
        if read is not None and None not in asked:
            right = (read == np.array(asked)).astype(float)
            named = np.array(asked) != "none"
            found[key] = np.where(named, right, np.nan) if key == "accessory" else right
    return found


def _following(judged: Judged, row: Row) -> dict[str, np.ndarray]:
    """Numerators and denominators of how much of the template's skin and pose a row takes over."""
    found = {}
    for key, title in FOLLOWING.items():
        truth = [getattr(cell, f"template_{key}") for cell in judged.cells]
        seen = getattr(row.readings, key)
        own = None if row.own is None else getattr(row.own, key)
        if seen is not None and own is not None and all(value is not None for value in truth):
            top, bottom = following_terms(seen, own, np.stack(truth))
            found |= {f"{title} step": top, f"{title} way": bottom}
    return found
