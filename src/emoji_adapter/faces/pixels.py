"""Pictures that networks make, as bytes."""

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
