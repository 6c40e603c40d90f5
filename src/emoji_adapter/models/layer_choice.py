"""An adapter like another one: in other layers, with some parts begun anew, or with a recogniser more."""

import itertools
from collections.abc import Sequence

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.errors import InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.parts import BRANCHES, is_adapter_parameter

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
def with_fresh(adapter: EmojiAdapter, unet: UNet2DConditionModel, names: Sequence[str]) -> EmojiAdapter:
    """Return a copy of which some parts begin as in `EmojiAdapter.for_unet`; all others are copied.

    A fresh expression branch reads pictures without a blendshape teacher, until compound embeddings train it.

    Args:
        adapter: stays as it is.
        unet: a U-Net that it fits.
        names: branches, or modules of theirs, see `models.parts.BRANCHES`.

    Raises:
        InputError: an unknown name.
    """
    known = [*BRANCHES, *itertools.chain(*BRANCHES.values())]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"Nothing of an adapter is called {unknown[0]!r}. Known: {', '.join(known)}.")
    made = _alike(adapter, unet)
    if "expression" in names:
        made.register_to_config(expression_teacher=None)
    kept = {
        name: tensor
        for name, tensor in adapter.state_dict().items()
        if not any(is_adapter_parameter(name, part) for part in names)
    }
    made.load_state_dict(made.state_dict() | kept)
    return made.train(adapter.training)


@torch.no_grad()
def with_second_recogniser(adapter: EmojiAdapter, unet: UNet2DConditionModel, name: str) -> EmojiAdapter:
    """Return a copy whose identity is compound: a fresh projection of a second recogniser's embedding beside.

    Args:
        adapter: of one recogniser; stays as it is.
        unet: a U-Net that it fits.
        name: id of the second recogniser.

    Raises:
        InputError: the adapter's identity cannot be compound.
    """
    made = _alike(adapter, unet, second_recogniser=name)
    made.load_state_dict(made.state_dict() | adapter.state_dict())
    return made.train(adapter.training)


def _alike(adapter: EmojiAdapter, unet: UNet2DConditionModel, **changes: str | Sequence[str]) -> EmojiAdapter:
    """A new adapter of the same shape but for the settings that are given."""
    config = {
        key: value
        for key, value in adapter.config.items()
        if key not in _BY_FOR_UNET and not key.startswith("_")
    }
    layers = {name: adapter.config[name] for name in ("identity_layers", "expression_layers")}
    return EmojiAdapter.for_unet(unet, **(config | layers | changes))
