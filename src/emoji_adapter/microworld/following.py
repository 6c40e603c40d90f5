"""How far a base model draws the expression that a caption describes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from emoji_adapter.config import GUIDANCE
from emoji_adapter.data.latents import encode_pictures
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.microworld.captions import prompt
from emoji_adapter.microworld.descriptions import expression_words, part_words, person_words
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.gate import drawn
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES

TIMESTEPS = (850, 700, 550)
_VARIED = 0.05
"""Blendshapes that vary less than this in what is asked correlate with nothing."""


def descriptions(parameters: FaceParameters) -> list[str]:
    """Whole descriptions: scene, expression, every part of the face, the person, in at most 77 tokens."""
    found = []
    for row in range(len(parameters)):
        expression = parameters.expression[row]
        words = [
            *expression_words(expression)[:3],
            *part_words(expression),
            " ".join(person_words(parameters.identity[row])[:12]),
        ]
        scene = STYLES[int(parameters.style[row])], BACKGROUNDS[int(parameters.background[row])]
        found.append(prompt(*scene, words=", ".join(words)))
    return found


def correlation(read: Float[np.ndarray, "n k"], true: Float[np.ndarray, "n k"]) -> float:
    """Mean over the blendshapes of the correlation between what is read and what is true."""
    varied = np.flatnonzero(true.std(axis=0) > _VARIED)
    return float(np.mean([np.corrcoef(read[:, k], true[:, k])[0, 1] for k in varied]))


def drawn_expressions(
    pipe: StableDiffusionPipeline,
    judges: MicroJudges,
    *,
    size: int,
    seed: int = 0,
    count: int = 96,
    guidance: Sequence[float] = (GUIDANCE,),
    steps: int = 12,
) -> dict[str, dict[str, Any]]:
    """What the judge reads in pictures that are drawn from whole descriptions.

    Args:
        pipe: the base model.
        judges: the expression judge and the face finder.
        size: side of the pictures in pixels.
        seed: of the people, expressions and noise.
        count: pictures.
        guidance: scales.
        steps: of denoising.

    Returns:
        By guidance scale and for `truth`, the renderer's own pictures: `correlation` with what is described,
        `exp` (mean absolute error) and `found`, the share of pictures with exactly one face.
    """
    asked = pictures("test", count, seed + 20)
    asked = asked.replace(accessory=torch.zeros_like(asked.accessory))
    texts, true = descriptions(asked), asked.expression.numpy()

    def figures(images: list[Image.Image]) -> dict[str, Any]:
        read = judges.read(images)
        return {
            "correlation": round(correlation(read.blendshapes, true), 4),
            "exp": round(float(blendshape_distance(read.blendshapes, true).mean()), 4),
            "found": round(float((read.faces == 1).mean()), 4),
            "n": count,
        }

    found = {"truth": figures([Image.fromarray(picture) for picture in draw(asked, size, judges.device)])}
    for scale in guidance:
        found[str(scale)] = figures(drawn(pipe, texts, seed=seed, steps=steps, guidance=scale))
    return found


@torch.no_grad()
def explained_share(
    pipe: StableDiffusionPipeline, *, size: int, seed: int = 0, pairs: int = 128
) -> dict[str, float]:
    """Share of what two takes of a sitting differ by that the base explains by their descriptions.

    1 - sum |d - d*|^2 / sum |d*|^2, d the difference of the estimates of v from the noised mean of both takes
    and either description, d* the true one; see `stages.denoiser.difference_loss`.

    Args:
        pipe: the base model; predicts v.
        size: side of the pictures in pixels.
        seed: of the pictures and the noise.
        pairs: that differ in the expression alone.

    Returns:
        By timestep; at most 1, 0 for a model that does not listen.
    """
    asked = pictures("test", 2 * pairs, seed + 21).as_takes(2)
    x_0 = encode_pictures(pipe.vae, draw(asked, size, pipe.device)).to(pipe.device, torch.float32)
    states = [
        pipe.encode_prompt(descriptions(part), pipe.device, 1, do_classifier_free_guidance=False)[0]
        for part in (asked.index(slice(start, start + 32)) for start in range(0, 2 * pairs, 32))
    ]
    text = torch.cat(states)
    noise = torch.randn(x_0[::2].shape, generator=torch.Generator().manual_seed(seed)).to(x_0)
    return {str(t): round(_explained(pipe, x_0, text, noise, t), 4) for t in TIMESTEPS}


def _explained(pipe: StableDiffusionPipeline, x_0: Tensor, text: Tensor, noise: Tensor, t: int) -> float:
    mean = (x_0[::2] + x_0[1::2]) / 2
    x_t = pipe.scheduler.add_noise(mean, noise, torch.full((len(mean),), t)).repeat_interleave(2, 0)
    said = torch.cat([
        pipe.unet(x, t, encoder_hidden_states=states).sample
        for x, states in zip(x_t.split(32), text.split(32), strict=True)
    ])  # fmt: skip
    sigma = (1 - pipe.scheduler.alphas_cumprod[t]).sqrt()
    true = (x_0[1::2] - x_0[::2]) / sigma
    error = said[::2] - said[1::2] - true
    return float(1 - error.square().sum() / true.square().sum())
