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

from emoji_adapter.errors import DataError

FILE = "captions.safetensors"


@dataclass(frozen=True)
class CaptionEmbeddings:
    """Text embeddings.

    Attributes:
        embeds: float16 [U, 77, D], one per different caption.
        empty: float16 [77, D], the empty prompt: what a row sees whose text is dropped.
        index: int64 [N], the caption of each row.
    """

    embeds: Float[Tensor, "U L D"]
    empty: Float[Tensor, "L D"]
    index: Int[Tensor, " N"]


@torch.no_grad()
def encode_captions(
    captions: list[str],
    tokenizer: Any,
    text_encoder: Any,
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> CaptionEmbeddings:
    """Embed captions as the Stable Diffusion pipeline does.

    Padded or cut to the tokenizer's length; the last hidden states, after the final norm.

    Args:
        captions: one per row, repeats welcome.
        tokenizer: the checkpoint's.
        text_encoder: the checkpoint's, on the device that is to do the work.
        batch: captions per forward pass.
        progress: told (done, of).
    """
    unique = list(dict.fromkeys(captions))
    texts = ["", *unique]
    parts = []
    for start in range(0, len(texts), batch):
        tokens = tokenizer(
            texts[start : start + batch],
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        hidden = text_encoder(tokens.input_ids.to(text_encoder.device))[0]
        parts.append(hidden.to("cpu", torch.float16))
        if progress:
            progress(min(start + batch, len(texts)), len(texts))
    embeds = torch.cat(parts)
    place = {caption: i for i, caption in enumerate(unique)}
    index = torch.tensor([place[caption] for caption in captions], dtype=torch.int64)
    return CaptionEmbeddings(embeds[1:], embeds[0], index)


def write_captions(folder: Path, captions: CaptionEmbeddings) -> None:
    """Write the embeddings, whole or not at all."""
    tensors = {"embeds": captions.embeds, "empty": captions.empty, "index": captions.index}
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
