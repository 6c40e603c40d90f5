"""The LoRA part of the identity branch: weights in the adapter's file, acting through peft.

It lies beside the U-Net's other LoRAs under the name `LORA_NAME`, inactive: what `set_adapters` and
`get_active_adapters` say of the others is as if it were not there. It acts inside `lora_acting` only, so a
call without an identity is untouched by it.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.keys_values import Projection, place

LORA_NAME = "emoji_identity"
"""Name of the LoRA in the U-Net, as `get_list_adapters` shows it."""

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""What is changed in each attention layer."""


class LowRankUpdates(nn.Module):
    """What is added to the projections of some attention layers, each the product of two thin matrices.

    Parameters are called after the layers, e.g. `mid_block.....attn1.to_out.0.down`.

    Args:
        layers: names of attention layers, `...attn1` (self) or `...attn2` (cross).
        dims: width of each cross-attention layer (`...attn2`); that of `attn1` beside it is the same.
        cross_dim: width of the text features.
        rank: inner size; peft's `lora_alpha` equals it, so that nothing is scaled.
    """

    def __init__(self, layers: Sequence[str], dims: dict[str, int], cross_dim: int, rank: int):
        super().__init__()
        self.layers, self.rank = list(layers), rank
        for layer in layers:
            width = dims[layer.removesuffix("attn1").removesuffix("attn2") + "attn2"]
            for name in PROJECTIONS:
                reads = cross_dim if layer.endswith("attn2") and name in ("to_k", "to_v") else width
                place(self, f"{layer}.{name}", Projection(reads, width, rank))

    def targets(self) -> list[str]:
        """Names of all projections that are changed."""
        return [f"{layer}.{name}" for layer in self.layers for name in PROJECTIONS]

    def attach(self, unet: UNet2DConditionModel) -> None:
        """Puts the weights, shared and not copied, beside the U-Net's own; they do not act yet."""
        from peft import LoraConfig, inject_adapter_in_model

        self.check(unet)
        active = {name: list(layer.active_adapters) for name, layer in _lora_layers(unet).items()}
        learn = {name: parameter.requires_grad for name, parameter in unet.named_parameters()}
        config = LoraConfig(
            r=self.rank, lora_alpha=self.rank, target_modules=self.targets(), init_lora_weights=False
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # meant to be so
            inject_adapter_in_model(config, unet, LORA_NAME, low_cpu_mem_usage=True)
        for name, layer in _lora_layers(unet).items():
            _activate(layer, active.get(name, []))
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(learn.get(name.replace(".base_layer.", "."), learn.get(name, False)))
        for target in self.targets():
            layer, weights = cast(Any, unet.get_submodule(target)), self._weights(target)
            layer.lora_A[LORA_NAME].weight = weights.down
            layer.lora_B[LORA_NAME].weight = weights.up

    @contextlib.contextmanager
    def acting_in(self, unet: UNet2DConditionModel) -> Iterator[None]:
        """These very weights act in a U-Net inside; those of another emoji adapter give way for good."""
        if not self.is_attached(unet):
            detach_lora(unet)
            self.attach(unet)
        with lora_acting(unet):
            yield

    @contextlib.contextmanager
    def taken_out_of(self, unet: UNet2DConditionModel) -> Iterator[None]:
        """The U-Net is without these weights inside, and with them afterwards if it was before."""
        attached = self.is_attached(unet)
        detach_lora(unet)
        try:
            yield
        finally:
            if attached:
                self.attach(unet)

    def is_attached(self, unet: UNet2DConditionModel) -> bool:
        """Whether these very weights lie in the U-Net."""
        layers = _lora_layers(unet)
        return all(
            target in layers
            and LORA_NAME in layers[target].lora_A
            and layers[target].lora_A[LORA_NAME].weight is self._weights(target).down
            for target in self.targets()
        )

    def _weights(self, target: str) -> Projection:
        return cast(Projection, self.get_submodule(target))

    def check(self, unet: UNet2DConditionModel) -> None:
        """Refuses a U-Net that these weights cannot lie in; changes nothing.

        Raises:
            AdapterMismatchError: a layer is missing, or a LoRA is fused into one.
        """
        modules = dict(unet.named_modules())
        for target in self.targets():
            found = cast(Any, modules.get(target))
            weights = self._weights(target)
            wanted = [weights.up.shape[0], weights.down.shape[1]]
            if found is None or list(found.weight.shape) != wanted:
                raise AdapterMismatchError(
                    f"This adapter has a LoRA for {target!r} of shape {wanted}; the U-Net has "
                    f"{'no such layer' if found is None else list(found.weight.shape)}. Use an adapter made "
                    "for this U-Net."
                )
            if getattr(found, "merged", False):
                raise AdapterMismatchError(
                    f"A LoRA is fused into {target!r}, and another cannot be put beside it without unfusing. "
                    "Call unfuse_lora() first, and fuse_lora() after the emoji adapter is loaded."
                )


def detach_lora(unet: UNet2DConditionModel) -> None:
    """Takes the LoRA of an emoji adapter out of a U-Net; layers without another one become plain again."""
    layers = {name: layer for name, layer in _lora_layers(unet).items() if LORA_NAME in layer.lora_A}
    for name, layer in layers.items():
        _activate(layer, [other for other in layer.active_adapters if other != LORA_NAME])
        active = list(layer.active_adapters)
        layer.delete_adapter(LORA_NAME)
        _activate(layer, active)
        if not layer.lora_A:
            parent, _, last = name.rpartition(".")
            setattr(unet.get_submodule(parent), last, layer.get_base_layer())
    configs = getattr(unet, "peft_config", None)
    if layers and configs is not None:
        configs.pop(LORA_NAME, None)
        if not configs:
            del unet.peft_config


@contextlib.contextmanager
def lora_acting(unet: UNet2DConditionModel) -> Iterator[None]:
    """Lets the LoRA of an emoji adapter act inside, together with those that are active already.

    Raises:
        AdapterMismatchError: the U-Net's projections are fused: the LoRA would be passed by in silence.
    """
    layers = {name: layer for name, layer in _lora_layers(unet).items() if LORA_NAME in layer.lora_A}
    for name in layers:
        attention = unet.get_submodule(name.split(".to_")[0])
        if getattr(attention, "fused_projections", False):
            raise AdapterMismatchError(
                "The LoRA of this adapter cannot act in fused projections. Call unfuse_qkv_projections(), or "
                "load an adapter without LoRA."
            )
    for layer in layers.values():
        _activate(layer, [*layer.active_adapters, LORA_NAME])
    try:
        yield
    finally:
        for layer in layers.values():
            _activate(layer, [name for name in layer.active_adapters if name != LORA_NAME])


def _lora_layers(unet: nn.Module) -> dict[str, Any]:
    """The layers that hold any LoRA."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def _activate(layer: Any, names: list[str]) -> None:
    """Choose the LoRAs that act in a layer; peft would also change which weights learn."""
    learn = [(parameter, parameter.requires_grad) for parameter in layer.parameters()]
    layer.set_adapter(names)
    for parameter, learns in learn:
        parameter.requires_grad_(learns)
