"""The crop that an expression is read from: the pre-processing of one expression encoder, as a record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.config import from_mapping, to_mapping
from emoji_adapter.errors import InputError
from emoji_adapter.faces.geometry import align, mask_face
from emoji_adapter.types import Face


@dataclass(frozen=True)
class ExpressionCrop:
    """How an expression crop is cut: aligned by five landmarks, everything outside the face oval grey.

    It travels in the adapter's metadata, since an adapter only understands crops like those it was trained
    on.
    """

    size: int = 112
    """Side of the crop in pixels."""
    zoom: float = 0.9
    """Scale of the face in the crop; 1 is ArcFace's alignment, which cuts off the chin (our choice)."""
    rise: float = 0.14
    """Share of `size` by which the face is moved up, for brows and an open jaw to fit in (our choice)."""
    mask: bool = True
    """Whether all outside the face oval is grey: hair and background tell who, not which expression."""

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024:
            raise InputError(f"ExpressionCrop.size must be 16 to 1024 pixels, got {self.size}.")
        if not 0.2 <= self.zoom <= 2.0:
            raise InputError(f"ExpressionCrop.zoom must lie in [0.2, 2], got {self.zoom}.")
        if not -0.5 <= self.rise <= 0.5:
            raise InputError(f"ExpressionCrop.rise must lie in [-0.5, 0.5], got {self.rise}.")

    def crop(self, image: Image.Image | np.ndarray, face: Face) -> Image.Image:
        """Cut the expression crop of `face` out of the picture it was found in (RGB, uint8 if an array)."""
        aligned = align(np.asarray(image), face.landmarks, self.size, self.zoom, self.rise)
        return Image.fromarray(mask_face(aligned, self.zoom, self.rise) if self.mask else aligned)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dict for JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ExpressionCrop":
        """Rebuild the record.

        Raises:
            InputError: a key that this version does not know, or a value of a wrong type.
        """
        return from_mapping(cls, record, name="expression_crop")
