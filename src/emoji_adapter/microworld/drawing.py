"""Drawing many faces as pictures in memory."""

import numpy as np
import torch
from jaxtyping import UInt8

from emoji_adapter.faces.pixels import to_bytes
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.render import render

BATCH = {"cuda": 256}
"""Faces drawn at a time; 16 elsewhere, which keeps the layers of a batch in a processor's cache."""


def draw(
    parameters: FaceParameters, size: int = 128, device: torch.device | str = "cpu"
) -> UInt8[np.ndarray, "n height width 3"]:
    """Draw faces batch by batch.

    Args:
        parameters: on any device.
        size: side of the pictures in pixels.
        device: where to draw.

    Returns:
        RGB pictures, uint8, HWC, on the CPU.
    """
    step = BATCH.get(torch.device(device).type, 16)
    parts = []
    for start in range(0, len(parameters), step):
        image = render(parameters.index(slice(start, start + step)).to(device), size).image
        parts.append(to_bytes(image))
    return np.concatenate(parts)
