"""U-Nets whose blocks are compiled one by one."""

import contextlib
from collections.abc import Iterator
from typing import Any

from emoji_adapter.models.adapter import EmojiAdapter


@contextlib.contextmanager
def room_for_blocks(unet: Any, adapter: EmojiAdapter | None) -> Iterator[None]:
    """Lets every block that listens have a graph of its own.

    `compile_repeated_blocks` lets equal blocks share a graph. Ours look for their own keys and values by
    name, so each has one; dynamo gives up after eight (`recompile_limit`) unless it is told that more are
    meant. A change of scale, person or expression makes no new one, unless it switches a LoRA of the
    adapter: an identity scale of 0 takes it out.

    Args:
        unet: of the pipeline.
        adapter: what the blocks listen to; None: they do not.
    """
    if adapter is None or not _has_compiled_parts(unet):
        yield
        return
    from torch._dynamo import config

    each = 2 if adapter.identity_lora is None else 3  # without faces, with them, and with the LoRA
    limit = config.recompile_limit + each * len(adapter.layers)
    with config.patch(
        recompile_limit=limit, accumulated_recompile_limit=max(limit, config.accumulated_recompile_limit)
    ):
        yield


def _has_compiled_parts(unet: Any) -> bool:
    """Whether parts of a U-Net are compiled on their own; one that is compiled as a whole has none."""
    return any(module._compiled_call_impl is not None for name, module in unet.named_modules() if name)
