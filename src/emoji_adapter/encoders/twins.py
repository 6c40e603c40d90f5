"""Recogniser and blendshape teacher with gradients: what losses on pictures look through.

Both are the very networks that conditions and filters use (never a judge): twins of their ONNX files, frozen,
on batches of tensors, aligned by given landmarks.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from emoji_adapter.config import packaged_part
from emoji_adapter.encoders.blendshapes import BLENDSHAPES, MICRO
from emoji_adapter.encoders.onnx_twin import OnnxTwin
from emoji_adapter.errors import WeightsFormatError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import align_batch


class RecogniserTwin(nn.Module):
    """The recogniser of a face pack; cosines with insightface's own embeddings are 1 but for 1e-4.

    Attributes:
        size: side of its aligned crops in pixels.

    Args:
        analyzer: the pack. Its recogniser says how pixels are normalised.
    """

    def __init__(self, analyzer: FaceAnalyzer):
        super().__init__()
        recogniser = analyzer.recogniser
        self.network = OnnxTwin(recogniser.model_file)
        self.size: int = recogniser.input_size[0]
        self._mean, self._std = recogniser.input_mean / 255, recogniser.input_std / 255

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], landmarks: Float[Tensor, "batch 5 2"]
    ) -> Float[Tensor, "batch 512"]:
        """Unit embeddings of the faces in pictures; gradients reach the pictures.

        Args:
            images: RGB in [0, 1].
            landmarks: in pixels of `images`, insightface's order; nothing is detected.
        """
        return self.embed(align_batch(images, landmarks, self.size))

    def embed(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 512"]:
        """Unit embeddings of crops that are aligned already, RGB in [0, 1]."""
        return normalize(self.network((crops - self._mean) / self._std), dim=1)


class BlendshapeTwin(nn.Module):
    """The blendshape teacher, see `encoders.blendshapes.BlendshapeTeacher`.

    Args:
        path: an .onnx file, or "micro" for the embedded one (drawn faces).

    Raises:
        WeightsNotFoundError, WeightsFormatError: as `OnnxTwin`; or the file holds no such teacher.
    """

    def __init__(self, path: str | Path = MICRO):
        super().__init__()
        file = packaged_part("teacher/blendshapes.onnx") if str(path) == MICRO else Path(path)
        self.network = OnnxTwin(file)
        self.size = _side(self.network.input_shape, file)

    def forward(self, crops: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, f"batch {BLENDSHAPES}"]:
        """Blendshapes in [0, 1], ARKit's order, of expression crops in [0, 1]; gradients reach the crops."""
        if crops.shape[-1] != self.size:
            crops = interpolate(crops, (self.size, self.size), mode="bilinear", antialias=True)
        return self.network(crops).clamp(0, 1)


def _side(shape: Sequence[int | None], file: Path) -> int:
    if len(shape) == 4 and shape[1] == 3 and shape[2] is not None and shape[2] == shape[3]:
        return shape[2]
    raise WeightsFormatError(
        f"{file} takes inputs of shape {tuple(shape)}, expected (batch, 3, size, size) with a fixed size."
    )
