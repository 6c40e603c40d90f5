"""Finding faces and reading identities with the unmodified `insightface.app.FaceAnalysis`."""

import contextlib
import dataclasses
import hashlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emoji_adapter.config import packaged_part, packaged_weights
from emoji_adapter.errors import (
    FaceError,
    FaceTooSmallError,
    InputError,
    NoFaceError,
    SeveralFacesError,
    WeightsFormatError,
    WeightsNotFoundError,
)
from emoji_adapter.faces.geometry import GREY
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.suppression import without_nested
from emoji_adapter.types import Face

MICRO = "micro"
PHOTO_PACKS = ("buffalo_l", "antelopev2")
"""insightface's packs for photographs. Their weights are for non-commercial research only."""

FacePolicy = str | int
"""Which face of several: "largest", "raise" (several are an error), or an index into them, largest first."""

logger = logging.getLogger(__name__)
_loading = threading.Lock()


class FaceAnalyzer:
    """Detector and recogniser of one insightface pack, loaded at the first use.

    Attributes:
        pack_id: name of the pack, which an adapter's metadata records: embeddings of different packs cannot
            be exchanged.

    Args:
        pack: "micro" (embedded; drawn faces only), "buffalo_l" or "antelopev2" (photographs; downloaded by
            insightface), or a folder with a detector and a recogniser in ONNX.
        providers: execution providers of onnxruntime; None takes CUDA where there is one.
        det_thresh: detections of a lower score are left out, in [0, 1].
        threads: threads of onnxruntime, None for all cores. Set 1 in worker processes.
        det_size: (width, height) the detector runs at; None is insightface's default, 128 and 640 jointly.
    """

    def __init__(
        self,
        pack: str | Path = MICRO,
        *,
        providers: Sequence[str] | None = None,
        det_thresh: float = 0.5,
        threads: int | None = None,
        det_size: tuple[int, int] | None = None,
    ) -> None:
        if not 0.0 <= det_thresh <= 1.0:
            raise InputError(f"det_thresh must lie in [0, 1], got {det_thresh}.")
        self.pack = pack
        self.pack_id = _pack_id(pack)
        self._providers = list(providers) if providers is not None else None
        self._det_thresh = det_thresh
        self._threads = threads
        self._det_size = det_size

    def detect(self, image: ImageSource) -> list[Face]:
        """Find all faces, largest first, without embeddings.

        When nothing is found the picture is tried once more inside a grey border, for crops so tight that the
        face touches the edges.

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
        from insightface.app.common import Face as Record

        bgr = np.ascontiguousarray(image[..., ::-1])
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # insightface 2.1 calls a deprecated skimage method
            return self.recogniser.get(bgr, Record(kps=np.asarray(landmarks, np.float32)))

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
        return sorted(faces, key=lambda face: -_area(face))

    def _found(self, bgr: np.ndarray) -> list[Face]:
        boxes, landmarks = self._app.det_model.detect(bgr)
        faces = [
            Face(box[:4].astype(np.float32), points.astype(np.float32), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return without_nested(faces)

    def _no_face(self, where: str) -> str:
        if self.pack_id == MICRO:
            advice = (
                f"The embedded pack {MICRO!r} knows drawn faces only; for photographs use the insightface "
                f"pack {PHOTO_PACKS[0]!r}."
            )
        else:
            advice = f"Use a frontal face of at least 64 pixels (pack: {self.pack_id!r})."
        return f"No face was found in {where}. {advice} Or pass embeddings instead of a picture."


def _pack_id(pack: str | Path) -> str:
    if str(pack) in (MICRO, *PHOTO_PACKS):
        return str(pack)
    folder = Path(pack).expanduser().resolve()
    return MICRO if folder == (packaged_weights() / MICRO / "faces").resolve() else folder.name


def _pack_folder(pack: str | Path) -> str:
    """What `FaceAnalysis(name=...)` is given: a folder, or the name of a pack it knows to download."""
    if str(pack) == MICRO:
        return str(packaged_part("faces"))
    if str(pack) in PHOTO_PACKS:
        return str(pack)
    folder = Path(pack).expanduser()
    if not folder.is_dir() or not any(folder.glob("*.onnx")):
        known = ", ".join(map(repr, (MICRO, *PHOTO_PACKS)))
        raise WeightsNotFoundError(
            f"There is no face pack {str(pack)!r}. Expected {known}, or a folder that holds a detector and a "
            "recogniser as .onnx files."
        )
    return str(folder)


def _load_app(
    pack: str | Path,
    providers: list[str] | None,
    threads: int | None,
    det_thresh: float,
    det_size: tuple[int, int] | None,
) -> Any:
    folder = _pack_folder(pack)
    from insightface.app import FaceAnalysis
    from onnxruntime import SessionOptions  # pyright: ignore[reportAttributeAccessIssue]

    options: dict[str, Any] = {"providers": providers}
    if threads is not None:
        options["sess_options"] = SessionOptions()
        options["sess_options"].intra_op_num_threads = threads
    if folder in PHOTO_PACKS:
        logger.warning("The weights of the insightface pack %r are for non-commercial research only.", folder)
    with _loading, _reported(pack):
        app = FaceAnalysis(name=folder, allowed_modules=["detection", "recognition"], **options)
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
            f"The face pack {str(pack)!r} holds no detector. Expected .onnx files directly inside the "
            "folder; some packs unzip into a second folder of the same name: move the files one up."
        ) from error
    except Exception as error:
        if str(pack) in PHOTO_PACKS:
            raise WeightsNotFoundError(
                f"The insightface pack {str(pack)!r} could not be fetched or read: {error}. Download it and "
                f"unzip it into ~/.insightface/models/{pack}."
            ) from error
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
