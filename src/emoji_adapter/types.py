"""Shapes and records that several layers share."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Face:
    """One face found in a picture.

    Attributes:
        box: XYXY in pixels of the picture, float32, shape (4,). It may reach beyond the picture's edges.
        landmarks: left eye, right eye, nose tip, left and right mouth corner as the *viewer* sees them, (x,
            y) in pixels, float32, shape (5, 2): insightface's order.
        score: detection score in [0, 1].
        embedding: identity embedding, not normalised, float32, shape (512,); None when only detection ran.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    embedding: np.ndarray | None = None

    @property
    def size(self) -> float:
        """The shorter side of the box, in pixels."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))
