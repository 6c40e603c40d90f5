"""Where the face is, for the judges: five landmarks of their own, so that no detector stands between."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.faces.batched import align_batch, arcface_template
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.networks.plain import SIDE, PlacePool, PlainTrunk
from emoji_adapter.renderer.render import Rendered

TRUST = 0.25
"""In training, landmarks that are closer to the truth than this share of the eye distance may be used."""


class FaceLocaliser(nn.Module):
    """Picture to an aligned crop, by five landmarks read from the whole picture.

    Args:
        zoom: below 1 the crop shows more around the face; see `arcface_template`.
    """

    def __init__(self, zoom: float):
        super().__init__()
        self.zoom = zoom
        self.trunk = PlainTrunk((12, 24, 32, 48))
        self.pool = PlacePool(48, 10)
        self.usual: Tensor
        self.register_buffer("usual", arcface_template(SIDE, 0.5) / SIDE, persistent=False)

    def landmarks(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5 2"]:
        """Five landmarks in pixels, insightface's order."""
        places = self.usual + 0.1 * self.pool(self.trunk(images)).float().unflatten(1, (5, 2))
        return places * places.new_tensor([images.shape[-1], images.shape[-2]])

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 96 96"]:
        """Aligned crops of pictures in [0, 1]."""
        return align_batch(images, self.landmarks(images), SIDE, self.zoom)

    def lesson(
        self, images: Float[Tensor, "b 3 h w"], rendered: Rendered, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "b 3 96 96"], Float[Tensor, ""]]:
        """Crops to train a reader on, and the loss of the landmarks.

        Half of the crops follow the true landmarks, a little off; half the localiser's own where they are
        near enough.
        """
        found, truth = self.landmarks(images), rendered.landmarks
        eyes = (truth[:, 1] - truth[:, 0]).norm(dim=-1)[:, None, None]
        error = (found - truth) / eyes
        near = error.detach().norm(dim=-1).mean(1)[:, None, None] < TRUST
        own = torch.rand(near.shape, generator=generator, device=near.device) < 0.5
        used = torch.where(near & own, found.detach(), jitter(truth, generator, 0.04))
        crops = align_batch(images, used, SIDE, self.zoom)
        return crops, functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
