"""Expression crops of whole batches of tensors: what `ExpressionCrop.crop` does one by one."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.geometry import GREY, face_mask, template


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
    target = torch.from_numpy(template(crop.size, crop.zoom, crop.rise)).to(landmarks)
    with torch.autocast(images.device.type, enabled=False):
        matrix = similarity(landmarks, target.expand(len(landmarks), 5, 2))
        aligned = warp(images - grey, matrix, crop.size) + grey
    if not crop.mask:
        return aligned
    mask = torch.from_numpy(face_mask(crop.size, crop.zoom, crop.rise)).to(images.device)
    return torch.where(mask, aligned, grey)


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
