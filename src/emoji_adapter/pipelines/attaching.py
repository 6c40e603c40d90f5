"""Putting an adapter into the U-Net of a pipeline, or taking it out, however the U-Net is offloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from accelerate import cpu_offload
from accelerate.hooks import AlignDevicesHook, remove_hook_from_module

from emoji_adapter.models.adapter import EmojiAdapter


def exchange(unet: Any, before: EmojiAdapter | None, after: EmojiAdapter | None) -> None:
    """Puts one adapter in the place of another; the earlier one comes back if that cannot be.

    Args:
        unet: of the pipeline.
        before: None: there was none.
        after: None: there is none any more.

    Raises:
        AdapterMismatchError: as of `EmojiAdapter.attach`.
    """
    with unhooked(unet, before, after):
        if before is not None:
            before.detach(unet)
        if after is None:
            return
        try:
            after.attach(unet)
        except Exception:
            if before is not None and before is not after:
                before.attach(unet)
            raise


@contextmanager
def unhooked(unet: Any, *adapters: EmojiAdapter | None) -> Iterator[None]:
    """A U-Net has its weights itself inside, so that those of a LoRA may come or go; without LoRA as it is.

    The hooks of sequential offloading hold the weights of the layers that they were made for. They are taken
    off and made anew, as diffusers does when it loads a LoRA.
    """
    hook = _offloading_hook(unet)
    if hook is None or all(adapter is None or adapter.identity_lora is None for adapter in adapters):
        yield
        return
    remove_hook_from_module(unet, recurse=True)
    try:
        yield
    finally:
        cpu_offload(unet, cast(Any, hook.execution_device), offload_buffers=hook.offload_buffers)


def _offloading_hook(unet: Any) -> AlignDevicesHook | None:
    """A hook that fetches weights from memory; None: there is none, or a device map made it."""
    if hasattr(unet, "hf_device_map"):
        return None
    for module in unet.modules():
        hook = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", [hook]):
            if isinstance(part, AlignDevicesHook) and part.offload:
                return part
    return None
