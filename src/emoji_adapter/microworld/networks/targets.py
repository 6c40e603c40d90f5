"""Which anchor answers for which face."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emoji_adapter.microworld.networks.anchors import Anchors

REACH = 1.5
"""Anchors within so many strides (and half a box) of the middle of the face answer for it."""
NEAR = 0.6
SHARED = 0.95
"""In octaves between the sizes of face and anchor: up to NEAR it answers, up to SHARED it may."""


@dataclass(frozen=True)
class Faces:
    """The faces of a batch of canvases, padded to the same number.

    Attributes:
        boxes: XYXY pixels of the canvas.
        points: five landmarks, (x, y) pixels of the canvas.
        real: which entries are faces that should be found.
        ignored: which entries are faces cut off too far: neither finding nor missing them counts.
    """

    boxes: Float[Tensor, "batch faces 4"]
    points: Float[Tensor, "batch faces 5 2"]
    real: Bool[Tensor, "batch faces"]
    ignored: Bool[Tensor, "batch faces"]


@dataclass(frozen=True)
class Assignment:
    """What each anchor should say.

    Attributes:
        face: which face of its canvas the anchor answers for (any where it answers for none).
        positive: whether it answers for one.
        counted: whether its score counts at all.
    """

    face: Int[Tensor, "batch anchors"]
    positive: Bool[Tensor, "batch anchors"]
    counted: Bool[Tensor, "batch anchors"]


def assign(where: Anchors, faces: Faces) -> Assignment:
    """Give every face the anchors near its middle and of about its size (our choice, after FCOS).

    The anchor size nearest to the face's always answers. An anchor near two faces answers for the nearer one.
    """
    sides = (faces.boxes[..., 2:] - faces.boxes[..., :2]).clamp_min(1e-3)
    middle = (faces.boxes[..., 2:] + faces.boxes[..., :2]) / 2
    size = sides.prod(-1).sqrt()
    octaves = (size[..., None] / where.sizes).log2().abs()
    away = (where.centres - middle[:, :, None]).abs().amax(-1)
    reach = torch.minimum(REACH * where.strides, (size[..., None] / 2).clamp_min(0.75 * where.strides))
    close = away <= reach
    nearest = octaves <= octaves.amin(-1, keepdim=True) + 1e-4
    answers = close & (nearest | (octaves <= NEAR)) & faces.real[..., None]
    spared = (away <= 2 * reach) & (nearest | (octaves <= SHARED)) & (faces.real | faces.ignored)[..., None]
    distance = (away / size[..., None]).masked_fill(~answers, torch.inf)
    positive = answers.any(1)
    return Assignment(distance.argmin(1), positive, positive | ~spared.any(1))
