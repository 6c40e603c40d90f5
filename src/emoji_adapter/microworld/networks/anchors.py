"""Anchors of the face detector: where insightface's SCRFD decoder expects every prediction to stand."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2
ANCHOR_SIZES = ((16, 32), (64, 128), (256, 512))
"""Sides in pixels of the square anchors of each stride (as in SCRFD)."""


@dataclass(frozen=True)
class Anchors:
    """All anchors of one canvas: stride by stride, row by row, the two of a cell side by side.

    Attributes:
        centres: (x, y) in pixels of the canvas; a cell's point is its corner, as insightface decodes.
        sizes: side of the anchor in pixels.
        strides: stride in pixels.
    """

    centres: Float[Tensor, "anchors 2"]
    sizes: Float[Tensor, " anchors"]
    strides: Float[Tensor, " anchors"]

    def __len__(self) -> int:
        return len(self.sizes)


@lru_cache(maxsize=64)
def anchors(height: int, width: int, device: torch.device | str = "cpu") -> Anchors:
    """The anchors of a canvas whose sides are multiples of 32."""
    centres, sizes, strides = [], [], []
    for stride, pair in zip(STRIDES, ANCHOR_SIZES, strict=True):
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack([x, y], -1).reshape(-1, 2).float() * stride
        centres.append(cells.repeat_interleave(ANCHORS_PER_CELL, 0))
        sizes.append(torch.tensor(pair, dtype=torch.float32).repeat(len(cells)))
        strides.append(torch.full((len(cells) * ANCHORS_PER_CELL,), float(stride)))
    return Anchors(torch.cat(centres).to(device), torch.cat(sizes).to(device), torch.cat(strides).to(device))


def decode_boxes(
    where: Anchors, distances: Float[Tensor, "batch anchors 4"]
) -> Float[Tensor, "batch anchors 4"]:
    """XYXY pixels from the distances left, top, right, bottom in strides: insightface's `distance2bbox`."""
    pixels = distances * where.strides[:, None]
    return torch.cat([where.centres - pixels[..., :2], where.centres + pixels[..., 2:]], -1)


def decode_points(
    where: Anchors, offsets: Float[Tensor, "batch anchors 10"]
) -> Float[Tensor, "batch anchors 5 2"]:
    """(x, y) pixels of the five landmarks from offsets in strides: insightface's `distance2kps`."""
    pixels = offsets * where.strides[:, None]
    return where.centres[:, None] + pixels.unflatten(-1, (5, 2))
