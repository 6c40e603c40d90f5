"""Judged pictures: all that scores, comparisons and reports are made of."""

from dataclasses import dataclass, field

import numpy as np
from PIL.Image import Image

from emoji_adapter.metrics.records import Cell, Readings


@dataclass(frozen=True)
class Drawn:
    """Pictures of all cells, and what the judges read in them."""

    images: list[Image]
    readings: Readings


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the row.
        images: of all cells.
        readings: what the judges read in them.
        way: how they were made, a key of `WAYS`.
        own: readings of the same cells, noise and person made without the template; None where no template
            acts.
        identity_off: readings of the same cells made with the identity branch off; None where that was not
            drawn.
        against: row that this one is compared with; None for the one above it.
    """

    name: str
    images: list[Image]
    readings: Readings
    way: str = "both"
    own: Readings | None = None
    identity_off: Readings | None = None
    against: str | None = None


@dataclass(frozen=True)
class Judged:
    """The table before it is scored.

    Attributes:
        cells: those that could be asked.
        photos: the judges on the identity photos, a row a cell.
        templates: the judges on the templates.
        inputs: (photo, template) of every cell.
        rows: in the order of the table, the adapter under test last.
        refused: cells left out of all rows because the encoders found no face in the photo or template.
        missing: rows whose weights are not there, and why.
        texts: the prompts by the judges' image-text model, of length 1, (n, d); None without one.
    """

    cells: list[Cell]
    photos: Readings
    templates: Readings
    inputs: list[tuple[Image, Image]]
    rows: list[Row]
    refused: int
    missing: dict[str, str] = field(default_factory=dict)
    texts: np.ndarray | None = None

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)

    def first(self, way: str) -> Row | None:
        """The first row made in a way."""
        return next((row for row in self.rows if row.way == way), None)

    def above(self, row: Row) -> Row | None:
        """The row that a row is compared with: the one it names, else the one above it; None at the top."""
        if row.against is not None:
            return next((other for other in self.rows if other.name == row.against), None)
        place = self.rows.index(row)
        return self.rows[place - 1] if place else None
