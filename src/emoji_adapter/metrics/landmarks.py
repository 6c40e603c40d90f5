"""How far eyes, pupils and mouth have moved, read from dense landmarks: EmojiDiff's LMS."""

import numpy as np
from jaxtyping import Float

_EYES = {"left": (362, 263, 386, 374, 473), "right": (133, 33, 159, 145, 468)}
"""Inner and outer corner, upper and lower lid, pupil, in MediaPipe's numbering of 478 points."""
_MOUTH = (61, 291, 13, 14)
"""Corners, upper and lower inner lip."""


def landmark_ratios(points: Float[np.ndarray, "n 478 d"]) -> Float[np.ndarray, "n 5"]:
    """Five ratios that size and place of the face do not change; NaN where a width is 0.

    Opening of the left and of the right eye over its width, place of the left and of the right pupil between
    the corners (0 inner, 1 outer), opening of the mouth over its width. That EmojiDiff compares five
    normalised amplitudes of eyes, pupils and mouth is known, which points they use is not: our choice.

    Args:
        points: MediaPipe's face landmarks with irises, in units that are the same along both axes; only x and
            y are used.
    """
    points = np.asarray(points, dtype=np.float64)[..., :2]
    openings, pupils = [], []
    for inner, outer, upper, lower, pupil in _EYES.values():
        openings.append(_opening(points, inner, outer, upper, lower))
        way = points[:, outer] - points[:, inner]
        step = points[:, pupil] - points[:, inner]
        pupils.append(_share((step * way).sum(-1), (way * way).sum(-1)))
    return np.stack([*openings, *pupils, _opening(points, *_MOUTH)], axis=-1)


def landmark_distance(
    first: Float[np.ndarray, "n 5"], second: Float[np.ndarray, "n 5"]
) -> Float[np.ndarray, " n"]:
    """LMS: mean absolute difference of the ratios, one number a picture, from 0; lower is better."""
    return np.abs(first - second).mean(axis=-1)


def _opening(points: np.ndarray, left: int, right: int, upper: int, lower: int) -> np.ndarray:
    width = np.linalg.norm(points[:, left] - points[:, right], axis=-1)
    return _share(np.linalg.norm(points[:, upper] - points[:, lower], axis=-1), width)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
