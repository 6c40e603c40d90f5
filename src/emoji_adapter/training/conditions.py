"""What the U-Net is told of the rows of a step, and the module that turns it into keys and values."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor, nn

from emoji_adapter.data.dataset import Rows
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.pixels import from_bytes
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.models.compound import with_one_alone
from emoji_adapter.models.parts import require_part
from emoji_adapter.training.augment import augment
from emoji_adapter.training.compound import draw_alone
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, share_of_rows


@dataclass(frozen=True)
class Conditions:
    """What the U-Net is told about B rows: the first n expressions as blendshapes, the last m as pictures.

    Where n + m is above B the rows in the middle have both, a compound embedding. Then all rows have twice
    the tokens; those of one kind have theirs twice over, which attention does not tell from once.

    Attributes:
        text: [B, 77, D] text embeddings.
        identity: [B, 512] identity embeddings; compound ones [B, 1024].
        identity_scale: [B], 0 where the identity is dropped.
        blendshapes: [n, 52], or None without an expression branch.
        features: [m, P, E] patch features, or None without an expression branch.
        expression_scale: [B], 0 where the expression is dropped, or None without an expression branch.
        pooled: [B, W] pooled text of SDXL, or None.
        identity_alone: [B], which half of a compound identity stands alone, see `with_one_alone`; None: none.
    """

    text: Float[Tensor, "B L D"]
    identity: Float[Tensor, "B I"]
    identity_scale: Float[Tensor, " B"]
    blendshapes: Float[Tensor, "n K"] | None = None
    features: Float[Tensor, "m P E"] | None = None
    expression_scale: Float[Tensor, " B"] | None = None
    pooled: Float[Tensor, "B W"] | None = None
    identity_alone: Int[Tensor, " B"] | None = None


class Conditioner(nn.Module):
    """Conditions to keys and values: the only module with gradients, so the one that DDP wraps.

    Args:
        adapter: whose branches are used.
    """

    def __init__(self, adapter: EmojiAdapter):
        super().__init__()
        self.adapter = adapter

    def forward(self, conditions: Conditions | Float[Tensor, "m P E"]) -> dict[str, LayerKV] | Tensor:
        """Return keys and values of every selected layer; of bare patch features the tokens, `[m, T, D]`."""
        if isinstance(conditions, Tensor):
            return require_part(self.adapter.expression_resampler, "expression pictures")(conditions)
        expression = None
        if conditions.features is not None and conditions.blendshapes is not None:
            expression = self._expression(conditions.blendshapes, conditions.features, len(conditions.text))
        scale = conditions.expression_scale
        identity = self.adapter.identity_tokens_of(conditions.identity)
        if conditions.identity_alone is not None:
            identity = with_one_alone(identity, conditions.identity_alone)
        return self.adapter(
            identity_tokens=identity,
            expression_tokens=expression,
            identity_scale=conditions.identity_scale,
            expression_scale=1.0 if scale is None else scale,
        )

    def _expression(self, blendshapes: Tensor, features: Tensor, rows: int) -> Tensor:
        """Tokens of all rows, see `Conditions`."""
        codes, pictures = [], []
        if len(blendshapes):
            codes = [self.adapter.blendshape_tokens_of(blendshapes)]
        if len(features):
            resampler = require_part(self.adapter.expression_resampler, "expression pictures")
            pictures = [resampler(features)]
        both = len(blendshapes) + len(features) - rows
        if not both:
            return torch.cat(codes + pictures)
        (code,), (picture,) = codes, pictures
        first, second = torch.cat([code, picture[both:]]), torch.cat([code[: len(code) - both], picture])
        return torch.cat([first, second], dim=1)


Dropped = tuple[Bool[Tensor, " B"], Bool[Tensor, " B"], Bool[Tensor, " B"]]
"""Rows that lose text, identity, expression."""


def identity_conditions(rows: Rows, dropped: Dropped) -> Conditions:
    """Text and identity of rows, a compound one whole."""
    drop_text, drop_identity, _ = dropped
    return Conditions(
        text=without_text(rows, drop_text),
        identity=rows.told_identity.float(),
        identity_scale=(~drop_identity).float(),
        pooled=pooled_without_text(rows, drop_text),
    )


def partial_identity_conditions(
    config: TrainingConfig, rows: Rows, draw: StepDraw, dropped: Dropped
) -> Conditions:
    """Text and identity of rows for the identity branch: of a compound one some rows lose a half.

    Args:
        config: share of these rows.
        rows: the targets.
        draw: all randomness.
        dropped: which rows lose what.
    """
    compound = rows.second_identity is not None
    alone = draw_alone(config.one_recogniser_share, len(rows), draw.generator) if compound else None
    return replace(identity_conditions(rows, dropped), identity_alone=alone)


def expression_conditions(
    config: TrainingConfig,
    encoder: ExpressionEncoder,
    rows: Rows,
    draw: StepDraw,
    dropped: Dropped,
) -> Conditions:
    """Text, identity and expression of rows: blendshapes in the first, augmented templates in the last.

    Args:
        config: augmentation, shares of blendshapes and of compound embeddings.
        encoder: of the templates.
        rows: the targets.
        draw: all randomness.
        dropped: which rows lose what.
    """
    from_blendshapes = share_of_rows(config.blendshape_share, len(rows), *draw.numbers)
    both = share_of_rows(config.compound_share, len(rows), *draw.numbers, 5)
    return replace(
        identity_conditions(rows, dropped),
        blendshapes=rows.blendshapes[: from_blendshapes + both].float(),
        features=template_features(config, encoder, rows.crops[from_blendshapes:], draw.generator),
        expression_scale=(~dropped[2]).float(),
    )


@torch.no_grad()
def template_features(
    config: TrainingConfig, encoder: ExpressionEncoder, crops: UInt8[Tensor, "m S S 3"], generator: Generator
) -> Float[Tensor, "m P E"]:
    """Patch features of templates, each changed by its own random amounts."""
    if not len(crops):
        return torch.zeros(0, encoder.patches, encoder.dim, device=crops.device)
    return encoder.patch_features(augment(from_bytes(crops), config.augmentation, generator))


def without_text(rows: Rows, dropped: Tensor) -> Tensor:
    """Text embeddings with the empty prompt's in the rows that lose their text."""
    return torch.where(dropped[:, None, None], rows.empty, rows.text)


def pooled_without_text(rows: Rows, dropped: Tensor) -> Tensor | None:
    """Pooled text likewise; None where the U-Net has no use for it."""
    if rows.pooled is None or rows.empty_pooled is None:
        return None
    return torch.where(dropped[:, None], rows.empty_pooled, rows.pooled)
