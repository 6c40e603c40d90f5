"""Changing who a face is with the unmodified `insightface` INSwapper."""

import contextlib
import io
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import FaceError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.providers import inference_session
from emoji_adapter.types import Face

MICRO = "micro"


class FaceSwapper:
    """A face swapper in insightface's INSwapper layout, loaded at the first use.

    Its inputs are the aligned face (1, 3, 128, 128) and an embedding (1, 512), in this order; its last
    initializer is `emap` (512, 512), by which INSwapper multiplies the embedding.

    Args:
        path: "micro" (embedded; drawn faces only), or an .onnx file such as insightface's
            `inswapper_128.onnx` (photographs; for non-commercial research only).
        providers: execution providers of onnxruntime; None takes CUDA where there is one.
        threads: threads of onnxruntime, see `faces.providers.session_options`. Set 1 in worker processes.

    Raises:
        WeightsNotFoundError: there is no such file.
    """

    def __init__(
        self, path: str | Path = MICRO, *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> None:
        self.path = packaged_part("swapper/swapper.onnx") if str(path) == MICRO else Path(path)
        if not self.path.is_file():
            raise WeightsNotFoundError(
                f"There is no face swapper {self.path}. Expected {MICRO!r} or an .onnx file in INSwapper's "
                "layout, such as insightface's inswapper_128.onnx."
            )
        self._providers = providers
        self._threads = threads

    def swap(self, image: np.ndarray, face: Face, embedding: np.ndarray) -> np.ndarray:
        """Give a face to somebody else; expression, pose and all around the face stay.

        Args:
            image: uint8 RGB (H, W, 3).
            face: the face to change, found in `image`.
            embedding: (512,) of the wanted person, by the recogniser that the swapper was trained with.

        Returns:
            uint8 RGB (H, W, 3), a new picture.

        Raises:
            FaceError: the face lies outside the picture, or the embedding has no length.
            WeightsFormatError: the file is damaged or is no swapper.
        """
        from insightface.app.common import Face as Record

        network = self._network
        if not np.linalg.norm(embedding) > 0:
            raise FaceError(
                "The embedding of the wanted person has no length. Read it from a sharper picture."
            )
        bgr = np.ascontiguousarray(image[..., ::-1])
        target = Record(kps=np.asarray(face.landmarks, np.float32))
        source = Record(embedding=np.asarray(embedding, np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # insightface 2.1 calls a deprecated skimage method
            try:
                swapped = network.get(bgr, target, source, paste_back=True)
            except ValueError as error:  # numpy's, of the empty area that is to be pasted back
                raise FaceError(f"The face at {face.box.tolist()} cannot be pasted back: {error}") from error
        return np.ascontiguousarray(swapped[..., ::-1])

    @cached_property
    def _network(self) -> Any:
        from insightface.model_zoo.inswapper import INSwapper

        try:
            session = inference_session(self.path, self._providers, self._threads)
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its input's shape
                network: Any = INSwapper(str(self.path), session)
        except Exception as error:
            raise WeightsFormatError(f"{self.path} cannot be loaded as a face swapper: {error}") from error
        if len(network.input_names) != 2 or network.emap.ndim != 2:
            raise WeightsFormatError(
                f"{self.path} is no face swapper: inputs {network.input_names}, last initializer of shape "
                f"{network.emap.shape}. Expected two inputs (face, embedding) and `emap` (512, 512) last."
            )
        return network
