"""What bfloat16 and the compiled renderer buy on a CPU: `python benchmarks/cpu_training.py`, one thread.

A training step of the micro U-Net in float32 as it comes, in bfloat16 with the fused attention, and in
bfloat16 with plain attention (what the denoiser stage does); the renderer as it is and compiled. The ways
take turns in one run; ratios of medians, 95 % bootstrap over rounds.
"""

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from overhead import interleaved, ratio
from record import record

from emoji_adapter.config import packaged_part
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.render import render

BATCH, ROUNDS = 32, 8


def step(dtype: torch.dtype, *, plain_attention: bool) -> Callable[[], None]:
    """A forward and a backward of the micro U-Net."""
    unet = UNet2DConditionModel.from_pretrained(
        packaged_part("checkpoint"), subfolder="unet", torch_dtype=dtype
    )
    if plain_attention:
        unet.set_attn_processor(AttnProcessor())
    config = unet.config
    latents = torch.randn(BATCH, config.in_channels, config.sample_size, config.sample_size).to(dtype)
    text = torch.randn(BATCH, 77, config.cross_attention_dim).to(dtype)
    t = torch.randint(1000, (BATCH,))

    def call() -> None:
        unet(latents, t, text).sample.float().square().mean().backward()
        unet.zero_grad()

    return call


def main() -> None:
    """Measure and write the record."""
    torch.set_num_threads(1)
    faces = pictures("train", BATCH, 0)
    steps = {
        "float32": step(torch.float32, plain_attention=False),
        "bfloat16, fused attention": step(torch.bfloat16, plain_attention=False),
        "bfloat16, plain attention": step(torch.bfloat16, plain_attention=True),
    }
    drawings = {
        "renderer": lambda: render(faces, 64, compiled=False),
        "compiled renderer": lambda: render(faces, 64, compiled=True),
    }
    figures: dict[str, object] = {
        "batch": BATCH,
        "rounds": ROUNDS,
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
    }
    for calls in (steps, drawings):
        wall, _ = interleaved(calls, ROUNDS)
        first, *others = wall
        figures |= {f"{first} / {name}": ratio(wall[first], wall[name]) for name in others}
    print(figures)
    print(record("cpu_training", figures))


if __name__ == "__main__":
    main()
