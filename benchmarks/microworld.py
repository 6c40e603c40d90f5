"""The gate, the probes, errors of judges and teacher, the base's hearing: `python benchmarks/microworld.py`.

The detector has a script of its own, `detector.py`.

Writes `benchmarks/results/microworld.json` and the base model's samples beside it as a picture.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image
from record import record

from emoji_adapter.config import GUIDANCE, packaged_part
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.evaluation.grid import grid
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.following import drawn_expressions, explained_share
from emoji_adapter.microworld.gate import autoencoder_gate, base_gate, base_samples, through_autoencoder
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.probes import encoder_probes
from emoji_adapter.microworld.reading import reading
from emoji_adapter.microworld.splits import pictures

RESULTS = Path(__file__).parent / "results"
PROBED = (12_000, 48_000)
"""Pictures of the probes, half of them to learn from: 8 192 weights for each number are starved by 6 000."""


def main() -> None:
    """Measure everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    pipe = StableDiffusionPipeline.from_pretrained(packaged_part("checkpoint"), torch_dtype=torch.float32)
    pipe.to(arguments.device).set_progress_bar_config(disable=True)
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    judges = MicroJudges(device=arguments.device)
    encoder = ExpressionEncoder.from_pretrained("micro").to(arguments.device)
    samples = base_samples(pipe, seed=arguments.seed, count=arguments.samples)
    figures = {
        "size": size,
        "gate_autoencoder": autoencoder_gate(pipe.vae, judges, arguments.seed, size=size),
        "gate_base": base_gate(samples, judges),
        "following": {
            "drawn": drawn_expressions(
                pipe,
                judges,
                size=size,
                seed=arguments.seed,
                count=arguments.samples,
                guidance=(GUIDANCE, 3.0),
            ),
            "explained_share": explained_share(pipe, size=size, seed=arguments.seed),
        },
        "probes": {
            str(count): encoder_probes(encoder, arguments.seed, size=size, count=count) for count in PROBED
        },
        "reading": reading(BlendshapeTeacher(), judges.analyzer, size=size, seed=arguments.seed),
        "judges": judges.errors(arguments.seed, size=size),
    }
    print(json.dumps(figures, indent=1))
    record("microworld", figures)
    rows = [samples[start : start + 8] for start in range(0, min(48, len(samples)), 8)]
    grid(rows, tile=size).save(RESULTS / "microworld_samples.png", optimize=True)
    drawn = [Image.fromarray(picture) for picture in draw(pictures("test", 16, arguments.seed), size)]
    grid(
        [
            drawn[:8],
            through_autoencoder(pipe.vae, drawn[:8]),
            drawn[8:],
            through_autoencoder(pipe.vae, drawn[8:]),
        ],
        tile=size,
    ).save(RESULTS / "microworld_autoencoder.png", optimize=True)


if __name__ == "__main__":
    main()
