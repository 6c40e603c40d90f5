"""From latents to pictures with gradients: whole, or only a square around the face."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def decode(
    vae: Any,
    latents: Float[Tensor, "B C h w"],
    landmarks: Float[Tensor, "B 5 2"],
    side: int | None = None,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 5 2"]]:
    """Decode latents, or a square of them around each face: pixels cost most of an image-space loss.

    A decoder sees beyond a latent's own pixels, so the rim of a cut square differs from the whole picture;
    leave room around the face.

    Args:
        vae: `AutoencoderKL` or `AutoencoderTiny`.
        latents: times the scaling factor.
        landmarks: in pixels of the whole picture.
        side: of the square, in latents; None, or a side that is not below the latents', decodes all.

    Returns:
        RGB in [0, 1], and the landmarks in pixels of what was decoded.
    """
    if side is not None and side < min(latents.shape[-2:]):
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        corner = _corner(landmarks / factor, side, latents.shape[-2:])
        latents, landmarks = _cut(latents, corner, side), landmarks - (corner * factor)[:, None]
    with torch.autocast(latents.device.type, enabled=False):
        pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return (pixels.float() / 2 + 0.5).clamp(0, 1), landmarks


def _corner(points: Tensor, side: int, size: torch.Size) -> Tensor:
    """Top left (x, y) of each square, whole latents, inside the picture; centred on the face."""
    middle = (points.amin(1) + points.amax(1)) / 2
    limit = torch.stack([torch.full_like(middle[:, 0], extent - side) for extent in (size[1], size[0])], 1)
    return (middle - side / 2).round().clamp_min(0).minimum(limit).long()


def _cut(latents: Tensor, corner: Tensor, side: int) -> Tensor:
    steps = torch.arange(side, device=latents.device)
    rows = torch.arange(len(latents), device=latents.device).view(-1, 1, 1)
    y, x = corner[:, 1, None] + steps, corner[:, 0, None] + steps
    return latents.permute(0, 2, 3, 1)[rows, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
