"""How the swapper learns: the renderer draws the right answer, the same scene with somebody else in it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.faces.batched import align_batch
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.networks.recogniser import SIZE as CROP, normalise, recognise
from emoji_adapter.microworld.networks.recogniser_loss import second_view
from emoji_adapter.microworld.networks.swapper import SIZE, Swapper
from emoji_adapter.renderer.parameters import FaceParameters, sample_identity
from emoji_adapter.renderer.render import Rendered

EDGE_WEIGHT, IDENTITY_WEIGHT, CHANGE_WEIGHT = 1.0, 0.25, 4.0
_MARGIN = (SIZE - CROP) // 2


@dataclass(frozen=True)
class SwapTask:
    """Three pictures to be drawn: the target, a photo of the source person, and the target as that person."""

    target: FaceParameters
    source: FaceParameters
    answer: FaceParameters


def swap_task(target: FaceParameters, generator: torch.Generator) -> SwapTask:
    """Choose somebody else for every target."""
    answer = target.replace(identity=sample_identity(len(target), generator))
    return SwapTask(target, second_view(answer, generator), answer)


def swapper_loss(
    swapper: Swapper,
    recogniser: nn.Module,
    drawn: tuple[Rendered, Rendered, Rendered],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Difference of pictures, of edges at three scales and of embeddings; "total" is what to minimise.

    Pixels count more where target and answer differ. `recogniser` is frozen and in evaluation mode.

    Usage:
        task = swap_task(sample(128, generator), generator)
        drawn = render(task.target), render(task.source), render(task.answer)
        losses = swapper_loss(swapper, recogniser, drawn, generator); losses["total"].backward()
    """
    target, source, answer = drawn
    with torch.no_grad():
        latent = recognise(recogniser, source.image, jitter(source.landmarks, generator))
        points = jitter(target.landmarks, generator, 0.02)
        given, wanted = (align_batch(image, points, SIZE) for image in (target.image, answer.image))
        identity = recogniser(normalise(_inner(wanted)))
    swapped = swapper(given, latent)
    found = recogniser(normalise(_inner(swapped)))
    with torch.autocast(swapped.device.type, enabled=False):
        weight = 1 + CHANGE_WEIGHT * (wanted - given).abs().mean(1, keepdim=True)
        pixel = ((swapped - wanted).abs() * weight).mean()
        edge = edge_distance(swapped, wanted)
        cosine = functional.cosine_similarity(found.float(), identity.float(), dim=1).mean()
    total = pixel + EDGE_WEIGHT * edge + IDENTITY_WEIGHT * (1 - cosine)
    return {"total": total, "pixel": pixel, "edge": edge, "cosine": cosine.detach()}


def edge_distance(
    first: Float[Tensor, "batch 3 h w"], second: Float[Tensor, "batch 3 h w"], scales: int = 3
) -> Float[Tensor, ""]:
    """Mean absolute difference of the gradients of pictures, at full, half, quarter ... size."""
    difference, total = first - second, first.new_zeros(())
    for _ in range(scales):
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        difference = functional.avg_pool2d(difference, 2)
    return total


def _inner(aligned: Tensor) -> Tensor:
    """The 112-pixel crop inside the 128-pixel one: insightface's templates differ by 8 pixels in x only."""
    return aligned[..., :CROP, _MARGIN : _MARGIN + CROP]
