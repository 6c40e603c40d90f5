"""How well recognisers, teacher and swapper do on fresh drawings: what the card of the weights tells."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoji_adapter.faces.batched import align_batch, arcface_template, crop_batch, similarity
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.networks.recogniser import recognise
from emoji_adapter.microworld.networks.recogniser_loss import second_view
from emoji_adapter.microworld.networks.swapper import SIZE, Swapper
from emoji_adapter.microworld.networks.swapper_loss import swap_task
from emoji_adapter.microworld.networks.teacher import BlendshapeTeacher
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.render import render

CHUNK = 64


@torch.no_grad()
def recogniser_figures(
    network: nn.Module, people: FaceParameters, generator: torch.Generator
) -> dict[str, float]:
    """Cosines of two pictures of the same and of different people, and how well they part the two.

    Args:
        network: a recogniser in evaluation mode.
        people: one picture each, all of different people, on the network's device.
        generator: of the second pictures, on the same device.

    Returns:
        "same", "different": mean cosines; "different_spread": standard deviation; "equal_error": error rate
        where false matches and false refusals are as many; "top1": share matched rightly.
    """
    first, second = _embed(network, people), _embed(network, second_view(people, generator))
    cosines = first @ second.T
    own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    same, different = cosines[own], cosines[~own]
    right = cosines.argmax(1) == torch.arange(len(cosines), device=cosines.device)
    return {
        "same": float(same.mean()),
        "different": float(different.mean()),
        "different_spread": float(different.std()),
        "equal_error": equal_error(same, different),
        "top1": float(right.float().mean()),
    }


def equal_error(same: Float[Tensor, " pairs"], different: Float[Tensor, " others"]) -> float:
    """Equal error rate of a score that should be higher for `same` than for `different`."""
    thresholds = same.sort().values
    refused = (same[None] < thresholds[:, None]).float().mean(1)
    ordered = different.sort().values
    matched = 1 - torch.searchsorted(ordered, thresholds) / len(ordered)
    best = (refused - matched).abs().argmin()
    return float((refused[best] + matched[best]) / 2)


@torch.no_grad()
def teacher_figures(
    teacher: BlendshapeTeacher, people: FaceParameters, crop: ExpressionCrop | None = None
) -> dict[str, float]:
    """Mean absolute error over the drawn blendshapes, "constant" that of always answering the median."""
    answers = []
    for start in range(0, len(people), CHUNK):
        drawn = render(people.index(slice(start, start + CHUNK)))
        answers.append(
            teacher.logits(crop_batch(drawn.image, drawn.landmarks, crop or ExpressionCrop())).sigmoid()
        )
    truth = people.expression
    constant = (truth - truth.median(0).values).abs().mean()
    return {"error": float((torch.cat(answers) - truth).abs().mean()), "constant": float(constant)}


@torch.no_grad()
def swapper_figures(
    swapper: Swapper,
    judge: nn.Module,
    recogniser: nn.Module,
    people: FaceParameters,
    generator: torch.Generator,
) -> dict[str, float]:
    """Who a swapped face looks like to a recogniser that the swapper was not trained with.

    Args:
        swapper: in evaluation mode.
        judge: the other recogniser.
        recogniser: the one whose embeddings the swapper takes.
        people: the targets, on the networks' device.
        generator: of the source people.

    Returns:
        Mean cosines "to_source", "to_target", the same of the drawn answer ("answer_to_source",
        "answer_to_target"), and the mean absolute difference "pixel" from that answer.
    """
    rows: list[Tensor] = []
    for start in range(0, len(people), CHUNK):
        task = swap_task(people.index(slice(start, start + CHUNK)), generator)
        target, source, answer = render(task.target), render(task.source), render(task.answer)
        given, wanted = (align_batch(p.image, target.landmarks, SIZE) for p in (target, answer))
        swapped = swapper(given, recognise(recogniser, source.image, source.landmarks))
        points = _aligned_points(target.landmarks)
        who = [recognise(judge, picture, points) for picture in (swapped, wanted, given)]
        photo = recognise(judge, source.image, source.landmarks)
        pixel = (swapped - wanted).abs().mean((1, 2, 3))
        cosines = [who[0] * photo, who[0] * who[2], who[1] * photo, who[1] * who[2]]
        rows.append(torch.stack([*(c.sum(1) for c in cosines), pixel], 1))
    names = ("to_source", "to_target", "answer_to_source", "answer_to_target", "pixel")
    return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))


def _embed(network: nn.Module, people: FaceParameters) -> Tensor:
    parts = [people.index(slice(start, start + CHUNK)) for start in range(0, len(people), CHUNK)]
    pictures = map(render, parts)
    return torch.cat([recognise(network, p.image, p.landmarks) for p in pictures])


def _aligned_points(landmarks: Tensor) -> Tensor:
    """Where the landmarks lie once their picture is aligned by them."""
    matrix = similarity(landmarks, arcface_template(SIZE).to(landmarks.device).expand(len(landmarks), 5, 2))
    return landmarks @ matrix[..., :2].transpose(1, 2) + matrix[:, None, :, 2]
