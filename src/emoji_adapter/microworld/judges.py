"""The judges of the micro-world at work: pictures in, readings out, and how far to trust them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emoji_adapter.config import packaged_part
from emoji_adapter.data.latents import weights_hash
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.pixels import from_bytes
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.metrics.identity import cosine
from emoji_adapter.metrics.records import Readings
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.networks.judges import ExpressionJudge, IdentityJudge, SceneJudge, skin_of
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

_BATCH = 64


class MicroJudges:
    """Identity, expression and scene judge, and the face detector that counts faces.

    Args:
        folder: where the three judges lie; the packaged ones by default.
        analyzer: counts faces; the embedded pack by default.
        device: where the judges work.
    """

    name = "micro"

    def __init__(
        self,
        folder: str | Path | None = None,
        analyzer: FaceAnalyzer | None = None,
        device: torch.device | str = "cpu",
    ):
        folder = packaged_part("judges") if folder is None else folder
        self.device = torch.device(device)
        self.identity = IdentityJudge.load(folder, device)
        self.expression = ExpressionJudge.load(folder, device)
        self.scene = SceneJudge.load(folder, device)
        self.analyzer = analyzer or FaceAnalyzer(threads=1)

    @property
    def fingerprint(self) -> str:
        """Hash of the judges' weights and of the detector."""
        return "-".join(
            [*map(weights_hash, (self.identity, self.expression, self.scene)), self.analyzer.fingerprint]
        )

    def texts(self, prompts: Sequence[str]) -> None:
        """Styles and backgrounds are read from the pictures; there is no image-text model."""

    def read(self, images: Sequence[Image.Image], *, count_faces: bool = True) -> Readings:
        """Judge pictures.

        Args:
            images: RGB, all of one size.
            count_faces: run the detector; without it every picture counts as one face.
        """
        parts = [
            self._read(np.stack([np.asarray(image) for image in images[start : start + _BATCH]]))
            for start in range(0, len(images), _BATCH)
        ]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        faces = self._count(images) if count_faces else [1] * len(images)
        return Readings(**columns, faces=np.array(faces))

    def _count(self, images: Sequence[Image.Image]) -> list[int]:
        def count(image: Image.Image) -> int:
            return len(self.analyzer.detect(image))

        first = [count(image) for image in images[:1]]  # loads the detector before threads share it
        with ThreadPoolExecutor() as pool:
            return first + list(pool.map(count, images[1:]))

    @torch.inference_mode()
    def _read(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        images = from_bytes(torch.from_numpy(batch).to(self.device))
        scene = self.scene(images)
        return {
            "embedding": self.identity(images).cpu().numpy(),
            "blendshapes": self.expression(images).clamp(0, 1).cpu().numpy(),
            "style": _names(scene.style, STYLES),
            "background": _names(scene.background, BACKGROUNDS),
            "accessory": _names(scene.accessory, ACCESSORIES),
            "skin": scene.skin.cpu().numpy(),
            "pose": scene.pose.cpu().numpy(),
        }

    def errors(self, seed: int, count: int = 240, *, size: int = 128) -> dict[str, Any]:
        """Measure the judges' own errors on fresh renders of the test split.

        Args:
            seed: of the renders.
            count: people drawn, each twice: two scenes and two expressions.
            size: side of the renders in pixels.

        Returns:
            Figures over all, `by_style` and `by_skin` (terciles of the skin tone): `id_same` and `id_other`,
            cosines of two pictures of one person and of two people; `id_rank1`, how often one's other picture
            is the nearest of all; `exp`, mean absolute error; `style`, `background`, `accessory`, shares
            right; `skin`, `pose`, mean absolute errors.
        """
        first = pictures("test", count, seed)
        second = pictures("test", count, seed + 1).replace(identity=first.identity)
        drawn = [draw(parameters, size, self.device) for parameters in (first, second)]
        readings = [self.read([Image.fromarray(p) for p in batch], count_faces=False) for batch in drawn]
        columns = _error_columns(first, readings[0], readings[1])
        tone = skin_of(first)[:, 0].numpy()
        edges = np.quantile(tone, (1 / 3, 2 / 3))
        styles, terciles = np.array(STYLES)[first.style.numpy()], np.digitize(tone, edges)
        return {
            **_means(columns, np.ones(count, bool)),
            "n": count,
            "by_style": {style: _means(columns, styles == style) for style in STYLES},
            "by_skin": {
                name: _means(columns, terciles == place)
                for place, name in enumerate(("light", "medium", "dark"))
            },
        }


def _error_columns(truth: FaceParameters, first: Readings, second: Readings) -> dict[str, np.ndarray]:
    cosines = first.embedding @ second.embedding.T
    n = len(cosines)
    return {
        "id_same": cosine(first.embedding, second.embedding),
        "id_other": (cosines.sum(axis=1) - np.diag(cosines)) / (n - 1),
        "id_rank1": cosines.argmax(axis=1) == np.arange(n),
        "exp": blendshape_distance(first.blendshapes, truth.expression.numpy()),
        "style": first.style == np.array(STYLES)[truth.style.numpy()],
        "background": first.background == np.array(BACKGROUNDS)[truth.background.numpy()],
        "accessory": first.accessory == np.array(ACCESSORIES)[truth.accessory.numpy()],
        "skin": np.abs(first.skin - skin_of(truth).numpy()).mean(axis=1),
        "pose": np.abs(first.pose - truth.pose[:, :3].numpy()).mean(axis=1),
    }


def _means(columns: dict[str, np.ndarray], where: np.ndarray) -> dict[str, float]:
    return {name: float(values[where].mean()) for name, values in columns.items()} if where.any() else {}


def _names(logits: Tensor, vocabulary: tuple[str, ...]) -> np.ndarray:
    return np.array(vocabulary)[logits.argmax(dim=-1).cpu().numpy()]
