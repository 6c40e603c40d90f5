"""Template augmentation on tensors, on their device: colour jitter and a small affine map, against leakage.

Colour and place of the template say who and where, not how the face moves (X-Portrait and X-NeMo use the
same kind of changes; amounts are our choice). Horizontal flips are banned: left and right are labels of the
expression.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from emoji_adapter.training.config import AugmentationConfig

GREY = 127 / 255
"""Value outside the face oval of a template, and of what an affine map uncovers."""


def augment(
    images: Float[Tensor, "B 3 S S"], config: AugmentationConfig, generator: Generator
) -> Float[Tensor, "B 3 S S"]:
    """Change colour and place of each picture by its own random amounts.

    Args:
        images: RGB in [0, 1]; the masked part is grey 127.
        config: how far.
        generator: on the images' device.

    Returns:
        Pictures in [0, 1]; the masked part stays grey.
    """
    inside = (images - GREY).abs().amax(dim=1, keepdim=True) > 0.5 / 255
    coloured = torch.where(inside, jitter_colour(images, config, generator), images)
    matrix = affine_matrices(len(images), config, generator, images.device).to(images.dtype)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    moved = grid_sample(coloured - GREY, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved + GREY).clamp(0, 1)


def jitter_colour(
    images: Float[Tensor, "B 3 S S"], config: AugmentationConfig, generator: Generator
) -> Float[Tensor, "B 3 S S"]:
    """Shift brightness, scale contrast and saturation about the mean, and turn the hue; clipped to [0, 1]."""
    brightness, contrast, saturation, hue = _amounts(len(images), 4, generator, images)
    images = _turn_hue(images, hue * (config.hue * 2 * math.pi))
    grey = _luma(images)
    images = grey + (images - grey) * (1 + config.saturation * saturation)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + config.contrast * contrast)
    return (images + config.brightness * brightness).clamp(0, 1)


def affine_matrices(
    batch: int, config: AugmentationConfig, generator: Generator, device: torch.device
) -> Float[Tensor, "B 2 3"]:
    """Draw maps from output to input coordinates in [-1, 1]: rotation, uniform scale, shift.

    The determinant of the linear part is positive: no map mirrors.
    """
    angle, scale, dx, dy = (
        item.view(-1) for item in _amounts(batch, 4, generator, torch.zeros(0, device=device))
    )
    angle, scale = angle * math.radians(config.rotation), 1 + config.scale * scale
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [cos, -sin, 2 * config.shift * dx, sin, cos, 2 * config.shift * dy]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _amounts(batch: int, count: int, generator: Generator, like: Tensor) -> tuple[Tensor, ...]:
    drawn = torch.rand(count, batch, 1, 1, 1, generator=generator, device=like.device, dtype=torch.float32)
    return (drawn * 2 - 1).to(like.dtype).unbind(0)


def _luma(images: Tensor) -> Tensor:
    return (images * _constants(images.device, images.dtype)[0]).sum(dim=1, keepdim=True)


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate the colours about the grey axis by `angle` radians, shape [B, 1, 1, 1] (Rodrigues)."""
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    _, eye, cross = _constants(images.device, images.dtype)
    matrix = cos * eye + sin * cross + (1 - cos) / 3
    return torch.einsum("bij,bjhw->bihw", matrix, images)


@functools.cache
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Luma weights, unit matrix, cross product with the grey axis; making them waits for the device."""
    luma = torch.tensor([0.299, 0.587, 0.114], device=device, dtype=dtype).view(1, 3, 1, 1)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=device, dtype=dtype) / math.sqrt(3)
    return luma, torch.eye(3, device=device, dtype=dtype), cross
