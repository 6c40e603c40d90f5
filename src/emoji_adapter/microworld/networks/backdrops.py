"""Pictures without a face: colours, ramps, soft noise, strands, shapes. What a detector must not fall for."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.microworld.networks.dice import Dice

SHAPES = 5


def backdrops(count: int, size: int, generator: torch.Generator) -> Float[Tensor, "batch 3 size size"]:
    """Draw face-free pictures in [0, 1] on the generator's device; each mixes some of the kinds below."""
    dice = Dice(generator)
    steps = (torch.arange(size, device=dice.device) + 0.5) / size
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    picture = _ramp(dice, count, x, y)
    picture = picture + _cloud(dice, count, size)
    picture = picture + _strands(dice, count, x, y)
    for _ in range(SHAPES):
        picture = _shape(dice, picture, x, y)
    grain = dice.normal(count, 3, size, size) * dice.uniform(count, 1, 1, 1, high=0.2) ** 2 * 2
    return (picture + grain * dice.chance(0.4, count, 1, 1, 1)).clamp(0, 1)


def _ramp(dice: Dice, count: int, x: Tensor, y: Tensor) -> Tensor:
    """Between two colours, along a line or about a point; often so near each other that it is flat."""
    first = dice.uniform(count, 3, 1, 1)
    nearby = dice.chance(0.6, count, 1, 1, 1)
    second = torch.where(nearby, first + dice.normal(count, 3, 1, 1, scale=0.1), dice.uniform(count, 3, 1, 1))
    angle = dice.uniform(count, 1, 1, high=2 * math.pi)
    line = ((x - 0.5) * angle.cos() + (y - 0.5) * angle.sin() + 0.5).clamp(0, 1)
    centre = dice.uniform(count, 2, 1, 1)
    ring = ((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2).sqrt().clamp(0, 1)
    mix = torch.where(dice.chance(0.5, count, 1, 1), line, ring)[:, None]
    return first + (second - first) * mix


def _cloud(dice: Dice, count: int, size: int) -> Tensor:
    """Soft noise of three coarsenesses."""
    total = torch.zeros(count, 3, size, size, device=dice.device)
    for cells in (3, 9, 27):
        coarse = dice.normal(count, 3, cells, cells) * dice.uniform(count, 1, 1, 1) ** 2
        total = total + functional.interpolate(
            coarse, size=(size, size), mode="bilinear", align_corners=False
        )
    return total * 0.25 * dice.chance(0.5, count, 1, 1, 1)


def _strands(dice: Dice, count: int, x: Tensor, y: Tensor) -> Tensor:
    """Curved stripes, like hair or cloth."""
    angle, waves = dice.uniform(count, 1, 1, high=math.pi), dice.spread(3.0, 60.0, count, 1, 1)
    along = x * angle.cos() + y * angle.sin()
    across = y * angle.cos() - x * angle.sin()
    bend = (
        dice.normal(count, 1, 1, scale=0.15)
        * (2 * math.pi * across * dice.uniform(count, 1, 1, low=0.5, high=3.0)).sin()
    )
    stripe = (2 * math.pi * waves * (along + bend)).sin()
    hard = dice.chance(0.3, count, 1, 1)
    stripe = torch.where(hard, stripe.sign(), stripe)[:, None]
    tint = dice.normal(count, 3, 1, 1, scale=0.12) + dice.normal(count, 1, 1, 1, scale=0.12)
    return stripe * tint * dice.chance(0.35, count, 1, 1, 1)


def _shape(dice: Dice, picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One ellipse or box of any size, colour and softness painted over a share of the pictures."""
    count = len(picture)
    centre, turn = dice.uniform(count, 2, 1, 1, low=-0.1, high=1.1), dice.uniform(count, 1, 1, high=math.pi)
    radius = dice.spread(0.02, 0.6, count, 2, 1, 1)
    dx, dy = x - centre[:, 0], y - centre[:, 1]
    u = (dx * turn.cos() + dy * turn.sin()) / radius[:, 0]
    v = (dy * turn.cos() - dx * turn.sin()) / radius[:, 1]
    round_ = dice.chance(0.6, count, 1, 1)
    inside = 1 - torch.where(round_, (u * u + v * v).sqrt(), torch.maximum(u.abs(), v.abs()))
    cover = (inside * dice.spread(2.0, 60.0, count, 1, 1)).clamp(0, 1) * dice.uniform(count, 1, 1, low=0.4)
    cover = cover * dice.chance(0.45, count, 1, 1)
    colour = dice.uniform(count, 3, 1, 1)
    return picture + (colour - picture) * cover[:, None]
