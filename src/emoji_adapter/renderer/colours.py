"""Colours of skin, hair, eyes and lips from identity numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer.canvas import Canvas

_SKIN = ((0.99, 0.87, 0.78), (0.94, 0.74, 0.58), (0.80, 0.57, 0.40), (0.60, 0.39, 0.26), (0.42, 0.26, 0.18))
_HAIR = (
    (0.09, 0.07, 0.08),
    (0.30, 0.17, 0.10),
    (0.62, 0.25, 0.10),
    (0.88, 0.70, 0.36),
    (0.80, 0.79, 0.80),
    (0.80, 0.30, 0.52),
    (0.24, 0.34, 0.66),
)
_IRIS = ((0.25, 0.14, 0.07), (0.52, 0.34, 0.12), (0.20, 0.48, 0.22), (0.16, 0.50, 0.68), (0.22, 0.28, 0.62))


def ramp(keys: tuple[tuple[float, float, float], ...], at: Tensor) -> Float[Tensor, "batch 3"]:
    """A colour between neighbouring keys; `at` runs from -1 (first) to 1 (last)."""
    table = torch.tensor(keys, device=at.device)
    place = ((at.reshape(-1) + 1) / 2).clamp(0, 1) * (len(keys) - 1)
    low = place.floor().long().clamp_max(len(keys) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def luminance(colour: Tensor) -> Tensor:
    """Relative brightness of sRGB values, channel axis 1."""
    weights = torch.tensor([0.30, 0.59, 0.11], device=colour.device).reshape(1, 3, *[1] * (colour.ndim - 2))
    return (colour * weights).sum(1, keepdim=True)


def skin(canvas: Canvas) -> Float[Tensor, "batch 3"]:
    """Skin, from light to dark, with a redder or a yellower hue."""
    base = ramp(_SKIN, canvas.who("skin_tone"))
    hue = canvas.who("skin_hue").reshape(-1, 1)
    return (base * (1 + hue * canvas.rgb(0.05, -0.015, -0.13))).clamp(0.05, 1)


def hair(canvas: Canvas) -> Float[Tensor, "batch 3"]:
    """Hair: black, brown, red, blond, white, pink, blue."""
    light = 1 + 0.22 * canvas.who("hair_light").reshape(-1, 1)
    return (ramp(_HAIR, canvas.who("hair_hue")) * light).clamp(0.03, 1)


def brow(canvas: Canvas) -> Float[Tensor, "batch 3"]:
    """Brows: the hair's hue, always much darker than the skin."""
    wanted = 0.34 * luminance(skin(canvas))
    colour = hair(canvas)
    return colour * (wanted / luminance(colour)).clamp_max(1)


def iris(canvas: Canvas) -> Float[Tensor, "batch 3"]:
    """Irises: brown, hazel, green, blue, violet."""
    light = 1 + 0.25 * canvas.who("eye_light").reshape(-1, 1)
    return (ramp(_IRIS, canvas.who("eye_hue")) * light).clamp(0, 1)


def lips(canvas: Canvas) -> Float[Tensor, "batch 3"]:
    """Lips: between the skin and red, plum or rose."""
    tint = ramp(((0.62, 0.24, 0.26), (0.82, 0.30, 0.34), (0.72, 0.26, 0.46)), canvas.who("lip_hue"))
    return torch.lerp(skin(canvas), tint, 0.62)


def clothes(canvas: Canvas, which: int) -> Float[Tensor, "batch 3"]:
    """Clothes and accessories: muted colours of the nuisance numbers."""
    keys = (
        (0.25, 0.27, 0.33),
        (0.72, 0.30, 0.28),
        (0.87, 0.84, 0.78),
        (0.28, 0.45, 0.42),
        (0.30, 0.38, 0.62),
        (0.55, 0.38, 0.52),
    )
    return ramp(keys, canvas.nuisance[which])
