"""Which part of a picture belongs to which face."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from emoji_adapter.errors import InputError
from emoji_adapter.types import Face

MARGIN = 0.5
"""How far a region reaches beyond the face's box on every side, in sizes of the box: hair and neck are inside
(our choice)."""


def masks_of_faces(
    size: tuple[int, int], faces: Sequence[Face], margin: float = MARGIN
) -> Float32[np.ndarray, "faces height width"]:
    """A mask for each face, from left to right: 1 inside its region, 0 outside. Regions do not overlap.

    A region is the box with a margin; what lies in several of them belongs to the face whose middle is
    nearest, measured in sizes of that face's box.

    Args:
        size: (width, height) of the picture.
        faces: in pixels of it.
        margin: in sizes of the box, at least 0.

    Raises:
        InputError: a margin below 0, or a face outside the picture.
    """
    if not margin >= 0:
        raise InputError(f"margin must be a number from 0, in sizes of the face's box; got {margin!r}.")
    width, height = size
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    distances = []
    for face in sorted(faces, key=lambda face: face.box[0] + face.box[2]):
        left, top, right, bottom = face.box
        across, down = max(right - left, 1.0), max(bottom - top, 1.0)
        from_middle = np.abs(x - (left + right) / 2) / across, np.abs(y - (top + bottom) / 2) / down
        inside = np.maximum(*from_middle) <= 0.5 + margin
        distances.append(np.where(inside, np.hypot(*from_middle), np.inf))
    if not distances:
        return np.zeros((0, height, width), np.float32)
    stacked = np.stack(distances)
    owner = np.where(np.isfinite(stacked.min(0)), stacked.argmin(0), -1)
    masks = (owner == np.arange(len(stacked))[:, None, None]).astype(np.float32)
    for number, mask in enumerate(masks):
        if not mask.any():
            raise InputError(
                f"Face {number} from the left has no place of its own in the {width}x{height} picture."
            )
    return masks
