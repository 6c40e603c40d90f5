"""Whether what `memory.py` computes is what a step takes: measured on a CPU at SD1.5's true size.

    python benchmarks/memory_check.py          # 8 GB, two minutes of two cores

One row, 512 pixels, float32, random weights, the expression branch training: the process's resident memory
before a forward pass, with all that autograd keeps alive after it, and at its highest in the backward pass;
with and without gradient checkpointing. Beside it `memory.py`'s count for the same network in float32. Writes
`benchmarks/results/memory_check.json`. Linux only.
"""

import gc
from pathlib import Path
from typing import Any

import memory
import torch
from calls import random_weights
from diffusers import UNet2DConditionModel
from record import machine, record

from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import CARRIER

FAMILY = "sd15"
FEATURES = memory.VIT_H["hidden_size"]


def main() -> None:
    figures = {"family": FAMILY, "dtype": "float32", "rows": 1, "pixels": 512}
    figures["measured_gigabytes"] = {
        "plain": measured(checkpointing=False),
        "gradient_checkpointing": measured(checkpointing=True),
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**memory.CONFIGS[FAMILY]).requires_grad_(False).eval()
        adapter = EmojiAdapter.for_unet(unet, expression_dim=FEATURES)
    memory.trains(adapter)
    kept, _ = memory.forward(unet, adapter)
    figures["computed_gigabytes"] = {
        "plain": {"kept": round(kept.everything / memory.GB, 2)},
        "gradient_checkpointing": {"highest": round(kept.checkpointed / memory.GB, 2)},
    }
    print(machine(), figures)
    print(record("memory_check", figures))


def measured(*, checkpointing: bool) -> dict[str, float]:
    """Gigabytes beyond those before the pass: kept after the forward pass, and the highest of the step."""
    unet = random_weights(memory.CONFIGS[FAMILY], "cpu", torch.float32).requires_grad_(False)
    adapter = EmojiAdapter.for_unet(unet, expression_dim=FEATURES)
    memory.trains(adapter)
    adapter.attach(unet)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    size = unet.config.sample_size
    inputs = torch.randn(1, 4, size, size), torch.tensor([500])
    text = torch.randn(1, memory.TEXT_TOKENS, unet.config.cross_attention_dim)
    with torch.no_grad():  # what the convolutions' library keeps for itself is no part of it
        unet(*inputs, text)
    gc.collect()
    before = resident()
    forget_highest()
    told = adapter(
        adapter.identity_tokens_of(torch.randn(1, 512)),
        adapter.expression_tokens_of(torch.randn(1, 256, FEATURES)),
    )
    predicted = unet(*inputs, text, cross_attention_kwargs={CARRIER: told}).sample
    kept = resident() - before
    predicted.square().mean().backward()
    return {"kept": round(kept / memory.GB, 2), "highest": round((highest() - before) / memory.GB, 2)}


def resident() -> int:
    """Bytes of memory that the process holds now."""
    return _status("VmRSS")


def highest() -> int:
    """The most that it has held since `forget_highest`."""
    return _status("VmHWM")


def forget_highest() -> None:
    """Count the highest from here."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines: Any = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    main()
