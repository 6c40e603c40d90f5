"""What the adapter has to beat: a generator followed by a face swapper, and two stock IP-Adapters."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from emoji_adapter.checkpoints.stock import stock_ip_adapters
from emoji_adapter.errors import FaceError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.swap import FaceSwapper


def swap_people(
    images: Sequence[Image.Image],
    identities: Iterable[Float[Tensor, " dim"]],
    analyzer: FaceAnalyzer,
    swapper: FaceSwapper,
) -> list[Image.Image]:
    """Second stage of generate-then-swap: give the largest face of each picture to a person.

    Args:
        images: RGB.
        identities: embedding of the wanted person, one a picture.
        analyzer: finds the faces.
        swapper: trained with the recogniser that made the embeddings.

    Returns:
        New pictures; one without a face, or whose face cannot be pasted back, stays as it is.
    """
    return [
        _swapped(image, embedding.cpu().numpy(), analyzer, swapper)
        for image, embedding in zip(images, identities, strict=True)
    ]


def _swapped(
    image: Image.Image, embedding: np.ndarray, analyzer: FaceAnalyzer, swapper: FaceSwapper
) -> Image.Image:
    faces = analyzer.detect(image)
    if not faces:
        return image
    try:
        return Image.fromarray(swapper.swap(np.asarray(image), faces[0], embedding))
    except FaceError:
        return image


class _PairedStock(StableDiffusionPipeline):
    """The stock pipeline, except that a batch keeps its people apart.

    The stock one repeats the embeddings of a batch, and its layers then mix them
    (https://github.com/huggingface/diffusers/issues/9813).
    """

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image: Any,
        ip_adapter_image_embeds: Any,
        device: Any,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
    ) -> Any:
        return ip_adapter_image_embeds


class StockAdapters:
    """The two branches of an adapter as two stock IP-Adapters in a stock pipeline.

    Nothing of ours runs while it draws: diffusers' own projections, in every step, and its own processors.
    The rows that guidance pushes away from get embeddings of zeros, as in the stock pipeline. Of a compound
    expression the teacher's code is left out.

    Args:
        pipe: an `EmojiDiffSDPipeline` with the adapter, left as it is; weights are copied where stock code
            would change them.

    Raises:
        AdapterMismatchError: a stock IP-Adapter cannot hold the adapter.
    """

    def __init__(self, pipe: Any):
        parts = {name: part for name, part in pipe.components.items() if name != "emoji_adapter"}
        parts["unet"] = copy.deepcopy(pipe.unet)
        self._compound = pipe.emoji_adapter.config["expression_teacher"] is not None
        pipe.emoji_adapter.detach(parts["unet"])
        self.pipe: Any = _PairedStock(**parts, requires_safety_checker=False)
        weights = stock_ip_adapters(pipe.emoji_adapter, parts["unet"], features_only=True)
        self.pipe.load_ip_adapter(weights, subfolder="", weight_name=["", ""], image_encoder_folder=None)
        self.pipe.to(pipe.device)
        self.pipe.set_progress_bar_config(disable=True)

    def __call__(
        self,
        prompts: list[str],
        identity: Float[Tensor, "rows dim"],
        expression: Float[Tensor, "rows patches width"],
        scales: tuple[float, float],
        *,
        guidance_scale: float,
        **kwargs: Any,
    ) -> list[Image.Image]:
        """Draw.

        Args:
            prompts: one a row.
            identity: embeddings of length 1.
            expression: patch features; stock code does not read the code of a compound embedding.
            scales: strength of identity and expression; 0 is off.
            guidance_scale: classifier-free guidance.
            **kwargs: further arguments of the stock pipeline.
        """
        self.pipe.set_ip_adapter_scale(list(scales))
        if self._compound:
            expression = expression[:, :-1]
        embeds = [
            given[:, None].to(self.pipe.device, self.pipe.unet.dtype) for given in (identity, expression)
        ]
        if guidance_scale > 1:
            embeds = [torch.cat([torch.zeros_like(given), given]) for given in embeds]
        return self.pipe(
            prompts, ip_adapter_image_embeds=embeds, guidance_scale=guidance_scale, **kwargs
        ).images
