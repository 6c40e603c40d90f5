"""From pictures to embeddings, with the encoders that an adapter names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.encoders.identity import IdentityEncoder
from emoji_adapter.errors import AdapterMismatchError, WeightsNotFoundError
from emoji_adapter.faces.analysis import FaceAnalyzer, FacePolicy
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.geometry import align
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.packs import how_to_get, name_of, same_pack
from emoji_adapter.faces.recogniser import Recogniser
from emoji_adapter.pipelines.placement import at_work


class FaceEncoders:
    """The face pack, the recogniser beside it and the expression encoder that an adapter was trained with.

    Each is loaded at its first use.

    Args:
        config: configuration of the adapter, which names them.
        analyzer: used instead of the pack that is named; it must be the same pack.
        expression_encoder: used instead of the encoder that is named.
        features_encoder: used instead of the CLIP tower that is named for identity features.
        second_recogniser: used instead of the second recogniser that is named; it must be the same network.

    Raises:
        AdapterMismatchError: the analyzer's pack, or the second recogniser, is another than the adapter's.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        analyzer: FaceAnalyzer | None = None,
        expression_encoder: ExpressionEncoder | None = None,
        features_encoder: ExpressionEncoder | None = None,
        second_recogniser: Recogniser | None = None,
    ):
        self._config = config
        self._second = None if second_recogniser is None else self._checked_second(second_recogniser)
        self._analyzer = None if analyzer is None else self._checked(analyzer)
        self._expression_encoder = expression_encoder
        self._features_encoder = features_encoder

    @property
    def analyzer(self) -> FaceAnalyzer:
        """Detector and recogniser."""
        if self._analyzer is None:
            self._analyzer = self._named()
        return self._analyzer

    @property
    def expression_encoder(self) -> ExpressionEncoder:
        """Encoder of expression crops, with the teacher that the adapter listens to."""
        if self._expression_encoder is None:
            record = self._config["expression_crop"]
            crop = None if record is None else ExpressionCrop.from_dict(record)
            self._expression_encoder = ExpressionEncoder.from_pretrained(
                self._config["expression_encoder"], crop=crop
            )
        teacher = self._config["expression_teacher"]
        if teacher is not None and self._expression_encoder.teacher is None:
            self._expression_encoder.teacher = BlendshapeTeacher(teacher)
        return self._expression_encoder

    def identity(self, pictures: Sequence[ImageSource], policy: FacePolicy) -> Tensor:
        """Embedding `[512]` of one person, of unit length; of two recognisers two, `[1024]`."""
        return IdentityEncoder(self.analyzer, self.second_recogniser).encode(pictures, policy)

    @property
    def second_recogniser(self) -> Recogniser | None:
        """The recogniser that the adapter listens to beside the pack's; None: it has none."""
        named = self._config["second_recogniser"]
        if self._second is None and named is not None:
            self._second = Recogniser(named, dim=self._config["identity_dim"])
        return self._second

    @property
    def features_encoder(self) -> ExpressionEncoder:
        """CLIP tower that reads identity features."""
        if self._features_encoder is None:
            self._features_encoder = ExpressionEncoder.from_pretrained(
                self._config["identity_features_encoder"]
            )
        return self._features_encoder

    @torch.no_grad()
    def identity_features(self, picture: ImageSource, policy: FacePolicy, device: torch.device) -> Tensor:
        """Features `[2, patches, dim]`, class token first, of an empty picture and of an aligned face.

        As in IP-Adapter-FaceID-Plus: the face is cut by insightface's alignment, nothing masked; the empty
        picture is zeros after the normalisation.
        """
        image = load_image(picture)
        face = self.analyzer.face(image, policy, name="identity_image")
        encoder = self.features_encoder
        aligned = torch.from_numpy(align(np.asarray(image), face.landmarks, encoder.size))
        with at_work(encoder, device, leave=True):
            pixels = encoder.preprocess(aligned.permute(2, 0, 1)[None].float() / 255)
            return encoder.hidden(torch.cat([torch.zeros_like(pixels), pixels]))

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

    def _checked_second(self, recogniser: Recogniser) -> Recogniser:
        trained = self._config["second_recogniser"]
        if trained is None or not same_pack(trained, recogniser.id):
            wanted = "without a second recogniser" if trained is None else f"with the recogniser {trained!r}"
            raise AdapterMismatchError(
                f"This adapter was trained {wanted}, got {recogniser.id!r}: their embeddings mean different "
                "things. " + ("Leave it out." if trained is None else "Give the one that the adapter names.")
            )
        return recogniser

    @torch.no_grad()
    def expression(self, picture: ImageSource, policy: FacePolicy, device: torch.device) -> Tensor:
        """What the encoder says of the face in an expression picture, `[patches, dim]`, on `device`.

        The encoder is there only meanwhile, and then again where it was.
        """
        if self._config["expression_dim"] is None:
            raise AdapterMismatchError(
                "This adapter understands no pictures of expressions"
                + (
                    f"; pass expression_embeds: codes of {self._config['blendshapes']} numbers "
                    f"({self._config['blendshape_set']})."
                    if self._config["blendshapes"]
                    else ": it has no expression branch. Load one that has."
                )
            )
        image = load_image(picture)
        face = self.analyzer.face(image, policy, name="expression")
        encoder = self.expression_encoder
        with at_work(encoder, device, leave=True):
            return encoder.encode([encoder.crop.crop(image, face)])[0]
