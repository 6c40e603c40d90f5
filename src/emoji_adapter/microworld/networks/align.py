"""Batched face alignment on the device of the pictures: what insightface's `norm_crop` does one by one."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.faces import geometry
from emoji_adapter.faces.crop import ExpressionCrop

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


def similarity(
    source: Float[Tensor, "batch 5 2"], target: Float[Tensor, "batch 5 2"]
) -> Float[Tensor, "batch 2 3"]:
    """Least-squares rotation, scale and shift that takes `source` to `target`: Umeyama (1991) in the plane.

    With the points as complex numbers z, w about their means, the optimum is the factor sum(w z*) / sum|z|^2.
    """
    source_mean, target_mean = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    z, w = source - source_mean, target - target_mean
    power = z.square().sum((1, 2)).clamp_min(1e-8)
    a = (z * w).sum((1, 2)) / power
    b = (z[..., 0] * w[..., 1] - z[..., 1] * w[..., 0]).sum(1) / power
    linear = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
    shift = target_mean[:, 0] - (linear @ source_mean.transpose(1, 2))[..., 0]
    return torch.cat([linear, shift[..., None]], 2)


def invert(matrix: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch 2 3"]:
    """Inverse of affine matrices."""
    (a, b), (c, d) = (matrix[:, row, :2].unbind(-1) for row in (0, 1))
    determinant = (a * d - b * c)[:, None, None]
    linear = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / determinant
    return torch.cat([linear, -(linear @ matrix[..., 2:])], 2)


def warp(
    images: Float[Tensor, "batch c h w"], matrix: Float[Tensor, "batch 2 3"], size: int
) -> Float[Tensor, "batch c size size"]:
    """Bilinear warp, black outside: `cv2.warpAffine` with pixel centres at whole numbers.

    Args:
        images: pictures.
        matrix: from pixels of the picture to pixels of the result.
        size: side of the result.
    """
    height, width = images.shape[-2:]
    steps = torch.arange(size, device=images.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    inverse = invert(matrix.float())
    where = points @ inverse.transpose(1, 2)
    x, y = where[..., 0] * (2.0 / (width - 1)) - 1.0, where[..., 1] * (2.0 / (height - 1)) - 1.0
    grid = torch.stack([x, y], -1).reshape(-1, size, size, 2)
    return functional.grid_sample(images.float(), grid, padding_mode="zeros", align_corners=True)


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
        return warp(images, similarity(landmarks.float(), target), size)


def expression_crops(
    images: Float[Tensor, "batch 3 h w"], landmarks: Float[Tensor, "batch 5 2"], crop: ExpressionCrop
) -> Float[Tensor, "batch 3 size size"]:
    """Crops of pictures in [0, 1] as `ExpressionCrop.crop` cuts them: grey outside picture and face oval."""
    with torch.autocast(images.device.type, enabled=False):
        goal, oval = _crop_on(landmarks.device, crop)
        matrix = similarity(landmarks.float(), goal.expand(len(landmarks), 5, 2))
        grey = geometry.GREY / 255.0
        aligned = warp(images - grey, matrix, crop.size) + grey
        if not crop.mask:
            return aligned
        return torch.where(oval, aligned, grey)


@lru_cache(maxsize=16)
def _template_on(device: torch.device, size: int, zoom: float) -> Tensor:
    """`template` on a device, copied there once."""
    return template(size, zoom).to(device)


@lru_cache(maxsize=16)
def _crop_on(device: torch.device, crop: ExpressionCrop) -> tuple[Tensor, Tensor]:
    """Landmarks and face oval of a kind of crop on a device, copied there once."""
    goal = torch.from_numpy(geometry.template(crop.size, crop.zoom, crop.rise)).float()
    return goal.to(device), torch.from_numpy(geometry.face_mask(crop.size, crop.zoom, crop.rise)).to(device)


def jitter(
    landmarks: Float[Tensor, "batch 5 2"], generator: torch.Generator, strength: float = 0.035
) -> Float[Tensor, "batch 5 2"]:
    """Landmarks as a detector might see them: each moved by a share of the eye distance (our choice)."""
    eyes = (landmarks[:, 1] - landmarks[:, 0]).norm(dim=-1)[:, None, None]
    noise = torch.randn(landmarks.shape, generator=generator, device=landmarks.device)
    return landmarks + noise * eyes * strength
