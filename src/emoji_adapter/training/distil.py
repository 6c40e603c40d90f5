"""Distilling: the patch features of a picture learn to say what the teacher's code of it says.

L = mean over layers and over keys and values of |k(resampler(psi)) - k(MLP(b))|^2 / var k(MLP(b))

A code is 52 numbers, each a movement of its own, and trains in minutes; that a dozen of the features' numbers
mean a brow and the others the hair has to be found, by gradients through a whole U-Net, and was not: after
feedback that had moulded the codes' tokens, features alone still told nothing (ADR 18). Here no U-Net is
called. Only the resampler trains. What the code does not tell the features are not asked for either: whatever
else of a template is to be copied, or not, is for later stages to learn. Our choice; the method is Hinton et
al. 2015, arXiv 1503.02531, on keys and values.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.training.conditions import Conditions, template_features
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw
from emoji_adapter.training.stages import StepModels


class DistilStage:
    """Trains the expression resampler on own crops and their codes.

    Args:
        config: augmentation of the crops.
    """

    branch = "expression_resampler"
    paired = False
    figures: ClassVar[dict[str, Tensor]] = {}

    def __init__(self, config: TrainingConfig):
        self.config = config

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Squared error of keys and values in units of the codes' variance; 1 is the mean of all codes."""
        present = torch.ones(len(rows), device=rows.latents.device)
        both = models.conditioner(
            Conditions(
                text=rows.text,
                identity=rows.told_identity.float(),
                identity_scale=present,
                blendshapes=rows.blendshapes.float(),
                features=template_features(
                    self.config, models.expression_encoder, rows.crops, draw.generator
                ),
                expression_scale=present,
            )
        )
        told = [x for layer in both.values() for x in (layer.k_expression, layer.v_expression)]
        return torch.stack([_distance(x) for x in told if x is not None]).mean(0)


def _distance(both: Float[Tensor, "B two_T D"]) -> Float[Tensor, " B"]:
    code, picture = both.float().chunk(2, dim=1)
    code = code.detach()
    spread = (code - code.mean(0)).square().mean().clamp_min(1e-12)
    return (picture - code).square().mean((1, 2)) / spread
