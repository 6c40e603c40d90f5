"""Parts of a face that were taken for faces."""

import numpy as np

from emoji_adapter.types import Face


def without_nested(faces: list[Face], share: float = 0.6) -> list[Face]:
    """Drop faces that lie mostly within a surer one.

    Two detection sizes see a face and, weakly, a part of it as a face; the overlap of the boxes is too
    small for insightface's own suppression (our choice).

    Args:
        faces: in any order.
        share: of a face's area that must lie in the surer face.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_shared(face.box, other.box) < share * _area(face.box) for other in kept):
            kept.append(face)
    return kept


def _shared(first: np.ndarray, second: np.ndarray) -> float:
    """Area in pixels that two boxes share."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    return float(sides.clip(min=0).prod())


def _area(box: np.ndarray) -> float:
    return float((box[2:] - box[:2]).prod())
