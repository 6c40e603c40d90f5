"""What looks at the estimate in ICA: who it is and what the face does, by networks that never score."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from emoji_adapter.data.dataset import Rows
from emoji_adapter.data.manifest import PreparedMeta
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.encoders.twins import BlendshapeTwin, RecogniserTwin
from emoji_adapter.errors import DataError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.pixels import from_bytes
from emoji_adapter.training.feedback_config import FeedbackConfig
from emoji_adapter.training.ica_config import ICAConfig


@dataclass(frozen=True)
class Critics:
    """Frozen networks with gradients towards the picture.

    Attributes:
        recogniser: twin of the one that made the set's identity embeddings; None if no term asks who it is.
        teacher: twin of the one that made its blendshapes; None compares patch features instead.
    """

    recogniser: RecogniserTwin | None
    teacher: BlendshapeTwin | None

    @classmethod
    def load(cls, config: ICAConfig | FeedbackConfig, meta: PreparedMeta, device: torch.device) -> "Critics":
        """Load what the settings name.

        Raises:
            DataError: the set was prepared with another face pack or teacher.
            WeightsNotFoundError, WeightsFormatError: a network is missing, or has no twin in torch.
        """
        recogniser = teacher = None
        if config.sees_identity:
            analyzer = FaceAnalyzer(config.pack, threads=1)
            _check_same(f"{config.name}.pack", meta.identity_encoder, analyzer.pack_id)
            recogniser = RecogniserTwin(analyzer).to(device)
        if config.sees_blendshapes:
            _check_same(f"{config.name}.teacher", meta.teacher, config.teacher)
            teacher = BlendshapeTwin(config.teacher).to(device)
        return cls(recogniser, teacher)

    def expression_distance(
        self,
        encoder: ExpressionEncoder,
        images: Float[Tensor, "B 3 H W"],
        landmarks: Float[Tensor, "B 5 2"],
        rows: Rows,
    ) -> Float[Tensor, " B"]:
        """How far each estimate's expression is from its template's.

        Mean squared difference of the 52 blendshapes, or 1 - cosine of patch features, patch by patch; both
        on the aligned, masked crop. Our choice: squared, for of what x_t does not tell yet the estimate
        shows the mean, where absolute differences would ask for the median, a face at rest.

        Args:
            encoder: whose crops are cut, and whose features are compared.
            images: decoded estimates, RGB in [0, 1].
            landmarks: the targets', in pixels of `images`.
            rows: the templates, one an image.
        """
        crops = crop_batch(images, landmarks, encoder.crop)
        if self.teacher is not None:
            return (self.teacher(crops) - rows.blendshapes.float()).square().mean(1)
        with torch.no_grad():
            wanted = encoder.patch_features(from_bytes(rows.crops))
        return (1 - cosine_similarity(encoder.patch_features(crops).float(), wanted.float(), dim=-1)).mean(1)


def photo_distance(embeds: Float[Tensor, "B d"], rows: Rows) -> Float[Tensor, " B"]:
    """1 - cosine of the face pack's embeddings, of unit length, and those of the rows' identity photos."""
    return 1 - (embeds * normalize(rows.identity.float(), dim=1)).sum(1)


def _check_same(name: str, expected: str, got: str) -> None:
    if expected != got:
        raise DataError(
            f"The set was prepared with {expected!r}, but {name} is {got!r}: what one network made "
            f"cannot be compared with what another one sees. Set {name} to it, or prepare again."
        )
