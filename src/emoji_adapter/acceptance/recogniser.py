"""The recogniser that judges identity: another one than conditions the adapter."""

from functools import cached_property

import numpy as np
from PIL import Image

from emoji_adapter.errors import InputError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.recogniser import Recogniser
from emoji_adapter.types import Face


class JudgeRecogniser:
    """Counts faces and reads the identity of the largest.

    Args:
        name: an insightface pack or a folder of one, see `FaceAnalyzer`; or the .onnx file of a recogniser in
            ArcFace's layout, for which the adapter's own detector finds the faces.
        conditioning: the pack that the adapter listens to.
        second: the recogniser that it listens to beside the pack's, if it does.

    Raises:
        InputError: the judge is a recogniser that the adapter listens to: a judge must not be a teacher.
        WeightsNotFoundError, WeightsFormatError: the pack or the file is missing or damaged.
    """

    def __init__(self, name: str, conditioning: FaceAnalyzer, second: Recogniser | None = None):
        self.name = name
        self._alone = Recogniser(name) if name.endswith(".onnx") else None
        self._detector = conditioning if self._alone is not None else FaceAnalyzer(name)
        taken = {conditioning.fingerprint.split("-")[0]: conditioning.pack_id}
        if second is not None:
            taken[second.fingerprint] = second.id
        same_name = self._alone is None and self._detector.pack_id == conditioning.pack_id
        whose = conditioning.pack_id if same_name else taken.get(self.fingerprint)
        if whose is not None:
            raise InputError(
                f"The judge {name!r} is the recogniser of {whose!r}, which the adapter "
                "listens to: it would praise whatever it asked for. Judge with another pack, such as "
                "antelopev2 for an adapter that listens to buffalo_l."
            )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recogniser's file."""
        if self._alone is None:
            return self._detector.fingerprint.split("-")[0]
        return self._alone.fingerprint

    def read(self, image: Image.Image) -> tuple[int, np.ndarray | None]:
        """Number of faces, and the embedding (d,) of the largest; None without a face."""
        faces = self._detector.detect(image)
        return len(faces), self._embedded(image, faces[0]) if faces else None

    def _embedded(self, image: Image.Image, face: Face) -> np.ndarray:
        return (self._alone or self._detector).embed(np.asarray(image), face.landmarks)
