"""Pictures of people spoilt so that no face is left: hard negatives for the detector."""

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.microworld.networks.backdrops import backdrops
from emoji_adapter.microworld.networks.dice import Dice

ERASED, SHUFFLED, TEXTURE = range(3)


def decoys(
    pictures: Float[Tensor, "batch 3 size size"],
    landmarks: Float[Tensor, "batch 5 2"],
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 size size"]:
    """Spoil each picture in one of three ways.

    The features are painted over (hair, head and shoulders stay), or blocks of the picture change places, or
    it is a mere texture.
    """
    dice, count, size = Dice(generator), len(pictures), pictures.shape[-1]
    kind = dice.kind((0.45, 0.35, 0.2), count)[:, None, None, None]
    texture = backdrops(count, size, generator)
    out = torch.where(kind == ERASED, _erased(dice, pictures, landmarks, texture), texture)
    return torch.where(kind == SHUFFLED, _shuffled(dice, pictures), out)


def _erased(dice: Dice, pictures: Tensor, landmarks: Tensor, texture: Tensor) -> Tensor:
    """Paint an oval over eyes, nose and mouth: with the mean colour under it, or with the texture."""
    size = pictures.shape[-1]
    steps = torch.arange(size, device=pictures.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    centre = landmarks.mean(1)[..., None, None]
    reach = (landmarks - landmarks.mean(1, keepdim=True)).norm(dim=-1).amax(1)[:, None, None]
    reach = reach * dice.uniform(len(pictures), 1, 1, low=1.7, high=2.4)
    away = ((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2).sqrt() / reach
    cover = ((1 - away) * 8).clamp(0, 1)[:, None]
    mean = (pictures * cover).sum((2, 3), keepdim=True) / cover.sum((2, 3), keepdim=True).clamp_min(1)
    paint = torch.where(dice.chance(0.6, len(pictures), 1, 1, 1), mean, texture)
    return pictures + (paint - pictures) * cover


def _shuffled(dice: Dice, pictures: Tensor, blocks: int = 4) -> Tensor:
    """Cut into blocks x blocks pieces and lay these out in another order."""
    count, channels, size, _ = pictures.shape
    side = size // blocks
    pieces = (
        pictures.reshape(count, channels, blocks, side, blocks, side).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    )
    order = dice.uniform(count, blocks * blocks).argsort(1)
    mixed = pieces.gather(1, order[:, :, None, None, None].expand_as(pieces))
    return (
        mixed.reshape(count, blocks, blocks, channels, side, side)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape_as(pictures)
    )
