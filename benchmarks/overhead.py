"""What control costs: the plain pipeline, dual control, and two stock IP-Adapters, interleaved in one run.

    python benchmarks/overhead.py                      # the embedded checkpoint and adapter
    python benchmarks/overhead.py --checkpoint random  # random weights at the sizes of the micro-world
    python benchmarks/overhead.py --count              # operations, FLOPs at the sizes of SD1.5 and SDXL

Each round calls all ways once, in turning order; the ratio is that of the medians, its interval a bootstrap
over rounds (95 %, 2 000 draws, rounds kept together).
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from counting import count_families
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from record import machine, record

from emoji_adapter.models.adapter import MICRO, EmojiAdapter
from emoji_adapter.models.layers import cross_attention_layers
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline

BAR = 1.10
TEXT_TOKENS = 77


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="micro", help="micro, random, a folder or a Hub id")
    parser.add_argument(
        "--adapter", default="micro", help="micro, a folder or a Hub id; 'fresh' for an untrained one"
    )
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--identity", help="picture of a person, to time the way from pictures")
    parser.add_argument("--expression", help="picture of an expression, likewise")
    parser.add_argument("--output-type", default="pil", help="'latent' leaves the autoencoder out")
    parser.add_argument("--name", default="overhead", help="name of the result file")
    parser.add_argument("--count", action="store_true", help="count, on the meta device; nothing is timed")
    options = parser.parse_args()
    if options.count:
        print(record("overhead_count", count_families()))
        return

    ours = pipeline(options.checkpoint, options.adapter)
    ways = {
        "plain": {},
        "dual": embeds(ours),
        "two_ip_adapters": {"ip_adapter_image_embeds": ip_embeds(ours)},
    }
    pipelines = {"plain": stock(ours), "dual": ours, "two_ip_adapters": two_ip_adapters(ours)}
    if options.identity and options.expression:
        ways["dual_from_pictures"] = {"identity_image": options.identity, "expression": options.expression}
        pipelines["dual_from_pictures"] = ours
    prompt = text_embeds(ours)
    calls = {
        name: lambda name=name, given=given: pipelines[name](
            **prompt,
            **given,
            num_inference_steps=options.steps,
            generator=torch.Generator(ours.device).manual_seed(0),
            output_type=options.output_type,
        )
        for name, given in ways.items()
    }
    wall, cpu = interleaved(calls, options.rounds)
    figures = {
        "checkpoint": options.checkpoint,
        "steps": options.steps,
        "rounds": options.rounds,
        "output_type": options.output_type,
        "bar": BAR,
        "seconds": {name: statistics.median(values) for name, values in wall.items()},
        "over_plain": {name: ratio(wall[name], wall["plain"]) for name in wall if name != "plain"},
        "cpu_seconds_over_plain": {name: ratio(cpu[name], cpu["plain"]) for name in cpu if name != "plain"},
    }
    print(f"{machine()}: {options.checkpoint}, {options.steps} steps, {options.rounds} rounds")
    for name, value in figures["seconds"].items():
        found = figures["over_plain"].get(name)
        over = f"  x {found['ratio']:.3f} ({found['ci95'][0]:.3f} to {found['ci95'][1]:.3f})" if found else ""
        over += f"  processor x {figures['cpu_seconds_over_plain'][name]['ratio']:.3f}" if found else ""
        print(f"{name:20} {value:7.3f} s{over}")
    print(record(options.name, figures))


def pipeline(checkpoint: str, adapter: str) -> Any:
    """Our pipeline with an adapter, on the best device there is."""
    made = random_pipeline() if checkpoint == "random" else EmojiDiffPipeline.from_pretrained(checkpoint)
    fresh = checkpoint == "random" or adapter == "fresh"
    made.load_emoji_adapter(EmojiAdapter.for_unet(made.unet, **MICRO) if fresh else adapter)
    made.set_progress_bar_config(disable=True)
    return made.to("cuda" if torch.cuda.is_available() else "cpu")


def random_pipeline() -> Any:
    """Random weights at the sizes of the micro-world: 16x16x8 latents, text of width 128."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(96, 112, 112),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=128,
        attention_head_dim=(6, 7, 7),
        norm_num_groups=16,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 96, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=8,
        sample_size=128,
    )
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    return EmojiDiffSDPipeline(vae, None, None, unet, scheduler, None, None, requires_safety_checker=False)


def stock(ours: Any) -> StableDiffusionPipeline:
    """The stock pipeline on copies of the same weights."""
    parts = {name: part for name, part in ours.components.items() if name != "emoji_adapter"}
    parts["unet"] = copy.deepcopy(ours.unet)
    ours.emoji_adapter.detach(parts["unet"])
    made = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def two_ip_adapters(ours: Any) -> StableDiffusionPipeline:
    """The stock way: two adapters of IP-Adapter-FaceID's layout, random weights, as many tokens."""
    made, config = stock(ours), ours.emoji_adapter.config
    sizes = (
        (config["identity_dim"], config["identity_tokens"]),
        (config["blendshapes"], config["expression_tokens"]),
    )
    weights = [face_id(ours, *size) for size in sizes]
    made.load_ip_adapter(weights, subfolder="", weight_name=["", ""], image_encoder_folder=None)
    made.set_ip_adapter_scale([1.0, 1.0])
    return made.to(ours.device)


def face_id(ours: Any, input_dim: int, tokens: int) -> dict[str, dict[str, torch.Tensor]]:
    """A state dict in IP-Adapter-FaceID's layout."""
    dim = ours.unet.config.cross_attention_dim
    projection = {
        "proj.0.weight": torch.randn(2 * input_dim, input_dim),
        "proj.0.bias": torch.zeros(2 * input_dim),
        "proj.2.weight": torch.randn(tokens * dim, 2 * input_dim),
        "proj.2.bias": torch.zeros(tokens * dim),
        "norm.weight": torch.ones(dim),
        "norm.bias": torch.zeros(dim),
    }
    widths = cross_attention_layers(ours.unet).values()
    keys_values = {
        f"{2 * i + 1}.to_{x}_ip.weight": 0.02 * torch.randn(width, dim)
        for i, width in enumerate(widths)
        for x in "kv"
    }
    return {"image_proj": projection, "ip_adapter": keys_values}


def text_embeds(ours: Any) -> dict[str, torch.Tensor]:
    """Embeddings of a prompt, made before the clock runs."""
    if ours.text_encoder is None:
        shape = (1, TEXT_TOKENS, ours.unet.config.cross_attention_dim)
        return {
            name: torch.randn(shape, device=ours.device)
            for name in ("prompt_embeds", "negative_prompt_embeds")
        }
    prompt, negative = ours.encode_prompt("a watercolor portrait, blue background", ours.device, 1, True)
    return {"prompt_embeds": prompt, "negative_prompt_embeds": negative}


def embeds(ours: Any) -> dict[str, torch.Tensor]:
    """Random identity and expression."""
    config = ours.emoji_adapter.config
    expression = torch.randn(1, 64, config["expression_dim"])
    if config["expression_teacher"] is not None:
        code = torch.rand(1, 1, config["blendshapes"])
        padded = torch.nn.functional.pad(code, (0, config["expression_dim"] - config["blendshapes"]))
        expression = torch.cat([expression, padded], dim=1)
    length = config["identity_dim"] * (1 if config["second_recogniser"] is None else 2)
    return {"identity_embeds": torch.randn(1, length), "expression_embeds": expression}


def ip_embeds(ours: Any) -> list[torch.Tensor]:
    """The same for the stock way: negative and positive stacked."""
    config = ours.emoji_adapter.config
    return [torch.randn(2, 1, config[name], device=ours.device) for name in ("identity_dim", "blendshapes")]


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], ...]:
    """Seconds on the clock and seconds of processor time of each call in each round.

    The order turns by one each round; one round before them warms up. Processor time stands beside the clock
    because it is less disturbed by whatever else a machine does.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            starts = time.perf_counter(), time.process_time()
            calls[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                wall[name].append(time.perf_counter() - starts[0])
                cpu[name].append(time.process_time() - starts[1])
    return wall, cpu


def ratio(over: list[float], under: list[float]) -> dict[str, Any]:
    """Ratio of medians with its interval."""
    pairs = np.array([over, under])
    draws = np.random.default_rng(0).integers(pairs.shape[1], size=(2000, pairs.shape[1]))
    medians = np.median(pairs[:, draws], axis=-1)
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    return {"ratio": float(np.median(over) / np.median(under)), "ci95": [float(low), float(high)]}


if __name__ == "__main__":
    main()
