"""The square of a picture that a checkpoint is trained on: the largest one, moved towards the face."""

import numpy as np
from PIL import Image

from emoji_adapter.errors import FaceError


def face_square(size: tuple[int, int], box: np.ndarray) -> tuple[int, int, int]:
    """Place the largest square of a picture so that the face is as central as it can be; our choice.

    Args:
        size: width and height of the picture.
        box: XYXY of the face in pixels.

    Returns:
        Left, top and side in pixels.

    Raises:
        FaceError: the face does not fit into any such square.
    """
    width, height = size
    side = min(width, height)
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left = round(min(max(centre_x - side / 2, 0), width - side))
    top = round(min(max(centre_y - side / 2, 0), height - side))
    slack = 0.1 * (box[2] - box[0])
    if box[0] < left - slack or box[2] > left + side + slack:
        raise FaceError(f"The face ({box[2] - box[0]:.0f} px wide) does not fit into a {side} px square.")
    return int(left), int(top), int(side)


def cut_square(image: Image.Image, square: tuple[int, int, int], size: int) -> Image.Image:
    """Cut a square out of a picture and resize it.

    Args:
        image: RGB.
        square: left, top, side in pixels.
        size: side of the result in pixels.
    """
    left, top, side = square
    cut = image.crop((left, top, left + side, top + side))
    return cut if side == size else cut.resize((size, size), Image.Resampling.LANCZOS)


def move_points(points: np.ndarray, square: tuple[int, int, int], size: int) -> np.ndarray:
    """Carry (x, y) points of the picture, shape [..., 2], into the pixels of its resized square."""
    left, top, side = square
    return (points - np.array([left, top], dtype=np.float32)) * (size / side)
