"""The expression teacher: ARKit's 52 blendshapes of an expression crop, by an ONNX network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.providers import inference_session

MICRO = "micro"
BLENDSHAPES = 52
"""Numbers in ARKit's order."""

_BATCH = 64


class BlendshapeTeacher:
    """Estimates what a face does, as 52 numbers in [0, 1].

    The network takes NCHW float32, RGB in [0, 1], crops of `ExpressionCrop()` (aligned, masked), and gives
    (B, 52). It filters and supervises; it never scores.

    Args:
        path: an .onnx file, or "micro" for the embedded one (drawn faces).
        providers: execution providers of onnxruntime; None takes CUDA where there is one.
        threads: threads of onnxruntime, see `faces.providers.session_options`. Set 1 in worker processes.

    Raises:
        WeightsNotFoundError: there is no such file.
        WeightsFormatError: the file is damaged or holds another kind of network.
    """

    def __init__(
        self,
        path: str | Path = MICRO,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        file = packaged_part("teacher/blendshapes.onnx") if str(path) == MICRO else Path(path)
        if not file.is_file():
            raise WeightsNotFoundError(
                f"There is no blendshape teacher {file}. Expected an .onnx file or {MICRO!r}."
            )
        try:
            self._session = inference_session(file, providers, threads)
        except Exception as error:
            raise WeightsFormatError(f"{file} cannot be loaded as an ONNX network: {error}") from error
        self._input = self._session.get_inputs()[0].name
        shape, output = self._session.get_inputs()[0].shape, self._session.get_outputs()[0].shape
        if len(shape) != 4 or shape[1] != 3 or not isinstance(shape[2], int) or output[-1] != BLENDSHAPES:
            raise WeightsFormatError(
                f"{file} is no blendshape teacher: it maps {shape} to {output}, expected (batch, 3, size, "
                "size) to "
                f"(batch, {BLENDSHAPES})."
            )
        self.size: int = shape[2]

    def estimate(self, crops: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Estimate blendshapes.

        Args:
            crops: expression crops, RGB pictures or uint8 (B, s, s, 3); of another size they are resized.

        Returns:
            float32 (B, 52) in [0, 1], ARKit's order.

        Raises:
            InputError: an array of another shape or type.
        """
        pixels = self._pixels(crops)
        found = [np.zeros((0, BLENDSHAPES), np.float32)]
        found += [self._run(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)]
        return np.clip(np.concatenate(found), 0.0, 1.0)

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
        outputs: Any = self._session.run(None, {self._input: batch})
        return outputs[0]

    def _pixels(self, crops: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        images = (
            crops if isinstance(crops, np.ndarray) else [np.asarray(crop.convert("RGB")) for crop in crops]
        )
        for image in images:
            if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
                raise InputError(
                    "Expression crops must be uint8 RGB, each (size, size, 3), got one of "
                    f"{tuple(image.shape)} {image.dtype}."
                )
        target = (self.size, self.size)
        resized = [
            image if image.shape[:2] == target else cv2.resize(image, target, interpolation=cv2.INTER_AREA)
            for image in images
        ]
        return np.stack(resized) if resized else np.zeros((0, *target, 3), np.uint8)
