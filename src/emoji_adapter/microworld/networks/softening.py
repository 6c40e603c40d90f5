"""What generation does to a picture, imitated on renders, so that judges read generated ones fairly.

An autoencoder blurs, a sampler leaves blotches and shifts of colour. Each picture of a batch draws its own
strengths; a quarter stays as it is. The strengths are our choice.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CLEAN_SHARE = 0.25


def soften(
    images: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
) -> Float[Tensor, "b 3 h w"]:
    """Blur, down-up-scale, blotch, grain and shift the light of pictures, each at its own random strength.

    Args:
        images: RGB in [0, 1].
        generator: source of chance, on the device of the images; the global one by default.

    Returns:
        Pictures in [0, 1], same shape, dtype and device; no gradient flows.
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        touched = (_uniform(images, generator) > CLEAN_SHARE).to(images.dtype)

        def strength(lowest: float, highest: float) -> Tensor:
            return (lowest + (highest - lowest) * _uniform(images, generator)) * touched

        soft = images.lerp(_blur(images), strength(0, 1))
        soft = soft.lerp(_coarsen(soft), strength(0, 1))
        soft = soft + _noise(images, generator, coarser=8) * strength(0, 0.06)
        soft = soft + _noise(images, generator, coarser=1) * strength(0, 0.03)
        gain, shift = 1 + strength(-0.12, 0.12), strength(-0.05, 0.05)
        return ((soft - 0.5) * gain + 0.5 + shift).clamp(0, 1)


def _uniform(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """One number in [0, 1) a picture, shape [B, 1, 1, 1]."""
    shape = (images.shape[0], 1, 1, 1)
    return torch.rand(shape, generator=generator, device=images.device, dtype=images.dtype)


def _blur(images: Tensor) -> Tensor:
    """Binomial blur with seven taps, a standard deviation of 1.2 pixels, edges repeated."""
    taps = torch.tensor([1.0, 6, 15, 20, 15, 6, 1], device=images.device, dtype=images.dtype) / 64
    across = taps.expand(3, 1, 1, 7)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, across, groups=3), across.transpose(2, 3), groups=3)


def _coarsen(images: Tensor) -> Tensor:
    """Halve the resolution and bring it back."""
    size = images.shape[-2:]
    return functional.interpolate(
        functional.avg_pool2d(images, 2), size, mode="bilinear", align_corners=False
    )


def _noise(images: Tensor, generator: torch.Generator | None, coarser: int) -> Tensor:
    """Coloured normal noise whose spots are `coarser` pixels wide."""
    batch, channels, height, width = images.shape
    shape = (batch, channels, max(height // coarser, 1), max(width // coarser, 1))
    spots = torch.randn(shape, generator=generator, device=images.device, dtype=images.dtype)
    if coarser == 1:
        return spots
    return functional.interpolate(spots, (height, width), mode="bilinear", align_corners=False)
