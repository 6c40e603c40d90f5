"""The judges of real checkpoints: a recogniser, MediaPipe and CLIP, the last two where they are given."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.acceptance.clip_score import ClipScore
from emoji_adapter.acceptance.face_mesh import FaceMesh
from emoji_adapter.acceptance.recogniser import JudgeRecogniser
from emoji_adapter.metrics.records import Readings


class PhotoJudges:
    """Judges of photographs; what is not given is not measured.

    Args:
        recogniser: who it is, and how many faces there are.
        mesh: what the face does.
        clip: whether the prompt is obeyed.
    """

    def __init__(
        self, recogniser: JudgeRecogniser, mesh: FaceMesh | None = None, clip: ClipScore | None = None
    ):
        self._recogniser, self._mesh, self._clip = recogniser, mesh, clip

    @property
    def name(self) -> str:
        """The networks in use."""
        others = ["MediaPipe"] if self._mesh else []
        return ", ".join([self._recogniser.name, *others, *([self._clip.name] if self._clip else [])])

    @property
    def fingerprint(self) -> str:
        """Changes with the networks."""
        parts = [self._recogniser.fingerprint, self._mesh and self._mesh.fingerprint, self.name]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def read(self, images: Sequence[Image.Image], *, count_faces: bool = True) -> Readings:
        """Judge pictures of any size; where no face is found, identity and expression are NaN."""
        seen: dict[int, tuple[int, np.ndarray | None]] = {}
        for image in images:
            if id(image) not in seen:  # a photo stands in many cells
                seen[id(image)] = self._recogniser.read(image)
        found = [seen[id(image)] for image in images]
        width = next((len(embedding) for _, embedding in found if embedding is not None), 1)
        nobody = np.full(width, np.nan)
        columns: dict[str, Any] = {}
        if self._mesh is not None:
            shapes, ratios = zip(*map(self._mesh.read, images), strict=True)
            columns |= {"blendshapes": np.stack(shapes), "ratios": np.stack(ratios)}
        if self._clip is not None:
            columns["clip"] = self._clip.images(images)
        return Readings(
            embedding=np.stack([nobody if embedding is None else embedding for _, embedding in found]),
            faces=np.array([count if count_faces else 1 for count, _ in found]),
            **columns,
        )

    def texts(self, prompts: Sequence[str]) -> np.ndarray | None:
        """Embeddings of prompts by CLIP."""
        return None if self._clip is None else self._clip.texts(prompts)

    def errors(self, seed: int) -> dict[str, Any]:
        """Nobody knows the truth of photographs."""
        return {}
