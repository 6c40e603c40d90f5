"""How well a picture fits its prompt, by CLIP: both embeddings, whose cosine times 100 is CLIP-T."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel

from emoji_adapter.encoders.expression import CLIP_MEAN, CLIP_STD
from emoji_adapter.errors import WeightsNotFoundError

_BATCH = 32


class ClipScore:
    """Image and text tower of a CLIP, e.g. "openai/clip-vit-large-patch14" (Hessel et al., arXiv 2104.08718).

    Args:
        name: folder or Hub id.
        device: where it works.

    Raises:
        WeightsNotFoundError: there is no such model.
    """

    def __init__(self, name: str, device: str = "cpu"):
        self.name = name
        try:
            model: Any = CLIPModel.from_pretrained(name, use_safetensors=True)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise WeightsNotFoundError(
                f"The CLIP {name!r} cannot be loaded: {error} Expected a folder or a Hub id of a CLIPModel "
                "in safetensors, with its tokenizer."
            ) from error
        self._model = model.to(device).eval()
        self._size = self._model.config.vision_config.image_size

    @torch.inference_mode()
    def images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Embeddings of length 1, (n, d)."""
        parts = []
        for start in range(0, len(images), _BATCH):
            squares = [
                np.asarray(ImageOps.fit(image, (self._size, self._size), Image.Resampling.BICUBIC))
                for image in images[start : start + _BATCH]
            ]
            pixels = (np.stack(squares) / 255 - CLIP_MEAN) / CLIP_STD
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().to(self._model.device)
            seen = self._model.vision_model(pixel_values=batch).pooler_output
            parts.append(normalize(self._model.visual_projection(seen), dim=-1).cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Embeddings of length 1, (n, d)."""
        distinct = list(dict.fromkeys(prompts))
        tokens = self._tokenizer(distinct, padding=True, truncation=True, return_tensors="pt")
        read = self._model.text_model(**tokens.to(self._model.device)).pooler_output
        embeds = normalize(self._model.text_projection(read), dim=-1).cpu().numpy()
        return embeds[[distinct.index(prompt) for prompt in prompts]]
