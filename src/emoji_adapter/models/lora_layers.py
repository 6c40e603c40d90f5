"""What acts in a layer that holds LoRAs of peft, the emoji adapter's among them."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

LORA_NAME = "emoji_identity"
"""Name of the LoRA in the U-Net, as `get_list_adapters` shows it."""

Setting = tuple[list[str], list[str], bool]
"""What acts in a layer: names that are active, names that are fused, whether any acts at all."""


def setting(layer: Any) -> Setting:
    """What acts in a layer now."""
    return list(layer.active_adapters), list(layer.merged_adapters), not layer.disable_adapters


def lora_layers(unet: nn.Module) -> dict[str, Any]:
    """The layers that hold any LoRA."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def layers_of_ours(unet: nn.Module) -> dict[str, Any]:
    """The layers that hold the LoRA of an emoji adapter."""
    return {name: layer for name, layer in lora_layers(unet).items() if LORA_NAME in layer.lora_A}


def activate(layer: Any, names: list[str]) -> None:
    """Choose the LoRAs that act in a layer."""
    _, fused, enabled = setting(layer)
    put(layer, names, fused, enabled)


def put(layer: Any, active: list[str], fused: list[str], enabled: bool) -> None:
    """Says what acts in a layer; peft would also change which weights learn."""
    learn = [(parameter, parameter.requires_grad) for parameter in layer.parameters()]
    layer.enable_adapters(enabled)
    layer.set_adapter(active)
    layer.merged_adapters = fused
    for parameter, learns in learn:
        parameter.requires_grad_(learns)


def unfuse_ours(layer: Any) -> None:
    """Takes ours out of a layer's own weights if somebody has fused it, and leaves the others there."""
    others = [name for name in layer.merged_adapters if name != LORA_NAME]
    if len(others) < len(layer.merged_adapters):
        layer.unmerge()
        if others:
            layer.merge(adapter_names=others)


@contextlib.contextmanager
def fusing_hidden(layers: dict[str, Any]) -> Iterator[None]:
    """Nothing seems to be fused inside: peft would unfuse all LoRAs of a U-Net to make a new one."""
    fused = {name: layer.merged_adapters for name, layer in layers.items()}
    for layer in layers.values():
        layer.merged_adapters = []
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.merged_adapters = fused[name]
