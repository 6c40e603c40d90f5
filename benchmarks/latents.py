"""What each latent channel holds, and how much of it anybody could foretell: `python benchmarks/latents.py`.

By channel: how far the pixels move with one of its deviations; the share of its variance that a ridge
regression from the renderer's numbers explains in fresh pictures; its share of what two takes differ by.
"""

import argparse
import json

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from record import record
from torch import Tensor
from torch.nn.functional import one_hot

from emoji_adapter.config import packaged_part
from emoji_adapter.data.latents import encode_pictures
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.splits import stream
from emoji_adapter.microworld.stages.autoencoder import effects
from emoji_adapter.renderer.parameters import FaceParameters, sample
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

RIDGE = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000, help="to learn from; a fifth more to test on")
    arguments = parser.parse_args()
    vae = AutoencoderKL.from_pretrained(packaged_part("checkpoint") / "vae", torch_dtype=torch.float32).eval()
    generator = stream("train", "latents benchmark", 0)
    faces = sample(arguments.pictures + arguments.pictures // 5, generator).as_takes(2)
    latents = encode_pictures(vae, draw(faces, vae.config["sample_size"])).float()
    flat, known = latents.flatten(1), features(faces)
    count = arguments.pictures
    gram = known[:count].T @ known[:count] + RIDGE * torch.eye(known.shape[1])
    rule = torch.linalg.solve(gram, known[:count].T @ flat[:count])
    off = (flat[count:] - known[count:] @ rule).square().mean(0)
    spread = (flat[count:] - flat[:count].mean(0)).square().mean(0)
    channels = latents.shape[1]
    foretold = 1 - off.view(channels, -1).mean(1) / spread.view(channels, -1).mean(1)
    deviation = latents.std((0, 2, 3))
    moved = effects(vae, latents[:64], deviation, generator)
    apart = (latents[::2] - latents[1::2]).square().mean((0, 2, 3))
    figures = {
        "pictures": count,
        "deviation": rounded(deviation / deviation.max()),
        "pixels_by_deviation": rounded(moved / moved.max()),
        "foretold_share": rounded(foretold),
        "takes_differ": rounded(apart / apart.sum()),
        "takes_differ_whitened": rounded((apart / deviation**2) / (apart / deviation**2).sum()),
    }
    print(json.dumps(figures, indent=1))
    record("latents", figures)


def features(faces: FaceParameters) -> Tensor:
    """All numbers, their squares, the kinds, and products of styles with backgrounds and with people."""
    numbers = torch.cat([faces.identity, faces.expression, 2 * faces.pose_shares(), faces.light], dim=1)
    style, background, accessory = (
        one_hot(kinds, len(names)).float()
        for kinds, names in (
            (faces.style, STYLES),
            (faces.background, BACKGROUNDS),
            (faces.accessory, ACCESSORIES),
        )
    )
    products = [(style[:, :, None] * by[:, None]).flatten(1) for by in (background, faces.identity)]
    return torch.cat(
        [numbers, numbers**2, style, background, accessory, *products, torch.ones(len(numbers), 1)], dim=1
    )


def rounded(values: Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]


if __name__ == "__main__":
    main()
