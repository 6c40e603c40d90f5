"""Changing the identity of a rendering and reading what came out; runs in worker processes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emoji_adapter.data.examine import CPU, Examined, Examiner, ExamineSettings, normalised
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.manifest import Refusal
from emoji_adapter.data.triplets import Measured
from emoji_adapter.errors import FaceError
from emoji_adapter.faces.swap import FaceSwapper
from emoji_adapter.types import Face


@dataclass(frozen=True)
class InspectSettings:
    """What a worker needs to know.

    Attributes:
        examine: how source portraits are looked at.
        swapper: see `FaceSwapper`; None keeps the rendered identity.
        cycle: whether to swap back and compare.
    """

    examine: ExamineSettings
    swapper: str | None
    cycle: bool


@dataclass(frozen=True)
class Rendering:
    """A rendered picture and what it is to be compared with.

    Attributes:
        pixels: uint8 [S, S, 3] RGB.
        identity: float32 [512] of the identity photo, of length 1.
        template_identity: float32 [512] of the template, of length 1.
        blendshapes: float32 [52], the teacher's of the template.
    """

    pixels: np.ndarray
    identity: np.ndarray
    template_identity: np.ndarray
    blendshapes: np.ndarray


@dataclass(frozen=True)
class Inspected:
    """A target.

    Attributes:
        pixels: uint8 [S, S, 3] RGB; the rendering itself where it had not exactly one face.
        measured: what was read in it.
    """

    pixels: np.ndarray
    measured: Measured


class Inspector:
    """Looks at source portraits and at renderings.

    Args:
        settings: what to use.
    """

    def __init__(self, settings: InspectSettings):
        self.settings = settings
        self.examiner = Examiner(settings.examine)
        path = settings.swapper
        self.swapper = None if path is None else FaceSwapper(path, providers=CPU, threads=1)

    def look(self, job: SourcePicture | Rendering) -> Examined | Refusal | Inspected:
        """Examine a portrait, or swap and measure a rendering."""
        return self.inspect(job) if isinstance(job, Rendering) else self.examiner.examine(job)

    def inspect(self, rendering: Rendering) -> Inspected:
        """Change the identity of a rendering to the wanted one and read the result."""
        before = self.examiner.analyzer.detect(rendering.pixels)
        if len(before) != 1:
            return Inspected(rendering.pixels, Measured(faces=len(before)))
        try:
            target = self._swapped(rendering.pixels, before[0], rendering.identity)
        except FaceError:
            return Inspected(rendering.pixels, Measured(faces=0))
        after = self.examiner.analyzer.detect(target)
        if len(after) != 1:
            return Inspected(target, Measured(faces=len(after)))
        embedding = self._embedding(target, after[0])
        blendshapes = self.examiner.teacher.estimate(self._crop(target, after[0])[None])[0]
        measured = Measured(
            faces=1,
            identity=float(embedding @ rendering.identity),
            leak=float(embedding @ rendering.template_identity),
            expression=float(np.abs(blendshapes - rendering.blendshapes).mean()),
            cycle=self._cycle(rendering.pixels, before[0], target, after[0]),
        )
        return Inspected(target, measured)

    def _cycle(self, rendered: np.ndarray, before: Face, target: np.ndarray, after: Face) -> float | None:
        if not self.settings.cycle:
            return None
        try:
            back = self._swapped(target, after, self._embedding(rendered, before))
        except FaceError:
            return None
        difference = self._crop(back, before).astype(np.float32) - self._crop(rendered, before)
        return float(np.abs(difference).mean() / 255)

    def _swapped(self, pixels: np.ndarray, face: Face, embedding: np.ndarray) -> np.ndarray:
        return pixels if self.swapper is None else self.swapper.swap(pixels, face, embedding)

    def _embedding(self, pixels: np.ndarray, face: Face) -> np.ndarray:
        return normalised(self.examiner.analyzer.embed(pixels, face.landmarks))

    def _crop(self, pixels: np.ndarray, face: Face) -> np.ndarray:
        return np.asarray(self.settings.examine.crop.crop(pixels, face), dtype=np.uint8)


def build_inspector(
    settings: InspectSettings,
) -> Callable[[SourcePicture | Rendering], Examined | Refusal | Inspected]:
    """Make a worker's way to look, its detector and recogniser loaded."""
    inspector = Inspector(settings)
    inspector.examiner.warm_up()
    return inspector.look
