"""Making layers of a U-Net listen to the adapter, and undoing it exactly."""

from collections.abc import Sequence
from typing import Any, cast

from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.attention import DualAttnProcessor
from emoji_adapter.models.layers import attention_of, cross_attention_layers

STOCK = (AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor, FusedAttnProcessor2_0, XFormersAttnProcessor)
"""The processors that ours can stand around. All are free of weights."""


def attach(unet: UNet2DConditionModel, layers: Sequence[str]) -> None:
    """Puts a `DualAttnProcessor` around the processor of each layer.

    Raises:
        AdapterMismatchError: a layer is missing, already has one, or its processor is not a stock one;
            nothing has been changed then.
    """
    processors = {layer: _processor_to_wrap(unet, layer) for layer in layers}
    for layer, processor in processors.items():
        attention_of(unet, layer).set_processor(cast(Any, DualAttnProcessor(layer, processor)))


def detach(unet: UNet2DConditionModel) -> None:
    """Gives each layer the processor back that `attach` found there."""
    for layer in cross_attention_layers(unet):
        attention = attention_of(unet, layer)
        if isinstance(attention.processor, DualAttnProcessor):
            attention.set_processor(attention.processor.inner)


def is_attached(unet: UNet2DConditionModel, layers: Sequence[str]) -> bool:
    """Whether every one of the layers has a `DualAttnProcessor`."""
    return all(isinstance(attention_of(unet, layer).processor, DualAttnProcessor) for layer in layers)


def _processor_to_wrap(unet: UNet2DConditionModel, layer: str) -> Any:
    if layer not in cross_attention_layers(unet):
        raise AdapterMismatchError(
            f"The U-Net has no cross-attention layer {layer!r}. Use an adapter made for this U-Net."
        )
    processor = attention_of(unet, layer).processor
    if isinstance(processor, DualAttnProcessor):
        raise AdapterMismatchError(
            f"An emoji adapter is already attached to this U-Net (layer {layer!r}). Detach it first, or call "
            "unload_emoji_adapter() on the pipeline that holds it."
        )
    if type(processor) not in STOCK:
        raise AdapterMismatchError(
            f"Layer {layer!r} has the processor {type(processor).__name__}, which belongs to another "
            f"extension (an IP-Adapter?); expected one of {', '.join(p.__name__ for p in STOCK)}. Unload the "
            "other extension first, or choose layers that it does not use."
        )
    return processor
