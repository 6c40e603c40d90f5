"""The recogniser that judges identity: another one than conditions the adapter."""

import contextlib
import hashlib
import io
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.types import Face


class JudgeRecogniser:
    """Counts faces and reads the identity of the largest.

    Args:
        name: an insightface pack or a folder of one, see `FaceAnalyzer`; or the .onnx file of a recogniser in
            ArcFace's layout, for which the adapter's own detector finds the faces.
        conditioning: the pack that the adapter listens to.

    Raises:
        InputError: the judge is the recogniser that the adapter listens to: a judge must not be a teacher.
        WeightsNotFoundError, WeightsFormatError: the pack or the file is missing or damaged.
    """

    def __init__(self, name: str, conditioning: FaceAnalyzer):
        self.name = name
        self._file = Path(name) if name.endswith(".onnx") else None
        self._detector = conditioning if self._file is not None else FaceAnalyzer(name)
        if self._file is not None and not self._file.is_file():
            raise WeightsNotFoundError(
                f"There is no recogniser {name}. Expected an .onnx file or a face pack."
            )
        same_name = self._file is None and self._detector.pack_id == conditioning.pack_id
        if same_name or self.fingerprint == conditioning.fingerprint.split("-")[0]:
            raise InputError(
                f"The judge {name!r} is the recogniser of {conditioning.pack_id!r}, which the adapter "
                "listens to: it would praise whatever it asked for. Judge with another pack, such as "
                "antelopev2 for an adapter that listens to buffalo_l."
            )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recogniser's file."""
        if self._file is None:
            return self._detector.fingerprint.split("-")[0]
        return hashlib.sha256(self._file.read_bytes()).hexdigest()[:16]

    def read(self, image: Image.Image) -> tuple[int, np.ndarray | None]:
        """Number of faces, and the embedding (d,) of the largest; None without a face."""
        faces = self._detector.detect(image)
        return len(faces), self._embedded(image, faces[0]) if faces else None

    def _embedded(self, image: Image.Image, face: Face) -> np.ndarray:
        pixels = np.asarray(image)
        if self._file is None:
            return self._detector.embed(pixels, face.landmarks)
        from insightface.app.common import Face as Record

        bgr = np.ascontiguousarray(pixels[..., ::-1])
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # insightface 2.1 calls a deprecated skimage method
            return self._network.get(bgr, Record(kps=np.asarray(face.landmarks, np.float32)))

    @cached_property
    def _network(self) -> Any:
        from insightface.model_zoo import get_model

        try:
            with contextlib.redirect_stdout(io.StringIO()):
                network: Any = get_model(str(self._file))
        except Exception as error:
            raise WeightsFormatError(f"{self.name} cannot be loaded as a recogniser: {error}") from error
        if getattr(network, "taskname", None) != "recognition":
            raise WeightsFormatError(
                f"{self.name} is no recogniser. Expected ArcFace's layout: one face (1, 3, 112, 112) in, one "
                "embedding out."
            )
        return network
