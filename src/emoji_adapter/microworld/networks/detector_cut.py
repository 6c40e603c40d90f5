"""Where a detector's scores are cut: insightface cuts at 0.5, so trained scores are shifted to suit."""

from pathlib import Path

import numpy as np

from emoji_adapter.microworld.networks.detector_figures import detector, pictures_by_count
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
    detect = detector(pack)
    scores: dict[int, list[list[float]]] = {0: [], 1: [], 2: []}
    for count, picture, _ in pictures_by_count(people, seed, empty):
        scores[count].append([face.det_score for face in detect(picture)])

    def wrong(cut: float) -> float:
        return sum(
            float(np.mean([sum(score >= cut for score in found) != count for found in pictures]))
            for count, pictures in scores.items()
        )

    return min(CUTS, key=wrong)
