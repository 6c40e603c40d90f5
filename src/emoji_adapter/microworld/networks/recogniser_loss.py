"""How the recognisers learn who is who: two pictures of each person among many other people."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.faces.batched import align_batch
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.networks.photometric import degrade
from emoji_adapter.microworld.networks.recogniser import SIZE, normalise
from emoji_adapter.renderer.parameters import FaceParameters, sample
from emoji_adapter.renderer.render import Rendered

SCALE, MARGIN = 24.0, 0.25
"""Of the cosines, as in CosFace (Wang et al. 2018, arXiv 1801.09414); the values are our choice."""


def second_view(parameters: FaceParameters, generator: torch.Generator) -> FaceParameters:
    """The same people with another expression in another scene."""
    return sample(len(parameters), generator).replace(identity=parameters.identity)


def contrast_loss(
    first: Float[Tensor, "people width"], second: Float[Tensor, "people width"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "people people"]]:
    """Symmetric InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) with a margin; also all cosines."""
    cosines = functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T
    logits = SCALE * (cosines - MARGIN * torch.eye(len(cosines), device=cosines.device))
    who = torch.arange(len(cosines), device=cosines.device)
    return (
        functional.cross_entropy(logits, who) + functional.cross_entropy(logits.T, who)
    ) / 2, cosines.detach()


def recogniser_loss(
    network: nn.Module, first: Rendered, second: Rendered, generator: torch.Generator
) -> dict[str, Tensor]:
    """Loss of one batch of people seen twice; "total" is what to minimise.

    Usage:
        people = sample(512, generator)
        pair = render(people), render(second_view(people, generator))
        losses = recogniser_loss(network, *pair, generator); losses["total"].backward()
    """
    views = []
    for drawn in (first, second):
        aligned = align_batch(drawn.image, jitter(drawn.landmarks, generator), SIZE)
        views.append(normalise(degrade(aligned, generator)))
    embeddings = network(torch.cat(views))
    with torch.autocast(embeddings.device.type, enabled=False):
        total, cosines = contrast_loss(*embeddings.float().chunk(2))
    same = cosines.diagonal().mean()
    different = (cosines.sum() - cosines.diagonal().sum()) / max(1, cosines.numel() - len(cosines))
    right = (cosines.argmax(1) == torch.arange(len(cosines), device=cosines.device)).float().mean()
    return {"total": total, "same": same, "different": different, "top1": right}
