"""Batched face alignment on the device of the pictures: what insightface's `norm_crop` does one by one."""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.faces.batched import similarity, warp

ARCFACE_TEMPLATE = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
"""Where the five landmarks lie in an aligned crop of 112 pixels (insightface, utils/face_align.py)."""


def template(size: int, zoom: float = 1.0) -> Float[Tensor, "5 2"]:
    """Where the five landmarks lie in an aligned crop.

    As in insightface, a crop whose size is a multiple of 128 (and not of 112) shows 8 pixels more on either
    side and below; other sizes are the 112-pixel crop scaled.

    Args:
        size: pixels on a side.
        zoom: below 1 shows more around the face; about the centre of the crop.
    """
    points = torch.tensor(ARCFACE_TEMPLATE, dtype=torch.float32)
    if size % 128 == 0 and size % 112 != 0:
        points = points * (size / 128)
        points[:, 0] += 8.0 * size / 128
    else:
        points = points * (size / 112)
    return (points - size / 2) * zoom + size / 2


@functools.cache
def _template_on(device: torch.device, size: int, zoom: float) -> Float[Tensor, "5 2"]:
    """The template on a device; kept, since to copy it there is to wait for the device."""
    return template(size, zoom).to(device)


def align_batch(
    images: Float[Tensor, "batch c h w"],
    landmarks: Float[Tensor, "batch 5 2"],
    size: int = 112,
    zoom: float = 1.0,
) -> Float[Tensor, "batch c size size"]:
    """Aligned face crops, black outside the pictures; differentiable in `images` (and `landmarks`).

    Args:
        images: pictures, any range.
        landmarks: five points in pixels, insightface's order.
        size: side of the crops.
        zoom: see `template`.
    """
    with torch.autocast(images.device.type, enabled=False):
        target = _template_on(landmarks.device, size, zoom).expand(len(landmarks), 5, 2)
        return warp(images.float(), similarity(landmarks.float(), target), size)


def jitter(
    landmarks: Float[Tensor, "batch 5 2"], generator: torch.Generator | None, strength: float = 0.035
) -> Float[Tensor, "batch 5 2"]:
    """Landmarks as a detector might see them: each moved by a share of the eye distance (our choice)."""
    eyes = (landmarks[:, 1] - landmarks[:, 0]).norm(dim=-1)[:, None, None]
    noise = torch.randn(landmarks.shape, generator=generator, device=landmarks.device)
    return landmarks + noise * eyes * strength
