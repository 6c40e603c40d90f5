"""Pictures as networks take and make them, and as bytes."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor


def to_bytes(images: Float[Tensor, "batch 3 height width"]) -> UInt8[np.ndarray, "batch height width 3"]:
    """Pictures of a batch, RGB, as everything that finds or judges faces takes them; waits for the device.

    Args:
        images: RGB in [0, 1], of any number format, with or without gradients; what lies outside is cut off.
    """
    pixels = (images.detach().float().clamp(0, 1) * 255).round().byte()
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_bytes(
    pixels: UInt8[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch 3 height width"]:
    """Pictures kept as bytes, RGB, as networks take them: in [0, 1], on their device."""
    return pixels.permute(0, 3, 1, 2).float() / 255
