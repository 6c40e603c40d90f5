"""From pictures to embeddings, with the encoders that an adapter names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.encoders.identity import IdentityEncoder
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.faces.analysis import FaceAnalyzer, FacePolicy
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.pipelines.placement import at_work


class FaceEncoders:
    """The face pack and the expression encoder that an adapter was trained with.

    Each is loaded at its first use.

    Args:
        config: configuration of the adapter, which names both.
        analyzer: used instead of the pack that is named; it must be the same pack.
        expression_encoder: used instead of the encoder that is named.

    Raises:
        AdapterMismatchError: the analyzer's pack is another than the adapter's.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        analyzer: FaceAnalyzer | None = None,
        expression_encoder: ExpressionEncoder | None = None,
    ):
        if analyzer is not None and analyzer.pack_id != config["identity_encoder"]:
            raise AdapterMismatchError(
                f"This adapter was trained with the face pack {config['identity_encoder']!r}, got "
                f"{analyzer.pack_id!r}. Embeddings of different packs mean different things; use the pack "
                "that the adapter names."
            )
        self._config = config
        self._analyzer = analyzer
        self._expression_encoder = expression_encoder

    @property
    def analyzer(self) -> FaceAnalyzer:
        """Detector and recogniser."""
        if self._analyzer is None:
            self._analyzer = FaceAnalyzer(self._config["identity_encoder"])
        return self._analyzer

    @property
    def expression_encoder(self) -> ExpressionEncoder:
        """Encoder of expression crops."""
        if self._expression_encoder is None:
            record = self._config["expression_crop"]
            crop = None if record is None else ExpressionCrop.from_dict(record)
            self._expression_encoder = ExpressionEncoder.from_pretrained(
                self._config["expression_encoder"], crop=crop
            )
        return self._expression_encoder

    def identity(self, pictures: Sequence[ImageSource], policy: FacePolicy) -> Tensor:
        """Embedding `[512]` of one person, of unit length."""
        return IdentityEncoder(self.analyzer).encode(pictures, policy)

    @torch.no_grad()
    def expression(self, picture: ImageSource, policy: FacePolicy, device: torch.device) -> Tensor:
        """Patch features `[patches, dim]` of the face in an expression picture, on `device`.

        The encoder is there only meanwhile, and then again where it was.
        """
        image = load_image(picture)
        face = self.analyzer.face(image, policy, name="expression")
        encoder = self.expression_encoder
        with at_work(encoder, device, leave=True):
            return encoder.encode([encoder.crop.crop(image, face)])[0]
