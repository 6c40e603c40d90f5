"""Stages: what one optimiser step does. The loop knows `Stage` only; later stages need no other loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.weight import face_weight
from emoji_adapter.models.attention import CARRIER, LayerKV
from emoji_adapter.training.conditions import (
    Conditions,
    expression_conditions,
    partial_identity_conditions,
)
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, draw_drops
from emoji_adapter.training.losses import Diffusion, diffusion_loss


@dataclass(frozen=True)
class StepModels:
    """What a stage may use; everything but the conditioner is frozen.

    Attributes:
        unet: U-Net that the adapter is attached to, in eval mode.
        conditioner: makes keys and values; gradients flow through it.
        diffusion: noise schedule.
        expression_encoder: frozen.
        vae: autoencoder, in eval mode.
    """

    unet: Any
    conditioner: Any
    diffusion: Diffusion
    expression_encoder: ExpressionEncoder
    vae: Any

    @property
    def pixels(self) -> int:
        """Side of a latent's square in pixels."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


@runtime_checkable
class Stage(Protocol):
    """One kind of training step."""

    @property
    def branch(self) -> str | None:
        """Branch that trains: "identity", "expression", or None for both; the rest is frozen."""
        ...

    @property
    def paired(self) -> bool:
        """Whether rows come as pairs of takes, see `PreparedSet.sample`."""
        ...

    @property
    def figures(self) -> Mapping[str, Tensor]:
        """What the last call of `loss` measured beside it, for the log: name to a tensor of one element."""
        ...

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Return the loss of each row; all randomness comes from `draw`."""
        ...


class IdentityStage:
    """Trains the identity branch: the identity photo is another picture of the target's person.

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
        dropped = draw_drops(len(rows), self.config.drops, draw.generator, rows.latents.device)
        conditions = partial_identity_conditions(self.config, rows, draw, dropped)
        return denoising_loss(models, rows, conditions, draw.generator, self.config)


class ExpressionStage:
    """Trains the expression branch beside the frozen, active identity branch.

    The template is the target's own crop, augmented; a share of the rows gets its 52 blendshapes instead.

    Args:
        config: drops, augmentation, share of blendshapes and loss weight.
    """

    branch = "expression"
    paired = False
    figures: ClassVar[dict[str, Tensor]] = {}

    def __init__(self, config: TrainingConfig):
        self.config = config

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Diffusion loss with text, identity and expression."""
        config = self.config
        dropped = draw_drops(len(rows), config.drops, draw.generator, rows.latents.device)
        conditions = expression_conditions(config, models.expression_encoder, rows, draw, dropped)
        return denoising_loss(models, rows, conditions, draw.generator, config)


def denoising_loss(
    models: StepModels, rows: Rows, conditions: Conditions, generator: Generator, config: TrainingConfig
) -> Float[Tensor, " B"]:
    """Diffusion loss of each row: one noise, one timestep, one forward pass of the U-Net.

    Args:
        models: U-Net, conditioner and schedule.
        rows: the targets.
        conditions: what the U-Net is told.
        generator: of noise and timesteps, on the rows' device.
        config: weight of the loss and density of the timesteps.
    """
    x_0 = rows.latents.float()
    eps = torch.randn(x_0.shape, generator=generator, device=x_0.device)
    t = models.diffusion.timesteps(len(rows), generator, config.timestep_shift)
    keys_values = models.conditioner(conditions)
    x_t = models.diffusion.noisy(x_0, eps, t)
    predicted = predict(models, x_t, t, conditions.text, keys_values, conditions.pooled)
    target = models.diffusion.target(x_0, eps, t)
    return diffusion_loss(predicted, target, loss_weight(models, rows, t, config))


def loss_weight(
    models: StepModels, rows: Rows, t: Int[Tensor, " B"], config: TrainingConfig
) -> Float[Tensor, " B"] | Float[Tensor, "B 1 h w"]:
    """Weight of the squared error: by timestep, and by place where the settings weigh the face."""
    weight = models.diffusion.weight(t, config.min_snr_gamma)
    if not config.face_weight:
        return weight
    size = rows.latents.shape[2:]
    place = face_weight(rows.landmarks, *size, pixels=models.pixels, strength=config.face_weight)
    return weight.view(-1, 1, 1, 1) * place


def predict(
    models: StepModels,
    x_t: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    text: Float[Tensor, "B L D"],
    keys_values: Mapping[str, LayerKV],
    pooled: Float[Tensor, "B P"] | None = None,
) -> Float[Tensor, "B C h w"]:
    """Call the U-Net, in its own dtype.

    SDXL's sizes say what a prepared picture is: as large as it is wanted, and not cropped.

    Args:
        models: the U-Net.
        x_t: noisy latents.
        t: their timesteps.
        text: text embeddings.
        keys_values: what the conditioner returned for these rows.
        pooled: pooled text, for SDXL.
    """
    dtype = models.unet.dtype
    added = None
    if pooled is not None:
        height, width = (models.pixels * side for side in x_t.shape[2:])
        sizes = x_t.new_tensor([height, width, 0, 0, height, width]).expand(len(x_t), -1)
        added = {"text_embeds": pooled.to(dtype), "time_ids": sizes.to(dtype)}
    with torch.autocast(x_t.device.type, enabled=False):
        return models.unet(
            x_t.to(dtype),
            t,
            text.to(dtype),
            cross_attention_kwargs={CARRIER: keys_values},
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
