"""What a face does: CLIP patch features of an expression crop, and blendshapes beside them if asked for."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from emoji_adapter.config import packaged_part, packaged_weights
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.pixels import to_bytes

MICRO = "micro"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of OpenAI's CLIP, for encoders without a `preprocessor_config.json`."""


class ExpressionEncoder:
    """A frozen CLIP vision tower, read at the patches of an inner layer.

    Pictures are resized and normalised in torch, so that training on GPU tensors and inference on PIL
    pictures share one path, which does not depend on the image backend that transformers picks.

    Args:
        model: the tower; it is frozen and put into evaluation mode.
        mean: of the normalisation, per RGB channel, for values in [0, 1].
        std: the same.
        crop: how expression crops are cut for it; by default at the tower's size.
        layer: index into `hidden_states`, whose last is the output; -2 is the layer IP-Adapter Plus reads.
        id: name that an adapter's metadata records.
        teacher: reads blendshapes that `encode` puts beside the features; None: features alone.
    """

    def __init__(
        self,
        model: CLIPVisionModelWithProjection,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        *,
        crop: ExpressionCrop | None = None,
        layer: int = -2,
        id: str = "",
        teacher: BlendshapeTeacher | None = None,
    ) -> None:
        layers = model.config.num_hidden_layers + 1
        if not -layers <= layer < layers:
            raise InputError(f"layer must lie in [{-layers}, {layers - 1}] for this encoder, got {layer}.")
        self.model = model.requires_grad_(False).eval()
        self.mean, self.std = tuple(mean), tuple(std)
        self.size = _int(model.config.image_size)
        self.crop = crop or ExpressionCrop(size=self.size)
        self.layer = layer
        self.id = id
        self.teacher = teacher

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, crop: ExpressionCrop | None = None, layer: int = -2, **kwargs: Any
    ) -> "ExpressionEncoder":
        """Load a `CLIPVisionModelWithProjection` and its `preprocessor_config.json`.

        Args:
            name: "micro" (embedded; drawn faces), a folder, or a Hub id.
            crop: how crops are cut, from an adapter's metadata; by default at the tower's size.
            layer: see the class.
            **kwargs: `subfolder`, `revision`, `dtype`, … of transformers' `from_pretrained`.

        Raises:
            WeightsNotFoundError: there is no such encoder, or it has no safetensors file.
            WeightsFormatError: its files are damaged.
        """
        source = packaged_part("expression_encoder") if str(name) == MICRO else name
        try:
            model = CLIPVisionModelWithProjection.from_pretrained(source, use_safetensors=True, **kwargs)
        except OSError as error:
            raise WeightsNotFoundError(
                f"The expression encoder {str(name)!r} cannot be loaded: {error} Expected 'micro', a folder "
                "or "
                "a Hub id that holds a CLIPVisionModelWithProjection in safetensors."
            ) from error
        except Exception as error:
            raise WeightsFormatError(
                f"The expression encoder {str(name)!r} is damaged or of another kind: {error}"
            ) from error
        mean, std = _normalisation(source, kwargs)
        return cls(model, mean, std, crop=crop, layer=layer, id=_encoder_id(name))

    @property
    def dim(self) -> int:
        """Numbers per patch."""
        return self.model.config.hidden_size

    @property
    def patches(self) -> int:
        """Patches per picture."""
        return (self.size // _int(self.model.config.patch_size)) ** 2

    @property
    def device(self) -> torch.device:
        """Where the tower is."""
        return self.model.device

    def to(self, *args: Any, **kwargs: Any) -> "ExpressionEncoder":
        """Move or cast the tower, as `torch.nn.Module.to`."""
        self.model.to(*args, **kwargs)
        return self

    def encode(
        self, crops: Sequence[Image.Image] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Encode expression crops.

        Args:
            crops: RGB pictures, or a float tensor in [0, 1]; of any size, cut by `self.crop`.

        Returns:
            Patch features, without the class token, on the tower's device and in its dtype. With a teacher
            one row more: its blendshapes, padded with zeros (a compound embedding, as in DiffSFSR; that both
            travel as one tensor is our choice).

        Raises:
            InputError: no pictures, or a tensor of another shape or type.
        """
        features = self.patch_features(crops)
        if self.teacher is None:
            return features
        pictures = to_bytes(crops) if isinstance(crops, Tensor) else crops
        codes = torch.from_numpy(self.teacher.estimate(pictures)).to(features)
        padded = functional.pad(codes, (0, features.shape[-1] - codes.shape[-1]))
        return torch.cat([features, padded[:, None]], dim=1)

    def patch_features(
        self, crops: Sequence[Image.Image] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Patch features alone; otherwise as `encode`. Gradients reach a tensor input."""
        if isinstance(crops, Tensor):
            pixels = self.preprocess(crops)
        elif crops:
            pixels = torch.cat([self.preprocess(_to_tensor(crop)) for crop in crops])
        else:
            raise InputError("No expression crops to encode: got an empty list.")
        return self.hidden(pixels)[:, 1:]

    def hidden(self, pixels: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch tokens dim"]:
        """Features of pictures from `preprocess`, class token first; no layer above `layer` is computed."""
        tower = self.model.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for layer in tower.encoder.layers[: self.layer % (len(tower.encoder.layers) + 1)]:
            hidden = layer(hidden, None)
        return hidden

    def preprocess(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 size size"]:
        """Resize to the tower's size (bicubic, antialiased) and normalise; differentiable."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"Expression crops must be a float tensor (batch, 3, height, width) in [0, 1], got "
                f"{tuple(images.shape)} of {images.dtype}."
            )
        images = images.to(self.device, torch.float32)
        if images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (_per_channel(values, images.device) for values in (self.mean, self.std))
        return ((images - mean) / std).to(self.model.dtype)


def _int(value: Any) -> int:
    """Sides in transformers' configs are declared as numbers or pairs; CLIP's are numbers."""
    if isinstance(value, int):
        return value
    raise WeightsFormatError(f"An expression encoder needs square pictures and patches, got {value!r}.")


@functools.cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Float[Tensor, "3 1 1"]:
    """Three numbers on a device; kept, since to copy them there is to wait for the device."""
    return torch.tensor(values, device=device).view(3, 1, 1)


def _to_tensor(picture: Image.Image) -> Float[Tensor, "1 3 height width"]:
    array = np.array(picture.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255.0


def _encoder_id(name: str | Path) -> str:
    if Path(name).is_dir():
        path = Path(name).resolve()
        return MICRO if path == (packaged_weights() / MICRO / "expression_encoder").resolve() else path.name
    return str(name)


def _normalisation(source: str | Path, kwargs: dict[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    path = _preprocessor_file(source, kwargs)
    if path is None:
        return CLIP_MEAN, CLIP_STD
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        mean, std = settings["image_mean"], settings["image_std"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsFormatError(
            f"{path} is damaged: expected JSON with image_mean and image_std."
        ) from error
    return mean, std


def _preprocessor_file(source: str | Path, kwargs: dict[str, Any]) -> Path | None:
    subfolder = kwargs.get("subfolder") or ""
    if Path(source).is_dir():
        path = Path(source) / subfolder / "preprocessor_config.json"
        return path if path.is_file() else None
    options = {
        key: kwargs[key] for key in ("revision", "cache_dir", "token", "local_files_only") if key in kwargs
    }
    try:
        return Path(
            hf_hub_download(str(source), "preprocessor_config.json", subfolder=subfolder or None, **options)
        )
    except EntryNotFoundError:
        return None
