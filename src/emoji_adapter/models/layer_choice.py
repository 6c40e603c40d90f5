"""The same adapter with its expression branch in other layers."""

from collections.abc import Sequence

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.models.adapter import EmojiAdapter

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
    config = {
        key: value
        for key, value in adapter.config.items()
        if key not in _BY_FOR_UNET and not key.startswith("_")
    }
    made = EmojiAdapter.for_unet(
        unet, identity_layers=adapter.config["identity_layers"], expression_layers=layers, **config
    )
    own, known = made.state_dict(), adapter.state_dict()
    made.load_state_dict({name: known.get(name, fresh) for name, fresh in own.items()})
    return made.train(adapter.training)
