"""What dual control adds to a call of the U-Net at the true sizes, on the clock.

    python benchmarks/calls.py                              # SD1.5, 512 pixels: 4 GB, four minutes of 2 cores
    python benchmarks/calls.py --family sdxl --pixels 512   # 11 GB

Random weights in the true configuration, the family's default adapter, one picture under guidance (batch 2).
Plain and dual take turns; the ratio is that of the medians, its bootstrap over rounds (`overhead.py`).
Keys and values are made before the clock runs, as the pipeline makes them once for all steps. float32 on a
CPU, bfloat16 on CUDA. Writes `benchmarks/results/calls_FAMILY.json`.
"""

import argparse
import statistics
from typing import Any

import torch
from counting import CONFIGS, FEATURES, PATCHES, ROWS, TEXT_TOKENS
from diffusers import UNet2DConditionModel
from overhead import interleaved, ratio
from record import machine, record

from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import CARRIER

BAR = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=sorted(CONFIGS), default="sd15")
    parser.add_argument("--pixels", type=int, help="side of the picture; the family's own by default")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    unet = random_weights(CONFIGS[options.family], device, dtype)
    adapter = EmojiAdapter.for_unet(unet).to(device, dtype).eval()
    latents = options.pixels // 8 if options.pixels else unet.config.sample_size
    given = inputs(unet, latents, device, dtype)
    with torch.inference_mode():
        identity = adapter.identity_tokens_of(torch.randn(1, 512, device=device, dtype=dtype))
        expression = adapter.expression_tokens_of(
            torch.randn(1, PATCHES, FEATURES, device=device, dtype=dtype)
        )
        kv = adapter(identity, expression)

        def dual() -> None:
            adapter.attach(unet)
            unet(**given, cross_attention_kwargs={CARRIER: kv})
            adapter.detach(unet)

        wall, cpu = interleaved({"plain": lambda: unet(**given), "dual": dual}, options.rounds)
    figures = {
        "family": options.family,
        "pixels": 8 * latents,
        "dtype": str(dtype).removeprefix("torch."),
        "rounds": options.rounds,
        "bar": BAR,
        "seconds": {name: statistics.median(values) for name, values in wall.items()},
        "over_plain": ratio(wall["dual"], wall["plain"]),
        "cpu_seconds_over_plain": ratio(cpu["dual"], cpu["plain"]),
    }
    print(machine(), figures)
    print(record(f"calls_{options.family}", figures))


def random_weights(config: dict[str, Any], device: str, dtype: torch.dtype) -> Any:
    """A U-Net whose weights are small noise, made without a second copy in memory."""
    with torch.device("meta"):
        made = UNet2DConditionModel(**config).to(dtype)
    made = made.to_empty(device=device).eval()
    torch.manual_seed(0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return made


def inputs(unet: Any, latents: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """What a call is given, apart from the adapter's part."""
    config = unet.config

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(ROWS, *shape, device=device, dtype=dtype)

    found = {
        "sample": noise(config.in_channels, latents, latents),
        "timestep": torch.tensor(500, device=device),
        "encoder_hidden_states": noise(TEXT_TOKENS, config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":
        found["added_cond_kwargs"] = {"text_embeds": noise(1280), "time_ids": noise(6)}
    return found


if __name__ == "__main__":
    main()
