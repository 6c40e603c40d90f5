"""Five-point alignment and the face oval. Pictures are uint8 (H, W, 3) RGB; points are (x, y) in pixels."""

import cv2
import numpy as np

from emoji_adapter.errors import InputError

TEMPLATE_SIZE = 112
"""Side of the picture, in pixels, that `TEMPLATE` is given for."""

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where the landmarks of an aligned face lie, as in `insightface.utils.face_align.arcface_dst`."""

GREY = 127
"""Value of pixels that lie outside the picture or the face."""

_OVAL_CENTRE = (56.0, 72.0)
_OVAL_AXES = (50.0, 60.0)


def similarity_transform(
    landmarks: np.ndarray, size: int = TEMPLATE_SIZE, zoom: float = 1.0, rise: float = 0.0
) -> np.ndarray:
    """Return the 2x3 matrix that moves the landmarks onto the template, by rotation, scale and shift only.

    The least-squares solution of Umeyama (1991) without reflection; in two dimensions it is a linear fit of
    complex numbers. At zoom 1, rise 0 and a size that 112 divides it is the transform of insightface's
    `norm_crop`.

    Args:
        landmarks: (5, 2) in pixels of the picture.
        size: side of the aligned picture in pixels.
        zoom: below 1 shows more around the face; about the centre of the aligned picture.
        rise: share of `size` by which the face is moved up, after the zoom: makes room for an open jaw.

    Raises:
        InputError: other than five finite points, or all in one place.
    """
    points = _complex(landmarks)
    target = _complex(template(size, zoom, rise))
    centred = points - points.mean()
    spread = float(np.sum(np.abs(centred) ** 2))
    if spread < 1e-6:
        raise InputError("The five landmarks lie in one place: they span no face.")
    turn = np.sum(np.conj(centred) * (target - target.mean())) / spread
    shift = target.mean() - turn * points.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def template(size: int = TEMPLATE_SIZE, zoom: float = 1.0, rise: float = 0.0) -> np.ndarray:
    """Return where the landmarks of a face that is aligned in this way lie, (5, 2)."""
    return _from_template(TEMPLATE, size, zoom, rise)


def align(
    image: np.ndarray, landmarks: np.ndarray, size: int = TEMPLATE_SIZE, zoom: float = 1.0, rise: float = 0.0
) -> np.ndarray:
    """Cut the face out of a picture, upright and of one scale: (size, size, 3) uint8.

    What lies outside the picture is grey. A face far larger than `size` is shrunk by area averaging first, so
    that it doesn't alias.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (5, 2) in pixels of `image`.
        size: side of the result in pixels.
        zoom: below 1 shows more around the face.
        rise: share of `size` by which the face is moved up.
    """
    matrix = similarity_transform(landmarks, size, zoom, rise)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        height, width = image.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ _undo_resize(small[0] / width, small[1] / height)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(GREY, GREY, GREY))


def face_mask(size: int = TEMPLATE_SIZE, zoom: float = 1.0, rise: float = 0.0) -> np.ndarray:
    """Return where an aligned face lies, boolean (size, size).

    An upright ellipse around brows, cheeks and an open jaw (our choice).
    """
    centre = _from_template(np.array([_OVAL_CENTRE]), size, zoom, rise)[0]
    axes = np.array(_OVAL_AXES) * (zoom * size / TEMPLATE_SIZE)
    y, x = np.mgrid[:size, :size]
    return ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1.0


def mask_face(aligned: np.ndarray, zoom: float = 1.0, rise: float = 0.0) -> np.ndarray:
    """Return a copy of an aligned picture, (size, size, 3), that is grey outside the face oval."""
    mask = face_mask(aligned.shape[0], zoom, rise)
    return np.where(mask[..., None], aligned, np.uint8(GREY))


def _complex(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(
            f"Five finite landmarks, an array of shape (5, 2), are needed; got {points.tolist()}."
        )
    return points[:, 0] + 1j * points[:, 1]


def _from_template(points: np.ndarray, size: int, zoom: float, rise: float) -> np.ndarray:
    centre = TEMPLATE_SIZE / 2
    moved = (points - centre) * zoom + centre - np.array([0.0, rise * TEMPLATE_SIZE])
    return moved * (size / TEMPLATE_SIZE)


def _undo_resize(scale_x: float, scale_y: float) -> np.ndarray:
    """3x3 matrix from pixels of a resized picture to those of the original; centres at whole numbers."""
    return np.array(
        [[1 / scale_x, 0, 0.5 / scale_x - 0.5], [0, 1 / scale_y, 0.5 / scale_y - 0.5], [0.0, 0.0, 1.0]]
    )
