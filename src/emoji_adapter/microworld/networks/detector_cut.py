"""Where a detector's scores are cut: insightface cuts at 0.5, so trained scores are shifted to suit."""

from pathlib import Path

import numpy as np
import torch

from emoji_adapter.microworld.networks.detector_figures import detector, face_free, pairs, portraits, to_bytes
from emoji_adapter.renderer.parameters import FaceParameters

CUTS = tuple(np.arange(0.5, 0.925, 0.025).round(3).tolist())


def best_cut(pack: str | Path, people: FaceParameters, seed: int = 0, empty: int = 300) -> float:
    """The cut with the fewest wrong counts of faces: portraits, pictures of two, pictures without.

    Each kind weighs the same (our choice). A cut after non-maximum suppression is the same as one before it,
    for a lower score never suppresses a higher one.

    Args:
        pack: folder with the detector, its scores not shifted.
        people: of the training split; one picture each, and one picture of two for every neighbouring pair.
        seed: of the layouts and of the face-free pictures.
        empty: how many face-free pictures.
    """
    people, generator = people.to("cpu"), torch.Generator().manual_seed(seed)
    detect = detector(pack)
    scores: dict[int, list[list[float]]] = {0: [], 1: [], 2: []}
    for drawn in portraits(people):
        pictures = to_bytes(drawn.image)
        for count, some in ((1, pictures), (2, pairs(pictures, generator))):
            scores[count] += [[face.det_score for face in detect(picture)] for picture in some]
    scores[0] += [
        [face.det_score for face in detect(picture)] for picture in face_free(people, empty, generator)
    ]

    def wrong(cut: float) -> float:
        return sum(
            float(np.mean([sum(score >= cut for score in found) != count for found in pictures]))
            for count, pictures in scores.items()
        )

    return min(CUTS, key=wrong)
