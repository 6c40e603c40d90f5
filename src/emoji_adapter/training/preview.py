"""Pictures while training: the averaged weights through the real pipeline, people by expressions."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emoji_adapter.faces.pixels import from_bytes, to_bytes
from emoji_adapter.pipelines.guidance import guidance_of
from emoji_adapter.training.session import Session


@torch.no_grad()
def draw_preview(session: Session, folder: Path) -> Path:
    """Draw the grid of the current step, one block per prompt, inputs along the edges, always the same noise.

    Args:
        session: the run.
        folder: where `step-XXXXXXXX.png` goes.

    Returns:
        The picture's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    people, templates = _chosen(session)
    session.state.average.copy_to(session.pipe.emoji_adapter)
    blocks = [_block(session, prompt, people, templates) for prompt in session.config.preview.prompts]
    path = folder / f"step-{session.state.step:08d}.png"
    partial = path.with_suffix(".partial")
    Image.fromarray(np.concatenate(blocks)).save(partial, format="PNG")
    os.replace(partial, path)
    return path


def _chosen(session: Session) -> tuple[Tensor, Tensor]:
    """Rows of the people and of the templates, spread evenly over the set; other rows for the two."""
    config, data = session.config.preview, session.data
    first = data.people.first_of_each().nonzero()[:, 0]
    people = first[_spread(len(first), config.identities)]
    templates = (_spread(len(data), config.expressions) + len(data) // 7 + 1) % len(data)
    return people, templates.to(data.device)


def _spread(length: int, count: int) -> Tensor:
    return torch.arange(count) * length // count


def _block(session: Session, prompt: str, people: Tensor, templates: Tensor) -> np.ndarray:
    """One prompt: a row of templates, then for each person the photo and the pictures; uint8 [H, W, 3]."""
    rows, columns = len(people), len(templates)
    crops = session.data.crops[templates]
    cells = _pictures(session, prompt, session.data.rows(people, people).told_identity, crops)
    size = cells.shape[1]
    edge = np.stack([_resized(crop, size) for crop in crops.cpu().numpy()])
    if session.stage.branch == "identity":
        edge = np.full_like(edge, 255)
    lines = [np.concatenate([np.full((1, size, size, 3), 255, np.uint8), edge])]
    photos = _decoded(session, session.data.latents[people])
    for row in range(rows):
        lines.append(np.concatenate([photos[row : row + 1], cells[row * columns : (row + 1) * columns]]))
    return np.concatenate([np.concatenate(list(line), axis=1) for line in lines])


def _pictures(session: Session, prompt: str, identity: Tensor, crops: Tensor) -> np.ndarray:
    """All pictures of one prompt, uint8 [people * templates, H, W, 3], person by person."""
    config, device = session.config, session.device
    count, columns = len(identity) * len(crops), len(crops)
    arguments: dict[str, Tensor] = {}
    if session.stage.branch != "identity":
        pixels = from_bytes(crops.to(device))
        arguments["expression_embeds"] = session.models.expression_encoder.encode(pixels).repeat(
            len(identity), 1, 1
        )
    # the noise of a column is the same for all people
    seeds = [config.seed + i % columns for i in range(count)]
    images = session.pipe(
        [prompt] * count,
        identity_embeds=identity.to(device).float().repeat_interleave(columns, dim=0),
        num_inference_steps=config.preview.steps,
        guidance_scale=guidance_of(session.pipe, config.checkpoint, config.preview.guidance_scale),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="pt",
        **arguments,
    ).images
    return to_bytes(images)


def _decoded(session: Session, latents: Tensor) -> np.ndarray:
    vae = session.pipe.vae
    pixels = vae.decode((latents.to(session.device) / vae.config.scaling_factor).to(vae.dtype)).sample
    return to_bytes(pixels.float() / 2 + 0.5)


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
