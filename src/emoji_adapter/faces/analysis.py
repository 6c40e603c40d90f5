"""Finding faces and reading identities with the unmodified `insightface.app.FaceAnalysis`."""

import contextlib
import dataclasses
import hashlib
import io
import logging
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.errors import (
    FaceError,
    FaceTooSmallError,
    InputError,
    NoFaceError,
    SeveralFacesError,
    WeightsFormatError,
)
from emoji_adapter.faces.geometry import GREY
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.packs import MICRO, PHOTO_PACKS, known_name, pack_folder, pack_id
from emoji_adapter.faces.providers import session_options, usable
from emoji_adapter.faces.recogniser import read_face
from emoji_adapter.faces.suppression import without_nested
from emoji_adapter.types import Face

FALLBACK_SIZES = (640, 512, 320, 160)
"""Sides that a picture is brought to, one after the other, where the usual ones show no face (our choice).

A detector of photographs misses faces that are much larger or smaller than those it was trained with.
"""

FacePolicy = str | int
"""Which face of several: "largest", "raise" (several are an error), or an index into them, largest first."""

logger = logging.getLogger(__name__)
_loading = threading.Lock()


class FaceAnalyzer:
    """Detector and recogniser of one insightface pack, loaded at the first use.

    Args:
        pack: "micro" (embedded; drawn faces only), "buffalo_l" or "antelopev2" (photographs; downloaded by
            insightface), a folder with a detector and a recogniser in ONNX, or the name of such a folder in
            `~/.insightface/models`.
        providers: execution providers of onnxruntime, best first; those that it lacks are left out. None
            takes CoreML or CUDA where there is one, and the CPU.
        det_thresh: detections of a lower score are left out, in [0, 1].
        threads: threads of onnxruntime, see `faces.providers.session_options`. Set 1 in worker processes.
        det_size: (width, height) the detector runs at; None is insightface's default, 128 and 640 jointly.
        fallback_sizes: sides tried one after the other where no face is found; None is `FALLBACK_SIZES`, or
            nothing for "micro" (its figures are measured without) and where `det_size` is given.
    """

    def __init__(
        self,
        pack: str | Path = MICRO,
        *,
        providers: Sequence[Any] | None = None,
        det_thresh: float = 0.5,
        threads: int | None = None,
        det_size: tuple[int, int] | None = None,
        fallback_sizes: Sequence[int] | None = None,
    ) -> None:
        if not 0.0 <= det_thresh <= 1.0:
            raise InputError(f"det_thresh must lie in [0, 1], got {det_thresh}.")
        self.pack = pack
        self._providers = list(providers) if providers is not None else None
        self._det_thresh = det_thresh
        self._threads = threads
        self._det_size = det_size
        if fallback_sizes is None:
            fallback_sizes = () if det_size is not None or known_name(pack) == MICRO else FALLBACK_SIZES
        self._fallback_sizes = tuple(fallback_sizes)

    @cached_property
    def pack_id(self) -> str:
        """What an adapter's metadata records, since embeddings of different packs cannot be exchanged.

        The name of a known pack; for a folder, which is read for it, see `faces.packs.pack_id`.

        Raises:
            WeightsNotFoundError, WeightsFormatError: the folder is not there or is damaged.
        """
        return known_name(self.pack) or pack_id(Path(self.pack), Path(self.recogniser.model_file))

    def detect(self, image: ImageSource) -> list[Face]:
        """Find all faces, largest first, without embeddings.

        When nothing is found the picture is tried once more inside a grey border, for crops so tight that the
        face touches the edges, and then at `fallback_sizes`.

        Raises:
            ImageError: the picture cannot be read.
            WeightsNotFoundError: the pack is not there.
        """
        return self._detect(_bgr(load_image(image)))

    def face(
        self,
        image: ImageSource,
        policy: FacePolicy = "largest",
        min_size: float = 32,
        name: str = "the picture",
    ) -> Face:
        """Find the one face that is meant and read its identity.

        Args:
            image: path, bytes, PIL picture or array.
            policy: see `FacePolicy`.
            min_size: smallest shorter side of the face's box, in pixels.
            name: what to call the picture in messages, e.g. "identity_image".

        Raises:
            NoFaceError: no face was found.
            SeveralFacesError: several were found and the policy is "raise".
            FaceTooSmallError: the face is smaller than `min_size`.
            FaceError: an index beyond the faces found.
            ImageError, InputError, WeightsNotFoundError: an unreadable picture, policy or pack.
        """
        _check_policy(policy)
        picture = load_image(image)
        bgr = _bgr(picture)
        faces = self._detect(bgr)
        where = f"{name} ({picture.width}x{picture.height} pixels)"
        if not faces:
            raise NoFaceError(self._no_face(where))
        face = _choose(faces, policy, where)
        if face.size < min_size:
            raise FaceTooSmallError(
                f"The face in {where} measures {face.size:.0f} pixels; at least {min_size:.0f} are needed. "
                "Use a larger picture or a closer crop."
            )
        return dataclasses.replace(face, embedding=self.embed(bgr[..., ::-1], face.landmarks))

    def embed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Read the identity of the face with these landmarks: (512,) float32, not normalised.

        Args:
            image: uint8 RGB (H, W, 3).
            landmarks: (5, 2) in pixels of `image`.
        """
        return read_face(self.recogniser, image, landmarks)

    @property
    def recogniser(self) -> Any:
        """Insightface's record of the pack's recogniser: `model_file`, `input_size`, `input_mean`, ..."""
        return self._app.models["recognition"]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the recogniser's and the detector's files: packs of other names may hold the same networks.

        Raises:
            WeightsNotFoundError, WeightsFormatError: the pack is not there or is damaged.
        """
        networks = (self.recogniser, self._app.det_model)
        return "-".join(
            hashlib.sha256(Path(net.model_file).read_bytes()).hexdigest()[:16] for net in networks
        )

    @cached_property
    def _app(self) -> Any:
        return _load_app(self.pack, self._providers, self._threads, self._det_thresh, self._det_size)

    def _detect(self, bgr: np.ndarray) -> list[Face]:
        faces = self._found(bgr)
        if not faces:
            border = max(bgr.shape[:2]) // 2
            padded = np.pad(bgr, ((border, border), (border, border), (0, 0)), constant_values=GREY)
            faces = [_moved(face, -border) for face in self._found(padded)]
        detector = self._app.det_model
        for side in self._fallback_sizes if detector.static_input_size is None else ():
            faces = faces or self._found(bgr, (side, side))
        return sorted(faces, key=lambda face: -_area(face))

    def _found(self, bgr: np.ndarray, size: tuple[int, int] | None = None) -> list[Face]:
        boxes, landmarks = self._app.det_model.detect(bgr, input_size=size)
        faces = [
            Face(box[:4].astype(np.float32), points.astype(np.float32), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return without_nested(faces)

    def _no_face(self, where: str) -> str:
        if known_name(self.pack) == MICRO:
            advice = (
                f"The embedded pack {MICRO!r} knows drawn faces only; for photographs use the insightface "
                f"pack {next(iter(PHOTO_PACKS))!r}."
            )
        else:
            advice = f"Use a frontal face of at least 64 pixels (pack: {str(self.pack)!r})."
        return f"No face was found in {where}. {advice} Or pass embeddings instead of a picture."


def _load_app(
    pack: str | Path,
    providers: list[Any] | None,
    threads: int | None,
    det_thresh: float,
    det_size: tuple[int, int] | None,
) -> Any:
    folder = pack_folder(pack)
    from insightface.app import FaceAnalysis

    options = {"providers": usable(providers), "sess_options": session_options(threads)}
    if str(pack) in PHOTO_PACKS:
        licence = PHOTO_PACKS[str(pack)].licence
        logger.warning("The weights of the insightface pack %r are for %s.", str(pack), licence)
    with _loading, _reported(pack):
        app = FaceAnalysis(name=str(folder), allowed_modules=["detection", "recognition"], **options)
        app.prepare(ctx_id=0, det_thresh=det_thresh, det_size=det_size)
    if "recognition" not in app.models:
        raise WeightsFormatError(
            f"The face pack {str(pack)!r} holds no recogniser, only {sorted(app.models)}. "
            "Expected a detector and a recogniser (ArcFace layout) as .onnx files in one folder."
        )
    return app


@contextlib.contextmanager
def _reported(pack: str | Path) -> Iterator[None]:
    """Keep insightface's prints off standard output and put its failures into words."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except AssertionError as error:
        raise WeightsFormatError(
            f"The face pack {str(pack)!r} holds no detector. Expected a detector (SCRFD layout) and a "
            "recogniser (ArcFace layout) as .onnx files in one folder."
        ) from error
    except Exception as error:
        raise WeightsFormatError(
            f"The face pack {str(pack)!r} cannot be loaded: {error}. Expected a detector and a recogniser as "
            ".onnx files; a swapper belongs in a folder of its own."
        ) from error


def _check_policy(policy: FacePolicy) -> None:
    if policy in ("largest", "raise") or (
        isinstance(policy, int) and not isinstance(policy, bool) and policy >= 0
    ):
        return
    raise InputError(f"The face policy must be 'largest', 'raise' or an index from 0, got {policy!r}.")


def _choose(faces: list[Face], policy: FacePolicy, where: str) -> Face:
    if policy == "raise" and len(faces) > 1:
        raise SeveralFacesError(
            f"{len(faces)} faces were found in {where}, expected one. Crop the picture, or choose with the "
            "policy 'largest' or an index (0 is the largest)."
        )
    index = policy if isinstance(policy, int) else 0
    if index >= len(faces):
        raise FaceError(
            f"Face {index} of {where} is asked for, but {len(faces)} were found. Use an index from 0 (the "
            f"largest) to {len(faces) - 1}."
        )
    return faces[index]


def _bgr(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def _area(face: Face) -> float:
    return float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


def _moved(face: Face, offset: float) -> Face:
    return dataclasses.replace(
        face, box=face.box + np.float32(offset), landmarks=face.landmarks + np.float32(offset)
    )
