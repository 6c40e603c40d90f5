"""An adapter like another one: its expression branch in other layers, or one of its branches begun anew."""

from collections.abc import Sequence

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.models.adapter import EmojiAdapter, is_adapter_parameter

_BY_FOR_UNET = {
    "base_family",
    "cross_attention_dim",
    "layer_dims",
    "identity_layers",
    "expression_layers",
    "format_version",
}


@torch.no_grad()
def with_expression_layers(
    adapter: EmojiAdapter, unet: UNet2DConditionModel, layers: str | Sequence[str]
) -> EmojiAdapter:
    """Return a copy whose expression branch acts in these layers only, and holds no others' weights.

    All weights of the layers that both have are copied; a layer that is new to the branch begins as in
    `EmojiAdapter.for_unet`.

    Args:
        adapter: stays as it is.
        unet: a U-Net that it fits.
        layers: patterns, see `models.layers.select`.

    Raises:
        InputError: a pattern means no layer.
    """
    made = _alike(adapter, unet, expression_layers=layers)
    own, known = made.state_dict(), adapter.state_dict()
    made.load_state_dict({name: known.get(name, fresh) for name, fresh in own.items()})
    return made.train(adapter.training)


@torch.no_grad()
def with_fresh_branch(adapter: EmojiAdapter, unet: UNet2DConditionModel, branch: str) -> EmojiAdapter:
    """Return a copy of which one branch begins as in `EmojiAdapter.for_unet`; the other one is copied.

    A fresh expression branch reads pictures without a blendshape teacher, until compound embeddings train it.

    Args:
        adapter: stays as it is.
        unet: a U-Net that it fits.
        branch: "identity" or "expression".
    """
    made = _alike(adapter, unet)
    if branch == "expression":
        made.register_to_config(expression_teacher=None)
    own, known = made.state_dict(), adapter.state_dict()
    made.load_state_dict(
        {name: fresh if is_adapter_parameter(name, branch) else known[name] for name, fresh in own.items()}
    )
    return made.train(adapter.training)


def _alike(adapter: EmojiAdapter, unet: UNet2DConditionModel, **layers: str | Sequence[str]) -> EmojiAdapter:
    """A new adapter of the same shape but for the layers that are given."""
    config = {
        key: value
        for key, value in adapter.config.items()
        if key not in _BY_FOR_UNET and not key.startswith("_")
    }
    chosen = {name: adapter.config[name] for name in ("identity_layers", "expression_layers")} | layers
    return EmojiAdapter.for_unet(unet, **chosen, **config)
