"""Looking at one picture: all that training needs of it, or the reason why not.

Runs in worker processes. Each builds its own networks once and works on one thread: many processes of one
thread are faster than one process of many for networks this small, and they don't fight over the cores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.manifest import PictureRecord, Refusal
from emoji_adapter.data.square import cut_square, face_square, move_points
from emoji_adapter.data.triplets import SourceTriplet
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.errors import InputError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.images import load_image
from emoji_adapter.faces.recogniser import Recogniser

CPU = ("CPUExecutionProvider",)
DIM = 512
"""Length of the embeddings that prepared sets hold."""


@dataclass(frozen=True)
class ExamineSettings:
    """What a worker needs to know.

    Attributes:
        pack: face pack, see `FaceAnalyzer`.
        teacher: blendshape teacher, see `BlendshapeTeacher`.
        crop: how template crops are cut.
        picture_size: side of the square to encode, in pixels.
        min_face: smallest face, in pixels of the picture.
        detector_size: side that pictures are brought to for detection; None = the pack's default.
        second_recogniser: reads the faces too, see `Recogniser`; None = nobody does.
    """

    pack: str
    teacher: str
    crop: ExpressionCrop
    picture_size: int
    min_face: int
    detector_size: int | None = None
    second_recogniser: str | None = None


@dataclass(frozen=True)
class Examined:
    """A picture that can be trained on.

    Attributes:
        record: its line of the manifest.
        pixels: uint8 [S, S, 3] RGB, the square to encode.
        identity: float32 [512], L2-normalised; of a triplet, of its identity photo.
        crop: uint8 [s, s, 3] RGB, aligned and masked; of a triplet, of its template.
        blendshapes: float32 [52]; of a triplet, of its template.
        second_identity: as `identity`, by the second recogniser, or None.
    """

    record: PictureRecord
    pixels: np.ndarray
    identity: np.ndarray
    crop: np.ndarray
    blendshapes: np.ndarray
    second_identity: np.ndarray | None = None

    @property
    def told_identity(self) -> np.ndarray:
        """What an adapter is told: float32 [512], or [1024] of two recognisers, the face pack's first."""
        if self.second_identity is None:
            return self.identity
        return np.concatenate([self.identity, self.second_identity])


class Examiner:
    """Looks at pictures one by one.

    Args:
        settings: what to use and how to cut.
    """

    def __init__(self, settings: ExamineSettings):
        self.settings = settings
        side = settings.detector_size
        self.analyzer = FaceAnalyzer(
            settings.pack, providers=CPU, threads=1, det_size=None if side is None else (side, side)
        )
        self.teacher = BlendshapeTeacher(settings.teacher, providers=CPU, threads=1)
        name = settings.second_recogniser
        self.second = None if name is None else Recogniser(name, providers=CPU, threads=1, dim=DIM)

    def warm_up(self) -> None:
        """Load the networks now, so that a missing one is found before any process is started.

        Raises:
            WeightsNotFoundError, WeightsFormatError: one is missing, or is of another kind.
            InputError: the second recogniser is the face pack's own.
        """
        self.analyzer.detect(np.zeros((64, 64, 3), np.uint8))
        if self.second is None:
            return
        files = {Path(net.model_file) for net in (self.second.network, self.analyzer.recogniser)}
        if len({file.read_bytes() for file in files}) == 1:
            raise InputError(
                f"The second recogniser {self.second.name!r} is that of the face pack "
                f"{self.settings.pack!r}: what it reads is known already. Name another one."
            )

    def examine(self, source: SourcePicture) -> Examined | Refusal:
        """Look at one picture; whatever is wrong with the picture becomes a refusal."""
        try:
            if isinstance(source, SourceTriplet):
                return self._examine_triplet(source)
            return self._examine(source)
        except InputError as error:
            return Refusal(source.file, f"{type(error).__name__}: {error}")

    def _examine_triplet(self, triplet: SourceTriplet) -> Examined:
        """The target's row, with the identity of the photo and the expression of the template."""
        parts = (triplet.target, triplet.identity, triplet.template)
        target, photo, template = (self._examine(part) for part in parts)
        return replace(
            target,
            identity=photo.identity,
            second_identity=photo.second_identity,
            crop=template.crop,
            blendshapes=template.blendshapes,
        )

    def _examine(self, source: SourcePicture) -> Examined:
        if source.caption is None:
            raise InputError("The caption beside the picture is not UTF-8 text. Save it as UTF-8.")
        settings = self.settings
        image = load_image(source.content())
        face = self.analyzer.face(image, policy="raise", min_size=settings.min_face)
        square = face_square(image.size, face.box)
        size = settings.picture_size
        landmarks = move_points(face.landmarks, square, size)
        box = move_points(face.box.reshape(2, 2), square, size).reshape(4)
        record = PictureRecord(
            id=source.id,
            file=source.file,
            person=source.person,
            caption=source.caption,
            size=(size, size),
            landmarks=tuple((float(x), float(y)) for x, y in landmarks),
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        )
        crop = np.asarray(settings.crop.crop(image, face), dtype=np.uint8)
        second, pixels = self.second, np.asarray(image)
        return Examined(
            record=record,
            pixels=np.asarray(cut_square(image, square, size), dtype=np.uint8),
            identity=normalised(face.embedding),
            crop=crop,
            blendshapes=self.teacher.estimate(crop[None])[0],
            second_identity=None if second is None else normalised(second.embed(pixels, face.landmarks)),
        )


def normalised(embedding: np.ndarray | None) -> np.ndarray:
    """Scale an embedding to length 1; float32."""
    if embedding is None:
        raise InputError("The face pack has no recogniser. Use a pack with one, such as buffalo_l.")
    embedding = np.asarray(embedding, dtype=np.float32)
    return embedding / max(float(np.linalg.norm(embedding)), 1e-6)


def build_examiner(settings: ExamineSettings) -> Callable[[SourcePicture], Examined | Refusal]:
    """Make a worker's way to look at pictures, its networks loaded."""
    examiner = Examiner(settings)
    examiner.warm_up()
    return examiner.examine
