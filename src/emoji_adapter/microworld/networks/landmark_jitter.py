"""Landmarks as a detector might see them."""

import torch
from jaxtyping import Float
from torch import Tensor


def jitter(
    landmarks: Float[Tensor, "batch 5 2"],
    generator: torch.Generator | None,
    strength: float = 0.035,
    together: float = 0.0,
) -> Float[Tensor, "batch 5 2"]:
    """Each landmark moved by a share of the eye distance (our choice).

    Args:
        landmarks: true ones, in pixels.
        generator: on their device.
        strength: standard deviation along each axis, as a share of the distance between the eyes.
        together: the same of a move that all five make.
    """
    eyes = (landmarks[:, 1] - landmarks[:, 0]).norm(dim=-1)[:, None, None]
    each = torch.randn(landmarks.shape, generator=generator, device=landmarks.device)
    moved = landmarks + each * eyes * strength
    if together:
        moved += torch.randn(moved[:, :1].shape, generator=generator, device=moved.device) * eyes * together
    return moved
