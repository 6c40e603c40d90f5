"""What the micro-world must show before any adapter is trained on it."""

from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image

from emoji_adapter.faces.pixels import to_bytes
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.metrics.identity import cosine
from emoji_adapter.microworld.captions import prompt
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES


def _pictures(batch: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in batch]


@torch.no_grad()
def through_autoencoder(vae: AutoencoderKL, images: list[Image.Image], batch: int = 16) -> list[Image.Image]:
    """Encode and decode pictures, without noise."""
    out: list[Image.Image] = []
    for start in range(0, len(images), batch):
        array = np.stack([np.asarray(image) for image in images[start : start + batch]])
        pixels = torch.from_numpy(array).permute(0, 3, 1, 2).to(vae.device, vae.dtype) / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.float()
        out += _pictures(to_bytes(decoded / 2 + 0.5))
    return out


def autoencoder_gate(
    vae: AutoencoderKL, judges: MicroJudges, seed: int = 0, *, size: int, count: int = 240
) -> dict[str, Any]:
    """What the autoencoder costs, by the judges.

    Args:
        vae: the autoencoder.
        judges: expression and identity judge.
        seed: of the pictures.
        size: side of the pictures in pixels.
        count: people, two pictures each.

    Returns:
        `exp_raw`, `exp_autoencoded` (mean absolute error against the truth), `exp_loss` (gate: at most 0.02),
        `id_raw`, `id_autoencoded` (cosine with another picture of the person), `id_loss` (a share; at most
        0.10).
    """
    first = pictures("test", count, seed + 10)
    other = pictures("test", count, seed + 11).replace(identity=first.identity)
    drawn, reference = (_pictures(draw(p, size, judges.device)) for p in (first, other))
    truth = first.expression.numpy()
    raw, coded, photo = (
        judges.read(images, count_faces=False)
        for images in (drawn, through_autoencoder(vae, drawn), reference)
    )
    exp = [float(blendshape_distance(r.blendshapes, truth).mean()) for r in (raw, coded)]
    ids = [float(cosine(r.embedding, photo.embedding).mean()) for r in (raw, coded)]
    figures = {
        "exp_raw": exp[0], "exp_autoencoded": exp[1], "exp_loss": exp[1] - exp[0],
        "id_raw": ids[0], "id_autoencoded": ids[1], "id_loss": 1 - ids[1] / ids[0],
    }  # fmt: skip
    return {k: round(v, 4) for k, v in figures.items()} | {"n": count}


def base_samples(
    pipe: StableDiffusionPipeline, *, seed: int = 0, count: int = 96, steps: int = 25
) -> list[Image.Image]:
    """Pictures of the base model for every style and background in turn."""
    prompts = [prompt(STYLES[i % len(STYLES)], BACKGROUNDS[i % len(BACKGROUNDS)]) for i in range(count)]
    return drawn(pipe, prompts, seed=seed, steps=steps, guidance=2.5)


def drawn(
    pipe: StableDiffusionPipeline, prompts: list[str], *, seed: int, steps: int, guidance: float
) -> list[Image.Image]:
    """One picture for each prompt, each from noise of its own."""
    out: list[Image.Image] = []
    for start in range(0, len(prompts), 16):
        part = prompts[start : start + 16]
        generators = [torch.Generator().manual_seed(seed * 100_000 + start + i) for i in range(len(part))]
        made = pipe(part, num_inference_steps=steps, guidance_scale=guidance, generator=generators)
        out += made.images
    return out


def base_gate(images: list[Image.Image], judges: MicroJudges) -> dict[str, Any]:
    """Share of base samples with exactly one face (gate: 0.98), and the right style and background."""
    read = judges.read(images)
    style = np.array([STYLES[i % len(STYLES)] for i in range(len(images))])
    background = np.array([BACKGROUNDS[i % len(BACKGROUNDS)] for i in range(len(images))])
    figures = {
        "found": read.faces == 1,
        "style": read.style == style,
        "background": read.background == background,
    }
    return {k: round(float(v.mean()), 4) for k, v in figures.items()} | {"n": len(images)}
