"""Training as IP-Adapter does: each branch by itself. Gives the opponent "stock two adapters".

What differs from our stages: a branch never sees the other one, nothing is augmented, there are no
blendshapes, and a dropped picture is an embedding of zeros instead of an absent branch, for that is what the
stock pipeline gives the negative rows of guidance (`train` scripts of IP-Adapter,
https://github.com/tencent-ailab/IP-Adapter/blob/62e4af9/tutorial_train_plus.py).
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.faces.pixels import from_bytes
from emoji_adapter.training.conditions import Conditions, pooled_without_text, without_text
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, draw_drops
from emoji_adapter.training.stages import StepModels, denoising_loss


class StockIdentityStage:
    """Trains the identity branch as an IP-Adapter-FaceID on another picture of the target's person.

    Args:
        config: drops and loss weight.
    """

    branch = "identity"
    paired = False
    figures: ClassVar[dict[str, Tensor]] = {}

    def __init__(self, config: TrainingConfig):
        self.config = config

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Diffusion loss with text and identity."""
        drop_text, dropped, _ = draw_drops(len(rows), self.config.drops, draw.generator, rows.latents.device)
        conditions = Conditions(
            text=without_text(rows, drop_text),
            identity=rows.told_identity.float() * (~dropped).float()[:, None],
            identity_scale=torch.ones_like(dropped, dtype=torch.float32),
            pooled=pooled_without_text(rows, drop_text),
        )
        return denoising_loss(models, rows, conditions, draw.generator, self.config)


class StockExpressionStage:
    """Trains the expression branch as an IP-Adapter Plus on the template's crop; no identity is given.

    Args:
        config: drops and loss weight.
    """

    branch = "expression"
    paired = False
    figures: ClassVar[dict[str, Tensor]] = {}

    def __init__(self, config: TrainingConfig):
        self.config = config

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Diffusion loss with text and expression."""
        drop_text, _, dropped = draw_drops(len(rows), self.config.drops, draw.generator, rows.latents.device)
        with torch.no_grad():
            features = models.expression_encoder.patch_features(from_bytes(rows.crops))
        absent = torch.zeros_like(dropped, dtype=torch.float32)
        conditions = Conditions(
            text=without_text(rows, drop_text),
            identity=rows.told_identity.float(),
            identity_scale=absent,
            blendshapes=rows.blendshapes[:0].float(),
            features=features * (~dropped).to(features.dtype)[:, None, None],
            expression_scale=torch.ones_like(absent),
            pooled=pooled_without_text(rows, drop_text),
        )
        return denoising_loss(models, rows, conditions, draw.generator, self.config)
