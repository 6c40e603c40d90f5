"""A recogniser by itself: one .onnx file that reads faces which somebody else's detector found."""

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.packs import MICRO, home, name_of, pack_with, recogniser_id, same_pack
from emoji_adapter.faces.providers import session_options, usable

logger = logging.getLogger(__name__)
_MICRO_PART = "recognizer_2/rec.onnx"


class Recogniser:
    """A recogniser in ArcFace's layout, as insightface loads it, at the first use.

    Args:
        name: "micro" (embedded, of another architecture than the pack's; drawn faces only); an .onnx file; or
            what an adapter names, NAME@DIGITS, which is looked for as NAME.onnx below `faces.packs.home()`.
        providers: execution providers of onnxruntime, see `FaceAnalyzer`.
        threads: threads of onnxruntime, see `faces.providers.session_options`. Set 1 in worker processes.
        dim: length that its embeddings must have; None: any.
    """

    def __init__(
        self,
        name: str | Path = MICRO,
        *,
        providers: Sequence[Any] | None = None,
        threads: int | None = None,
        dim: int | None = None,
    ) -> None:
        self.name = str(name)
        self._providers, self._threads, self._dim = providers, threads, dim

    @cached_property
    def file(self) -> Path:
        """Where its network lies.

        Raises:
            WeightsNotFoundError: nowhere.
        """
        if self.name == MICRO:
            return packaged_part(_MICRO_PART)
        if self.name.endswith(".onnx"):
            given = Path(self.name).expanduser()
            if given.is_file():
                return given
        elif "@" in self.name:
            return self._found()
        raise WeightsNotFoundError(
            f"There is no recogniser {self.name!r}. Expected {MICRO!r} or the .onnx file of a recogniser, "
            f"such as {home() / 'antelopev2' / 'glintr100.onnx'}."
        )

    @cached_property
    def id(self) -> str:
        """What metadata records: "micro", or NAME@DIGITS, told by content as packs are.

        Raises:
            WeightsNotFoundError: there is no such file.
        """
        if self.name == MICRO:
            return MICRO
        with contextlib.suppress(WeightsNotFoundError):
            if self.file.resolve() == packaged_part(_MICRO_PART).resolve():
                return MICRO
        return recogniser_id(self.file)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]

    def embed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Read the identity of the face with these landmarks: (dim,) float32, not normalised.

        Args:
            image: uint8 RGB (H, W, 3).
            landmarks: (5, 2) in pixels of `image`, insightface's order.

        Raises:
            WeightsNotFoundError, WeightsFormatError: at the first use: no such file, or no such network.
        """
        return read_face(self.network, image, landmarks)

    @cached_property
    def network(self) -> Any:
        """Insightface's record of the network.

        Raises:
            WeightsNotFoundError, WeightsFormatError: no such file, or it is damaged or of another kind.
        """
        from insightface.model_zoo import get_model

        file = self.file
        pack = pack_with(self.id)
        if pack is not None:
            logger.warning("The weights of the recogniser %s are for %s.", file, pack.licence)
        options = session_options(self._threads)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                network: Any = get_model(str(file), providers=usable(self._providers), sess_options=options)
        except Exception as error:
            raise WeightsFormatError(f"{file} cannot be loaded as a recogniser: {error}") from error
        if getattr(network, "taskname", None) != "recognition":
            raise WeightsFormatError(
                f"{file} is no recogniser. Expected ArcFace's layout: one face (1, 3, 112, 112) in, one "
                "embedding out."
            )
        length = network.output_shape[-1]
        if self._dim is not None and length != self._dim:
            raise WeightsFormatError(
                f"The recogniser {file} reads {length} numbers in a face, expected {self._dim}, as many as "
                "the face pack's. Use another one."
            )
        return network

    def _found(self) -> Path:
        for file in sorted(home().rglob(f"{name_of(self.name)}.onnx")):
            if same_pack(self.name, recogniser_id(file)):
                return file
        raise WeightsNotFoundError(
            f"The recogniser {self.name!r} (its SHA-256 begins with the digits) is not below {home()}. Put "
            f"{name_of(self.name)}.onnx there, or set pipe.face_encoders = FaceEncoders("
            "pipe.emoji_adapter.config, second_recogniser=Recogniser('ITS FILE'))."
        )


def read_face(network: Any, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Let one of insightface's recognisers read an aligned face, see `Recogniser.embed`."""
    from insightface.app.common import Face as Record

    bgr = np.ascontiguousarray(image[..., ::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # insightface 2.1 calls a deprecated skimage method
        return network.get(bgr, Record(kps=np.asarray(landmarks, np.float32)))
