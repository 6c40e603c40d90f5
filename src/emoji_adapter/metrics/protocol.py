"""What evaluation and probe need from outside: a benchmark that asks and judges that read."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from PIL.Image import Image

from emoji_adapter.metrics.records import Cell, Readings


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

    def oracle(self, number: int) -> Image:
        """The perfect answer to a cell, RGB."""
        ...


@runtime_checkable
class Judges(Protocol):
    """Networks that score and do nothing else."""

    @property
    def name(self) -> str:
        """What reports call them."""
        ...

    def read(self, images: Sequence[Image], *, count_faces: bool = True) -> Readings:
        """Read pictures, RGB, all of one size; without `count_faces` each counts as one face."""
        ...

    def errors(self, seed: int) -> dict[str, Any]:
        """The judges' own errors where the truth is known, over all, `by_style` and `by_skin`."""
        ...
