"""What evaluation and probe share: a benchmark that asks, how pictures are drawn, judges that read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL.Image import Image

from emoji_adapter.config import GUIDANCE
from emoji_adapter.metrics.records import Cell, Readings

Advance = Callable[[str, int], object]
"""Told what is being done (`encoding`, a way, a layer, `judging`) and for how many more pictures."""


@dataclass(frozen=True)
class Settings:
    """How pictures are drawn.

    Attributes:
        steps: denoising steps.
        guidance: classifier-free guidance scale.
        batch: cells drawn at a time.
    """

    steps: int = 25
    guidance: float = GUIDANCE
    batch: int = 32


@runtime_checkable
class Benchmark(Protocol):
    """A set of cells with their pictures. Cells are asked for by number, 0 to len(cells) - 1."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def cells(self) -> Sequence[Cell]:
        """What is asked."""
        ...

    def photo(self, number: int) -> Image:
        """The identity photo of a cell, RGB."""
        ...

    def template(self, number: int) -> Image:
        """The expression template of a cell, RGB; somebody else than the photo."""
        ...

    def oracle(self, number: int) -> Image | None:
        """The perfect answer to a cell, RGB; None where nobody knows it."""
        ...


@runtime_checkable
class Judges(Protocol):
    """Networks that score and do nothing else."""

    @property
    def name(self) -> str:
        """What reports call them."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with the networks' weights: readings of other judges are not read back."""
        ...

    def read(self, images: Sequence[Image], *, count_faces: bool = True) -> Readings:
        """Read pictures, RGB, all of one size; without `count_faces` each counts as one face."""
        ...

    def texts(self, prompts: Sequence[str]) -> np.ndarray | None:
        """Embed prompts by the image-text model of `Readings.clip`, (n, d), of length 1; None without one."""
        ...

    def errors(self, seed: int) -> dict[str, Any]:
        """The judges' own errors where the truth is known, over all, `by_style` and `by_skin`."""
        ...
