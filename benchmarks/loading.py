"""Loading onto a live pipeline: an emoji adapter, against two stock IP-Adapter files, of SD1.5's true sizes.

    python benchmarks/loading.py             # SD1.5: about 5 GB of memory and 400 MB of temporary files
    python benchmarks/loading.py --tiny      # a smoke run

Random weights of float16 on disk, as published files have them; each file is read once before the clock runs
(warm disk). Each round loads and unloads both ways, in turning order; medians over rounds. The emoji adapter
is a dual one of the family's default sizes; the stock files are FaceID and Plus in those of the published
ones. Neither needs an image encoder here.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from counting import CONFIGS
from diffusers import DDIMScheduler, UNet2DConditionModel
from record import machine, record
from safetensors.torch import save_file

from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.checkpoints.stock import stock_ip_adapters
from emoji_adapter.models.adapter import MICRO, EmojiAdapter
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline

BAR = 1.0
TINY = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "sample_size": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 768,
    "norm_num_groups": 8,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tiny", action="store_true", help="a small U-Net; nothing is recorded")
    options = parser.parse_args()
    pipe = live_pipeline(TINY if options.tiny else CONFIGS["sd15"])
    with tempfile.TemporaryDirectory() as folder:
        files = written(pipe, Path(folder), MICRO if options.tiny else {})
        sizes = {name: sum(file.stat().st_size for file in files[name]) for name in files}
        seconds = timed(pipe, files, options.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {
        "family": "sd15",
        "rounds": options.rounds,
        "bar_seconds": BAR,
        "megabytes": {name: size / 1e6 for name, size in sizes.items()},
        "seconds": medians,
        "ours_over_stock": medians["emoji_adapter"] / medians["two_ip_adapters"],
    }
    print(machine(), figures)
    if not options.tiny:
        print(record("loading", figures))


def live_pipeline(config: dict[str, Any]) -> Any:
    """A pipeline of a U-Net with random weights and little else, on the best device there is."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    unet = unet.to_empty(device=device)
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    pipe = EmojiDiffSDPipeline(None, None, None, unet, scheduler, None, None, requires_safety_checker=False)
    return pipe.to(torch.float16 if device == "cuda" else torch.float32)


def written(pipe: Any, folder: Path, sizes: dict[str, Any]) -> dict[str, list[Path]]:
    """Writes both ways' files and reads them once."""
    save_adapter(random_adapter(pipe, **sizes), folder / "emoji", torch.float16)
    published = random_adapter(pipe, kv_rank=None, resampler_depth=4)
    files = {"emoji_adapter": sorted((folder / "emoji").iterdir()), "two_ip_adapters": []}
    for number, weights in enumerate(stock_ip_adapters(published, pipe.unet)):
        file = folder / f"{number}.safetensors"
        flat = {f"{group}.{key}": x for group, part in weights.items() for key, x in part.items()}
        save_file({key: x.half().contiguous() for key, x in flat.items()}, file)
        files["two_ip_adapters"].append(file)
    for file in (file for paths in files.values() for file in paths):
        file.read_bytes()
    return files


def random_adapter(pipe: Any, **sizes: Any) -> EmojiAdapter:
    """A dual adapter with random weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(pipe.unet.config)
        adapter = EmojiAdapter.for_unet(unet, **sizes)
    adapter = adapter.to_empty(device="cpu")
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return adapter


def timed(pipe: Any, files: dict[str, list[Path]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, unloading not counted; one round before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in files}
    names = list(files)
    for turn in range(rounds + 1):
        for name in names if turn % 2 else reversed(names):
            start = time.perf_counter()
            if name == "emoji_adapter":
                pipe.load_emoji_adapter(files[name][0].parent)
            else:
                pipe.load_ip_adapter(
                    [str(files[name][0].parent)] * 2,
                    subfolder="",
                    weight_name=[file.name for file in files[name]],
                    image_encoder_folder=None,
                )
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            elapsed = time.perf_counter() - start
            if turn:
                seconds[name].append(elapsed)
            pipe.unload_emoji_adapter() if name == "emoji_adapter" else pipe.unload_ip_adapter()
    return seconds


if __name__ == "__main__":
    main()
