"""The judges: trained apart, on pictures of their own seed; they score and do nothing else."""

import torch
from torch import Tensor, nn

from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.networks.judges import ExpressionJudge, IdentityJudge, SceneJudge
from emoji_adapter.microworld.networks.margin import MarginHead
from emoji_adapter.microworld.splits import people
from emoji_adapter.renderer.parameters import sample

PEOPLE = {64: 1536, 128: 8192}
"""Training people of the identity judge, a fixed table; the recognisers see new people in every batch.

Fewer where there is no GPU: a class must be seen some fifty times to mean anything.
"""


class _WithHead(nn.Module):
    def __init__(self, people: int):
        super().__init__()
        self.judge = IdentityJudge()
        small = people < 4000
        self.head = MarginHead(people, scale=16.0, margin=0.1, warmup=300) if small else MarginHead(people)


def build_identity(shop: Workshop) -> None:
    """Train the identity judge by large-margin classification of a fixed table of people."""
    count = PEOPLE[shop.size]
    model = _WithHead(count)
    table = people("train", count, shop.seed + 77).to(shop.device)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        who = torch.randint(count, (batch,), generator=generator, device=shop.device)
        parameters = sample(batch, generator).replace(identity=table[who])
        return model.judge.loss(parameters, shop.render(parameters), who, model.head, generator)

    fit(shop, "identity_judge", model, loss).judge.save(shop.out / "judges")


def _build(shop: Workshop, stage: str, model: ExpressionJudge | SceneJudge) -> None:
    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        parameters = sample(batch, generator)
        return model.loss(parameters, shop.render(parameters), generator)

    fit(shop, stage, model, loss).save(shop.out / "judges")


def build_expression(shop: Workshop) -> None:
    """Train the expression judge."""
    _build(shop, "expression_judge", ExpressionJudge())


def build_scene(shop: Workshop) -> None:
    """Train the judge of style, background, accessory, skin and pose."""
    _build(shop, "scene_judge", SceneJudge())
