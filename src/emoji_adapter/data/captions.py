"""Text embeddings of a prepared set: each different caption once, and the empty prompt for dropped text."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from emoji_adapter.data.latents import weights_hash
from emoji_adapter.errors import DataError

FILE = "captions.safetensors"


@dataclass(frozen=True)
class CaptionEmbeddings:
    """Text embeddings.

    Attributes:
        embeds: float16 [U, 77, D], one per different caption.
        empty: float16 [77, D], the empty prompt: what a row sees whose text is dropped.
        index: int64 [N], the caption of each row.
        pooled: float16 [U, P], pooled embeddings that SDXL's U-Net is told beside them, else None.
        empty_pooled: float16 [P], the empty prompt's.
    """

    embeds: Float[Tensor, "U L D"]
    empty: Float[Tensor, "L D"]
    index: Int[Tensor, " N"]
    pooled: Float[Tensor, "U P"] | None = None
    empty_pooled: Float[Tensor, " P"] | None = None


def text_hash(pipe: Any) -> str:
    """Hash of the weights of a pipeline's text encoder, or of both that SDXL has."""
    second = getattr(pipe, "text_encoder_2", None)
    first = weights_hash(pipe.text_encoder)
    return first if second is None else f"{first}+{weights_hash(second)}"


@torch.no_grad()
def encode_captions(
    captions: list[str],
    pipe: Any,
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> CaptionEmbeddings:
    """Embed captions by the pipeline's own `encode_prompt`, so that training reads what drawing reads.

    For SDXL the text is that of both encoders beside each other, and the empty prompt is zeros where the
    checkpoint says so (`force_zeros_for_empty_prompt`), as for the negative rows of guidance.

    Args:
        captions: one per row, repeats welcome.
        pipe: Stable Diffusion or SDXL, its text encoders on the device that is to do the work.
        batch: captions per forward pass.
        progress: told (done, of).
    """
    unique = list(dict.fromkeys(captions))
    texts = ["", *unique]
    parts = []
    for start in range(0, len(texts), batch):
        parts.append(_encode(pipe, texts[start : start + batch]))
        if progress:
            progress(min(start + batch, len(texts)), len(texts))
    embeds = torch.cat([part for part, _ in parts])
    pooled = [part for _, part in parts if part is not None]
    place = {caption: i for i, caption in enumerate(unique)}
    index = torch.tensor([place[caption] for caption in captions], dtype=torch.int64)
    if not pooled:
        return CaptionEmbeddings(embeds[1:], embeds[0], index)
    whole = torch.cat(pooled)
    zero = 0 if pipe.config.get("force_zeros_for_empty_prompt", False) else 1
    return CaptionEmbeddings(embeds[1:], embeds[0] * zero, index, whole[1:], whole[0] * zero)


def _encode(pipe: Any, texts: list[str]) -> tuple[Tensor, Tensor | None]:
    """Text embeddings of each text, and the pooled ones of SDXL."""
    device = pipe.text_encoder.device
    made = pipe.encode_prompt(
        texts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    text, pooled = made[0].to("cpu", torch.float16), made[2] if len(made) > 2 else None
    return text, None if pooled is None else pooled.to("cpu", torch.float16)


def write_captions(folder: Path, captions: CaptionEmbeddings) -> None:
    """Write the embeddings, whole or not at all."""
    tensors = {name: tensor for name, tensor in vars(captions).items() if tensor is not None}
    partial = folder / (FILE + ".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    os.replace(partial, folder / FILE)


def read_captions(folder: Path) -> CaptionEmbeddings:
    """Read the embeddings.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        return CaptionEmbeddings(**load_file(folder / FILE))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{folder / FILE} is missing or damaged: {error}. Run `emoji-adapter prepare` again."
        ) from error
