"""Changes of pictures that leave the face where it is: colour, contrast, noise, loss of sharpness."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.microworld.networks.dice import Dice


def degrade(
    pictures: Float[Tensor, "batch 3 h w"], generator: torch.Generator, strength: float = 1.0
) -> Float[Tensor, "batch 3 h w"]:
    """Random change of pictures in [0, 1], as an autoencoder, a camera or a compression might do.

    Args:
        pictures: any size.
        generator: on the device of the pictures.
        strength: 1 is our choice; 0 changes nothing but the sharpness of some.
    """
    dice, count = Dice(generator), len(pictures)
    pictures = _soften(dice, pictures)
    gain = (
        1
        + dice.normal(count, 3, 1, 1, scale=0.04 * strength)
        + dice.normal(count, 1, 1, 1, scale=0.10 * strength)
    )
    mean = pictures.mean((1, 2, 3), keepdim=True)
    contrast = 1 + dice.normal(count, 1, 1, 1, scale=0.12 * strength)
    pictures = ((pictures - mean) * contrast + mean) * gain + dice.normal(
        count, 1, 1, 1, scale=0.03 * strength
    )
    noise = dice.normal(*pictures.shape) * dice.uniform(count, 1, 1, 1, high=0.05 * strength)
    noise = noise * dice.chance(0.5, count, 1, 1, 1)
    return (pictures + noise).clamp(0, 1)


def _soften(dice: Dice, pictures: Tensor) -> Tensor:
    """Shrink and enlarge a third of the pictures, by one of two factors."""
    size = pictures.shape[-2:]
    kind = dice.kind((0.67, 0.2, 0.13), len(pictures))[:, None, None, None]
    out = pictures
    for number, factor in enumerate((1.5, 2.5), start=1):
        reduced = (int(size[0] / factor), int(size[1] / factor))
        small = functional.interpolate(pictures, size=reduced, mode="bilinear", antialias=True)
        soft = functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
        out = torch.where(kind == number, soft, out)
    return out
