"""From pictures to embeddings, with the encoders that an adapter names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.encoders.identity import IdentityEncoder
from emoji_adapter.errors import AdapterMismatchError, WeightsNotFoundError
from emoji_adapter.faces.analysis import FaceAnalyzer, FacePolicy
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.packs import how_to_get, name_of, same_pack


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
        self._config = config
        self._analyzer = None if analyzer is None else self._checked(analyzer)
        self._expression_encoder = expression_encoder

    @property
    def analyzer(self) -> FaceAnalyzer:
        """Detector and recogniser."""
        if self._analyzer is None:
            self._analyzer = self._named()
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

    def _named(self) -> FaceAnalyzer:
        """The pack that the adapter names, if it is here."""
        trained = self._config["identity_encoder"]
        try:
            return self._checked(FaceAnalyzer(name_of(trained)))
        except WeightsNotFoundError as error:
            raise WeightsNotFoundError(
                f"This adapter was trained with the face pack {trained!r}, which is not here. "
                f"{how_to_get(trained)}"
            ) from error

    def _checked(self, analyzer: FaceAnalyzer) -> FaceAnalyzer:
        trained = self._config["identity_encoder"]
        if not same_pack(trained, analyzer.pack_id):
            raise AdapterMismatchError(
                f"This adapter was trained with the face pack {trained!r}, got {analyzer.pack_id!r}: their "
                f"embeddings mean different things. {how_to_get(trained)}"
            )
        return analyzer

    @torch.no_grad()
    def expression(self, picture: ImageSource, policy: FacePolicy, device: torch.device) -> Tensor:
        """Patch features `[patches, dim]` of the face in an expression picture."""
        image = load_image(picture)
        face = self.analyzer.face(image, policy, name="expression")
        encoder = self.expression_encoder.to(device)
        return encoder.encode([encoder.crop.crop(image, face)])[0]
