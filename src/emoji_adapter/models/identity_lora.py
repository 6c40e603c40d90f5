"""The LoRA part of the identity branch: weights in the adapter's file, acting through peft.

It lies beside the U-Net's other LoRAs under the name `LORA_NAME`, inactive: what `set_adapters`, `fuse_lora`,
`disable_lora` and `get_active_adapters` do with the others is as if it were not there. It acts inside
`lora_acting` only, so a call without an identity is untouched by it.

Hooks of offloading are diffusers' affair: those of groups are made anew when layers come or go, as diffusers
does for its own LoRAs; those of accelerate must be off then (`pipelines.attaching`).
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

from diffusers.hooks.group_offloading import (
    _get_top_level_group_offload_hook,
    _maybe_remove_and_reapply_group_offloading,
)
from diffusers.models.attention_processor import FusedAttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.keys_values import Projection, place
from emoji_adapter.models.lora_layers import (
    LORA_NAME,
    Setting,
    activate,
    fusing_hidden,
    layers_of_ours,
    lora_layers,
    put,
    setting,
    unfuse_ours,
)

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
        present = lora_layers(unet)
        active = {name: list(layer.active_adapters) for name, layer in present.items()}
        learn = {name: parameter.requires_grad for name, parameter in unet.named_parameters()}
        config = LoraConfig(
            r=self.rank, lora_alpha=self.rank, target_modules=self.targets(), init_lora_weights=False
        )
        with warnings.catch_warnings(), fusing_hidden(present):
            warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # meant to be so
            inject_adapter_in_model(config, unet, LORA_NAME, low_cpu_mem_usage=True)
        for name, layer in lora_layers(unet).items():
            activate(layer, active.get(name, []))
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(learn.get(name.replace(".base_layer.", "."), learn.get(name, False)))
        for target in self.targets():
            self._share(cast(Any, unet.get_submodule(target)), target)
        _maybe_remove_and_reapply_group_offloading(unet)

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
        attached = all(layer is not None for layer in self._layers_in(unet).values())
        detach_lora(unet)
        try:
            yield
        finally:
            if attached:
                self.attach(unet)

    def is_attached(self, unet: UNet2DConditionModel) -> bool:
        """Whether these very weights lie in the U-Net, or, offloaded by accelerate, would come to it."""
        return all(
            layer is not None and self._is_current(layer, target)
            for target, layer in self._layers_in(unet).items()
        )

    def _share(self, layer: Any, target: str) -> None:
        """Gives a layer the weights, and a mark: accelerate puts others in their place while offloaded."""
        weights = self._weights(target)
        layer.lora_A[LORA_NAME].weight = weights.down
        layer.lora_B[LORA_NAME].weight = weights.up
        layer.lora_A[LORA_NAME].emoji_origin = (weights.down, _changes(weights))

    def _layers_in(self, unet: UNet2DConditionModel) -> dict[str, Any]:
        """Target -> its layer, None where these weights were never put."""
        layers = layers_of_ours(unet)
        found = {target: layers.get(target) for target in self.targets()}
        return {
            target: layer if layer is not None and _origin(layer)[0] is self._weights(target).down else None
            for target, layer in found.items()
        }

    def _is_current(self, layer: Any, target: str) -> bool:
        """Whether a layer has the weights themselves or, offloaded, a copy that has not become old."""
        weights, own = self._weights(target), layer.lora_A[LORA_NAME]
        return own.weight is weights.down or (
            own.weight.is_meta
            and own.weight.dtype == weights.down.dtype
            and _origin(layer)[1] == _changes(weights)
        )

    def _weights(self, target: str) -> Projection:
        return cast(Projection, self.get_submodule(target))

    def check(self, unet: UNet2DConditionModel) -> None:
        """Refuses a U-Net that these weights cannot lie in; changes nothing.

        Raises:
            AdapterMismatchError: a layer is missing, or its weights come from disk or through a hook of
                accelerate.
        """
        refuse_disk(unet)
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
            if hasattr(getattr(found, "base_layer", found), "_hf_hook"):
                raise AdapterMismatchError(
                    f"A hook of accelerate fetches the weights of {target!r}; the adapter's LoRA would lie "
                    "beside them without one. Expected a U-Net without such hooks, or one that the pipeline "
                    "has offloaded: call its load_emoji_adapter(), replace a device map by "
                    "enable_sequential_cpu_offload(), or load an adapter without LoRA."
                )


def refuse_disk(unet: UNet2DConditionModel) -> None:
    """Refuses a U-Net whose weights are offloaded to files.

    diffusers names the files by layers and keeps those that it finds: another adapter's LoRA would be read.
    When hooks are made anew it writes files of what it has not read back.

    Raises:
        AdapterMismatchError: it is so.
    """
    hook = _get_top_level_group_offload_hook(unet)
    if hook is not None and hook.config.offload_to_disk_path is not None:
        raise AdapterMismatchError(
            f"The U-Net is offloaded to files in {hook.config.offload_to_disk_path!r}, where the LoRA of one "
            "emoji adapter may be taken for another's. Leave offload_to_disk_path out, or load an adapter "
            "without LoRA."
        )


def detach_lora(unet: UNet2DConditionModel) -> None:
    """Takes the LoRA of an emoji adapter out of a U-Net; layers without another one become plain again.

    Raises:
        AdapterMismatchError: its weights are offloaded to disk.
    """
    layers = layers_of_ours(unet)
    if layers:
        refuse_disk(unet)
    for name, layer in layers.items():
        unfuse_ours(layer)
        activate(layer, [other for other in layer.active_adapters if other != LORA_NAME])
        active = list(layer.active_adapters)
        layer.delete_adapter(LORA_NAME)
        activate(layer, active)
        if not layer.lora_A:
            parent, _, last = name.rpartition(".")
            setattr(unet.get_submodule(parent), last, layer.get_base_layer())
    configs = getattr(unet, "peft_config", None)
    if layers and configs is not None:
        configs.pop(LORA_NAME, None)
        if not configs:
            del unet.peft_config
    if layers:
        _maybe_remove_and_reapply_group_offloading(unet)


@contextlib.contextmanager
def lora_acting(unet: UNet2DConditionModel) -> Iterator[None]:
    """Lets the LoRA of an emoji adapter act inside, together with what the others do.

    Others that are fused act through the U-Net's own weights: ours is added to these. Others that are
    disabled stay so.

    Raises:
        AdapterMismatchError: it would be passed by in silence (fused projections, LoRAs that were changed
            before the call was over), act twice, or its weights are offloaded to disk.
    """
    layers = layers_of_ours(unet)
    if layers:
        refuse_disk(unet)
    for name, layer in layers.items():
        _refuse_fused(unet.get_submodule(name.split(".to_")[0]), layer)
    idle = {name: setting(layer) for name, layer in layers.items()}
    for name, layer in layers.items():
        active, fused, enabled = idle[name]
        others = [other for other in active if other != LORA_NAME] if enabled and not fused else []
        put(layer, [*others, LORA_NAME], [], True)
    try:
        yield
        if not all(LORA_NAME in active and not fused and enabled
                   for active, fused, enabled in map(setting, layers.values())):  # fmt: skip
            raise AdapterMismatchError(
                "The U-Net's LoRAs were changed in mid-call (set_adapters, fuse_lora, disable_lora ...), and "
                "the emoji adapter's own was left out from then on. Change them between calls."
            )
    finally:
        for name, layer in layers.items():
            put(layer, *_after(idle[name], setting(layer)))


def _after(idle: Setting, now: Setting) -> Setting:
    """Without ours: as before, unless somebody has changed it meanwhile."""
    active, fused, enabled = idle
    if enabled and not fused:
        active, fused, enabled = now
    else:
        fused = [*fused, *now[1]]
    return [name for name in active if name != LORA_NAME], fused, enabled


def _refuse_fused(attention: Any, layer: Any) -> None:
    """The processor tells what is computed: `fused_projections` stays True when they are fused no more."""
    processor = getattr(attention.processor, "inner", attention.processor)
    if isinstance(processor, FusedAttnProcessor2_0):
        raise AdapterMismatchError(
            "The LoRA of this adapter cannot act in fused projections. Call unfuse_qkv_projections(), or "
            "load an adapter without LoRA."
        )
    if LORA_NAME in layer.merged_adapters:
        raise AdapterMismatchError(
            f"The LoRA of the emoji adapter ({LORA_NAME!r}) is itself fused into the U-Net and would act "
            "twice. Call unfuse_lora(), and fuse the others alone: fuse_lora(adapter_names=[...])."
        )


def _origin(layer: Any) -> tuple[Any, tuple[int, int]]:
    """Which weights were put into a layer, and how often they had been changed then."""
    return getattr(layer.lora_A[LORA_NAME], "emoji_origin", (None, (0, 0)))


def _changes(weights: Projection) -> tuple[int, int]:
    """How often the weights were changed in place; moving them to a device is not counted.

    Of tensors made in inference mode torch does not count it.
    """
    down, up = (0 if x.is_inference() else x._version for x in (weights.down, weights.up))
    return down, up
