"""Where in the latents an expression shows: a weight around the eyes and the mouth."""

import torch
from jaxtyping import Float
from torch import Tensor

SPREAD = 0.38
"""Standard deviation of each of the three bumps, in distances between the eyes (our choice)."""
BROWS = 0.15
"""How far above the eyes their bumps are centred, so that they take in the brows; likewise."""


def face_weight(
    landmarks: Float[Tensor, "B 5 2"], height: int, width: int, pixels: float, strength: float
) -> Float[Tensor, "B 1 height width"]:
    """Weight of each place: 1 + strength at the eyes and the mouth, falling to 1, then scaled to a mean of 1.

    In drawn faces two thirds of the variance that an expression makes lie in a fifth of the picture;
    elsewhere the loss only adds noise to the gradient of an expression. Our choice.

    Args:
        landmarks: eyes, nose, corners of the mouth, as insightface orders them, in pixels of the picture.
        height: of the latents.
        width: of the latents.
        pixels: of the picture for each of the latents.
        strength: 0 weighs all places alike.
    """
    eyes, corners = landmarks[:, :2] / pixels, landmarks[:, 3:] / pixels
    distance = (eyes[:, 0] - eyes[:, 1]).norm(dim=-1).clamp_min(1e-3)
    mouth = corners.mean(1, keepdim=True)
    up = torch.nn.functional.normalize(eyes.mean(1, keepdim=True) - mouth, dim=-1)
    centres = torch.cat([eyes + BROWS * distance[:, None, None] * up, mouth], dim=1)
    x = torch.arange(width, device=landmarks.device) + 0.5
    y = torch.arange(height, device=landmarks.device) + 0.5
    squared = (x[None, None, None] - centres[..., 0, None, None]).square() + (
        y[None, None, :, None] - centres[..., 1, None, None]
    ).square()
    bumps = torch.exp(-0.5 * squared / (SPREAD * distance)[:, None, None, None].square()).amax(
        1, keepdim=True
    )
    weight = 1 + strength * bumps
    return weight / weight.mean(dim=(2, 3), keepdim=True)
