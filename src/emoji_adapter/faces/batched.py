"""Alignment and crops of batches of tensors: what `norm_crop` and `ExpressionCrop.crop` do one by one."""

import functools

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.geometry import GREY, TEMPLATE, TEMPLATE_SIZE, face_mask, template


def crop_batch(
    images: Float[Tensor, "batch 3 height width"], landmarks: Float[Tensor, "batch 5 2"], crop: ExpressionCrop
) -> Float[Tensor, "batch 3 size size"]:
    """Cut expression crops; differentiable in `images`.

    Equal to `ExpressionCrop.crop` up to rounding to bytes, as long as faces are not shrunk below half their
    size (there the other one averages over areas first).

    Args:
        images: RGB in [0, 1].
        landmarks: in pixels of `images`, insightface's order.
        crop: how to cut.
    """
    grey = GREY / 255.0
    target, mask = _crop_on(landmarks.device, crop)
    with torch.autocast(images.device.type, enabled=False):
        matrix = similarity(landmarks, target.to(landmarks.dtype).expand(len(landmarks), 5, 2))
        aligned = warp(images - grey, matrix, crop.size) + grey
    return torch.where(mask, aligned, grey) if crop.mask else aligned


def align_batch(
    images: Float[Tensor, "batch c h w"],
    landmarks: Float[Tensor, "batch 5 2"],
    size: int = TEMPLATE_SIZE,
    zoom: float = 1.0,
) -> Float[Tensor, "batch c size size"]:
    """Face crops as a recogniser takes them, black outside the pictures: insightface's `norm_crop`.

    Differentiable in `images` and `landmarks`.

    Args:
        images: pictures, any range.
        landmarks: five points in pixels, insightface's order.
        size: side of the crops.
        zoom: see `arcface_template`.
    """
    with torch.autocast(images.device.type, enabled=False):
        target = _arcface_template_on(landmarks.device, size, zoom).expand(len(landmarks), 5, 2)
        return warp(images.float(), similarity(landmarks.float(), target), size)


def arcface_template(size: int, zoom: float = 1.0) -> Float[Tensor, "5 2"]:
    """Where the five landmarks lie in a crop for a recogniser.

    As in insightface, a crop whose size is a multiple of 128 (and not of 112) shows 8 pixels more on either
    side and below; other sizes are the 112-pixel crop scaled.

    Args:
        size: pixels on a side.
        zoom: below 1 shows more around the face; about the centre of the crop.
    """
    points = torch.from_numpy(TEMPLATE.copy())
    if size % 128 == 0 and size % TEMPLATE_SIZE != 0:
        points = points * (size / 128)
        points[:, 0] += 8.0 * size / 128
    else:
        points = points * (size / TEMPLATE_SIZE)
    return (points - size / 2) * zoom + size / 2


@functools.cache
def _arcface_template_on(device: torch.device, size: int, zoom: float) -> Float[Tensor, "5 2"]:
    """The template on a device; kept, since to copy it there is to wait for the device."""
    return arcface_template(size, zoom).to(device)


@functools.cache
def _crop_on(
    device: torch.device, crop: ExpressionCrop
) -> tuple[Float[Tensor, "5 2"], Bool[Tensor, "size size"]]:
    """Landmarks and face oval of an expression crop on a device; kept for the same reason."""
    points = torch.from_numpy(template(crop.size, crop.zoom, crop.rise)).float()
    mask = torch.from_numpy(face_mask(crop.size, crop.zoom, crop.rise))
    return points.to(device), mask.to(device)


def similarity(
    source: Float[Tensor, "batch 5 2"], target: Float[Tensor, "batch 5 2"]
) -> Float[Tensor, "batch 2 3"]:
    """Least-squares rotation, scale and shift from `source` to `target` (Umeyama 1991, in the plane)."""
    source_mean, target_mean = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    p, q = source - source_mean, target - target_mean
    spread = p.square().sum((1, 2)).clamp_min(1e-8)
    real = (p * q).sum((1, 2)) / spread
    imaginary = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / spread
    turn = torch.stack([real, -imaginary, imaginary, real], 1).view(-1, 2, 2)
    shift = target_mean.transpose(1, 2) - turn @ source_mean.transpose(1, 2)
    return torch.cat([turn, shift], 2)


def _inverse(matrix: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch 2 3"]:
    turn = torch.linalg.inv(matrix[..., :2])
    return torch.cat([turn, -turn @ matrix[..., 2:]], 2)


def warp(
    images: Float[Tensor, "batch channels height width"], matrix: Float[Tensor, "batch 2 3"], size: int
) -> Float[Tensor, "batch channels size size"]:
    """Bilinear warp, 0 outside: `cv2.warpAffine` with pixel centres at whole numbers.

    Args:
        images: pictures.
        matrix: from pixels of the picture to pixels of the result.
        size: side of the result.
    """
    height, width = images.shape[-2:]
    steps = torch.arange(size, device=images.device, dtype=matrix.dtype)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    places = points @ _inverse(matrix).transpose(1, 2)
    scale = places.new_tensor([width, height])
    grid = ((places + 0.5) * 2 / scale - 1).view(-1, size, size, 2).to(images.dtype)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
