"""What a real face does, by MediaPipe: 52 blendshapes and dense landmarks."""

import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.errors import MissingExtraError, WeightsNotFoundError
from emoji_adapter.metrics.landmarks import landmark_ratios

BLENDSHAPES, POINTS = 52, 478


class FaceMesh:
    """MediaPipe's face landmarker; the largest or first face counts. It has no blendshape of the tongue.

    Args:
        model: `face_landmarker.task`, from MediaPipe's page of models.

    Raises:
        MissingExtraError: MediaPipe is not installed.
        WeightsNotFoundError: there is no such file.
    """

    def __init__(self, model: str | Path):
        if not Path(model).is_file():
            raise WeightsNotFoundError(
                f"There is no face landmarker {model}. Download face_landmarker.task from MediaPipe's models."
            )
        try:
            self._mediapipe: Any = importlib.import_module("mediapipe")
            tasks: Any = importlib.import_module("mediapipe.tasks.python")
            vision: Any = importlib.import_module("mediapipe.tasks.python.vision")
        except ImportError as error:
            raise MissingExtraError(
                "MediaPipe, which reads blendshapes, is not installed: pip install 'emoji_adapter[eval]'."
            ) from error
        options = vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)), output_face_blendshapes=True
        )
        self._landmarker = vision.FaceLandmarker.create_from_options(options)
        self.fingerprint = hashlib.sha256(Path(model).read_bytes()).hexdigest()[:16]

    def read(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Blendshapes (52,) in MediaPipe's order and landmark ratios (5,); NaN without a face."""
        pixels = np.ascontiguousarray(image.convert("RGB"))
        mediapipe = self._mediapipe
        found = self._landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
        if not found.face_blendshapes:
            return np.full(BLENDSHAPES, np.nan), np.full(5, np.nan)
        shapes = np.array([shape.score for shape in found.face_blendshapes[0]], dtype=np.float64)
        points = np.array([(point.x, point.y) for point in found.face_landmarks[0]], dtype=np.float64)
        return shapes, landmark_ratios((points * image.size)[None])[0]
