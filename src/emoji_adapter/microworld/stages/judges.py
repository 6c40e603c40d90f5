"""The judges: trained apart, on pictures of their own seed; they score and do nothing else."""

import torch
from torch import Tensor, nn

from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.networks.judges import ExpressionJudge, IdentityJudge, MarginHead, SceneJudge
from emoji_adapter.microworld.splits import people
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render

PEOPLE = 8192
"""Training people of the identity judge, a fixed table; the recognisers see new people in every batch."""


class _WithHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.judge = IdentityJudge()
        self.head = MarginHead(PEOPLE)


def build_identity(shop: Workshop) -> None:
    """Train the identity judge by large-margin classification of a fixed table of people."""
    model = _WithHead()
    table = people("train", PEOPLE, shop.seed + 77).to(shop.device)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        who = torch.randint(PEOPLE, (batch,), generator=generator, device=shop.device)
        parameters = sample(batch, generator).replace(identity=table[who])
        return model.judge.loss(parameters, render(parameters, shop.size), who, model.head, generator)

    fit(shop, "identity_judge", model, loss).judge.save(shop.out / "judges")


def _build(shop: Workshop, stage: str, model: ExpressionJudge | SceneJudge) -> None:
    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        parameters = sample(batch, generator)
        return model.loss(parameters, render(parameters, shop.size), generator)

    fit(shop, stage, model, loss).save(shop.out / "judges")


def build_expression(shop: Workshop) -> None:
    """Train the expression judge."""
    _build(shop, "expression_judge", ExpressionJudge())


def build_scene(shop: Workshop) -> None:
    """Train the judge of style, background, accessory, skin and pose."""
    _build(shop, "scene_judge", SceneJudge())
