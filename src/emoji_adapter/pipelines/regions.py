"""Where in the picture each of several people acts: masks, and how they come to the size of the latents."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from emoji_adapter.errors import InputError, NoFaceError
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.regions import MARGIN, masks_of_faces
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.pipelines.pairing import rows_of

PROPORTIONS = 0.02
"""How far the proportions of masks and picture may differ, as a share (our choice)."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Where people are, and which of them have an identity and an expression.

    Attributes:
        masks: `[prompts, people, height, width]` in [0, 1], `prompts` being 1 where all have the same.
        identity: `[prompts, people]`, 1 where an identity is given, else 0.
        expression: likewise.
    """

    masks: Tensor
    identity: Tensor
    expression: Tensor

    def by_person(self, kv: dict[str, LayerKV], prompts: int, images_per_prompt: int) -> dict[str, LayerKV]:
        """Keys and values with the people of a picture in one row, and their masks.

        Args:
            kv: of `rows * people` rows, a picture's people one after the other; or of twice as many.
            prompts: number of prompts.
            images_per_prompt: pictures made of each.
        """
        masks, *acts = (
            rows_of(x, prompts, images_per_prompt, "people")
            for x in (self.masks, self.identity, self.expression)
        )
        if not kv:
            return kv
        first = next(part for parts in kv.values() for part in parts if part is not None)
        # Negative rows may see something too; processors take the last rows, as many as they need.
        masks = masks.repeat(2, 1, 1, 1).to(first.device)
        identity, expression = (act.repeat(2, 1) for act in acts)
        return {
            layer: LayerKV(
                _joined(parts.k_identity, None, masks),
                _joined(parts.v_identity, identity, masks),
                _joined(parts.k_expression, None, masks),
                _joined(parts.v_expression, expression, masks),
                masks,
            )
            for layer, parts in kv.items()
        }


def _joined(part: Tensor | None, acts: Tensor | None, masks: Tensor) -> Tensor | None:
    """`[rows * people, ..., tokens, width]` as `[rows, ..., people * tokens, width]`; 0: does not act."""
    if part is None:
        return None
    part = part.unflatten(0, (-1, masks.shape[1]))
    if acts is not None:
        part = part * acts[-len(part) :].view(-1, masks.shape[1], *[1] * (part.ndim - 2)).to(part)
    return part.movedim(1, -3).flatten(-3, -2)


class RegionsMixin:
    """Masks of people, brought to the size of the latents as soon as the stock pipeline has made these."""

    _kv_of_people: dict[str, LayerKV] | None = None

    def face_masks(self, picture: ImageSource, margin: float = MARGIN) -> Tensor:
        """Masks `[faces, H, W]` of the faces in a picture, from left to right: 1 inside, 0 outside.

        Draw first without faces; give each mask to a `Person`, and draw again with the same noise.

        Args:
            picture: usually the result of a first pass.
            margin: how far a region reaches beyond the face's box, in sizes of the box; see `masks_of_faces`.

        Raises:
            NoFaceError: no face was found.
        """
        image = load_image(picture)
        faces = self.face_encoders.analyzer.detect(image)  # type: ignore[attr-defined]
        if not faces:
            raise NoFaceError(
                f"No face was found in the picture ({image.width}x{image.height} pixels), so there is no "
                "place for a person. Draw it with another seed or prompt, or draw masks by hand."
            )
        return torch.from_numpy(masks_of_faces(image.size, faces, margin))

    def prepare_latents(self, *args: Any, **kwargs: Any) -> Any:
        """As in the stock pipeline; then the masks of people are brought to the size of the latents."""
        made = super().prepare_latents(*args, **kwargs)  # type: ignore[misc]
        if self._kv_of_people is not None:
            latents = made[0] if isinstance(made, tuple) else made
            _fit(self._kv_of_people, *latents.shape[-2:])
        return made

    @contextlib.contextmanager
    def _with_people(self, kv: dict[str, LayerKV]) -> Iterator[None]:
        """Calls of the stock pipeline inside make pictures with these keys and values."""
        self._kv_of_people = kv
        try:
            yield
        finally:
            self._kv_of_people = None


def _fit(kv: dict[str, LayerKV], height: int, width: int) -> None:
    """Brings the masks, which all layers share, to a size; in place."""
    masks = next((parts.masks for parts in kv.values()), None)
    if masks is None:
        return
    found = masks.shape[-2] / masks.shape[-1]
    if abs(found / (height / width) - 1) > PROPORTIONS:
        raise InputError(
            f"The masks of people measure {masks.shape[-1]}x{masks.shape[-2]} (width x height), the latents "
            f"{width}x{height}: other proportions. Give masks of the size of the picture."
        )
    fitted = adaptive_avg_pool2d(masks, (height, width))
    for layer, parts in kv.items():
        kv[layer] = parts._replace(masks=fitted)


def stacked_masks(masks: list[list[Any]]) -> Tensor:
    """Masks `[prompts, people, height, width]`, float32.

    Raises:
        InputError: one is no mask, is empty, or differs in size.
    """
    read = [[_read(mask, number) for number, mask in enumerate(group)] for group in masks]
    sizes = {tuple(mask.shape) for group in read for mask in group}
    if len(sizes) != 1:
        named = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise InputError(f"The masks of people differ in size ({named}). Give all of the picture's size.")
    return torch.stack([torch.stack(group) for group in read])


def _read(mask: Any, number: int) -> Tensor:
    """One mask `[height, width]` in [0, 1]."""
    if isinstance(mask, Tensor | np.ndarray):
        found = torch.as_tensor(mask)
        found = found[0] if found.ndim == 3 and len(found) == 1 else found
        scale = 255 if found.dtype == torch.uint8 else 1
    else:
        found, scale = torch.from_numpy(np.array(_grey(mask))), 255
    found = found.float().cpu() / scale
    if found.ndim != 2 or not found.numel() or not bool(((found >= 0) & (found <= 1)).all()):
        raise InputError(
            f"The mask of person {number} is no picture, array or tensor [height, width] with numbers in "
            f"[0, 1] (8 bits: to 255); got the shape {list(found.shape)}."
        )
    if not found.any():
        raise InputError(
            f"The mask of person {number} is 0 everywhere. Leave the person out, or mark a place."
        )
    return found


def _grey(mask: ImageSource) -> Image.Image:
    return load_image(mask).convert("L")
