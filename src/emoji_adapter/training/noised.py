"""Rows of a batch with all that a pass of the U-Net needs."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.training.conditions import Conditions
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw
from emoji_adapter.training.estimators import Predict
from emoji_adapter.training.losses import Diffusion, diffusion_loss
from emoji_adapter.training.stages import StepModels, loss_weight, predict


@dataclass(frozen=True)
class Noised:
    """Some rows with all that a pass of the U-Net needs.

    Attributes:
        rows: the targets.
        text: [b, L, D].
        keys_values: of these rows.
        eps: fresh noise, as the latents.
        t: [b].
        pooled: [b, P], pooled text of SDXL, or None.
    """

    rows: Rows
    text: Float[Tensor, "b L D"]
    keys_values: dict[str, LayerKV]
    eps: Float[Tensor, "b C h w"]
    t: Int[Tensor, " b"]
    pooled: Float[Tensor, "b P"] | None = None

    @classmethod
    def of(
        cls,
        models: StepModels,
        rows: Rows,
        conditions: Conditions,
        draw: StepDraw,
        t: Int[Tensor, " B"] | float,
    ) -> "Noised":
        """Rows with keys and values of what the U-Net is told, and with fresh noise.

        Args:
            models: the conditioner, asked once, and the schedule.
            rows: a batch.
            conditions: of these rows.
            draw: all randomness.
            t: timesteps, or how far those that are drawn here are shifted, see `Diffusion.timesteps`.
        """
        keys_values = models.conditioner(conditions)
        eps = torch.randn(rows.latents.shape, generator=draw.generator, device=rows.latents.device)
        if not isinstance(t, Tensor):
            t = models.diffusion.timesteps(len(rows), draw.generator, t)
        return cls(rows, conditions.text, keys_values, eps, t, conditions.pooled)

    def at(self, index: Int[Tensor, " n"]) -> "Noised":
        """Return some of the rows."""
        kv = {
            layer: LayerKV(*(None if part is None else part[index] for part in parts))
            for layer, parts in self.keys_values.items()
        }
        pooled = None if self.pooled is None else self.pooled[index]
        return Noised(self.rows.at(index), self.text[index], kv, self.eps[index], self.t[index], pooled)

    def uncontrolled(self) -> "Noised":
        """Return the same without the expression: what dropping it is, see `DropConfig`."""
        kv = {
            layer: parts._replace(k_expression=None, v_expression=None)
            for layer, parts in self.keys_values.items()
        }
        return replace(self, keys_values=kv)

    @property
    def x_0(self) -> Float[Tensor, "b C h w"]:
        """Clean latents."""
        return self.rows.latents.float()

    def fresh(self, diffusion: Diffusion) -> Float[Tensor, "b C h w"]:
        """x_t of the fresh noise."""
        return diffusion.noisy(self.x_0, self.eps, self.t)

    def calls(self, models: StepModels) -> Predict:
        """The U-Net with the conditions of these rows."""
        return lambda x, t: predict(models, x, t, self.text, self.keys_values, self.pooled)

    def own_loss(self, models: StepModels, config: TrainingConfig) -> Float[Tensor, " b"]:
        """L_diff of each row."""
        predicted = self.calls(models)(self.fresh(models.diffusion), self.t)
        return self.diffusion_loss(models, predicted, config)

    def diffusion_loss(
        self, models: StepModels, predicted: Float[Tensor, "b C h w"], config: TrainingConfig
    ) -> Float[Tensor, " b"]:
        """L_diff of each row, for what the U-Net said of the fresh noise."""
        target = models.diffusion.target(self.x_0, self.eps, self.t)
        return diffusion_loss(predicted, target, loss_weight(models, self.rows, self.t, config))
