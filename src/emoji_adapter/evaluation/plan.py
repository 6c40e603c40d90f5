"""Which rows a table has and how their pictures are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoji_adapter.config import from_mapping, read_yaml
from emoji_adapter.errors import InputError


@dataclass(frozen=True)
class Way:
    """How the pictures of a row are made.

    Attributes:
        prompt: which prompt of the cell.
        identity: the identity branch acts.
        expression: the expression branch acts.
        stock: both branches act as two stock IP-Adapters in the stock pipeline.
        swapped: the way whose pictures are taken, the identity being changed by a face swapper.
        own: the same without the template.
        identity_off: the same without the person.
    """

    prompt: Literal["prompt", "plain_prompt", "words_prompt"]
    identity: bool = False
    expression: bool = False
    stock: bool = False
    swapped: str | None = None
    own: str | None = None
    identity_off: str | None = None

    @property
    def acts(self) -> bool:
        """Some adapter's weights have a part in it."""
        return self.identity or self.expression


ORACLE, DECODED = "oracle", "autoencoder"
"""Ways without a denoiser: the perfect answer, and the same through the autoencoder."""

WAYS = {
    "plain": Way("plain_prompt"),
    "words": Way("words_prompt"),
    "identity": Way("plain_prompt", identity=True),
    "identity and words": Way("words_prompt", identity=True),
    "expression": Way("prompt", expression=True, own="plain"),
    "both": Way("prompt", identity=True, expression=True, own="identity", identity_off="expression"),
    "swap": Way("prompt", expression=True, swapped="expression", own="plain swap", identity_off="expression"),
    "plain swap": Way("plain_prompt", swapped="plain"),
    "stock": Way("prompt", True, True, stock=True, own="stock identity", identity_off="stock expression"),
    "stock identity": Way("plain_prompt", identity=True, stock=True),
    "stock expression": Way("prompt", expression=True, stock=True, own="plain"),
    ORACLE: Way("prompt"),
    DECODED: Way("prompt"),
}
"""Generate-then-swap ("swap") lets the expression branch alone draw the cell, then sets the person: the
strongest two stages without dual control that there are, for words are too coarse to name an expression."""


@dataclass(frozen=True)
class RowPlan:
    """A row that is asked for.

    Attributes:
        name: of the row.
        draw: how, a key of `WAYS`.
        adapter: micro, a folder, a file or a Hub id; None takes the table's.
        checkpoint: likewise.
        identity_scale: strength of the identity branch.
        expression_scale: strength of the expression branch.
        expression_guidance_scale: of the pipeline; None guides the expression as the text is.
        identity_off: also draw the cells without the person, for the leak at identity scale 0.
        against: row above that this one is compared with; None for the next one above.
    """

    name: str
    draw: str = "both"
    adapter: str | None = None
    checkpoint: str | None = None
    identity_scale: float = 1.0
    expression_scale: float = 1.0
    expression_guidance_scale: float | None = None
    identity_off: bool = True
    against: str | None = None

    def __post_init__(self) -> None:
        if self.draw not in WAYS:
            raise InputError(
                f"The row {self.name!r} is to be drawn as {self.draw!r}. Known: {', '.join(WAYS)}."
            )
        way = WAYS[self.draw]
        if self.expression_guidance_scale is not None and (way.stock or not way.expression):
            guided = ", ".join(name for name, way in WAYS.items() if way.expression and not way.stock)
            raise InputError(
                f"The row {self.name!r}, drawn as {self.draw!r}, has no expression_guidance_scale: leave it "
                f"out, or draw one of {guided}."
            )


ADAPTER = "emoji adapter"
"""Name of the row of the adapter under test where the user gives none."""

DEFAULT = (
    RowPlan("plain", "plain"),
    RowPlan("words only", "words"),
    RowPlan("identity only", "identity"),
    RowPlan("identity and words", "identity and words"),
    RowPlan("expression only", "expression"),
    RowPlan("oracle", ORACLE),
    RowPlan("oracle through autoencoder", DECODED),
    RowPlan("generate-then-swap", "swap"),
    RowPlan(ADAPTER, "both"),
)
"""The table of one adapter. `without` of ExpN is the identity-only row: all but the expression branch."""


@dataclass(frozen=True)
class TablePlan:
    """A table that is asked for; read from YAML or JSON by `load_plan`.

    Attributes:
        rows: from top to bottom, the adapter under test last.
        adapter: of the rows that name none; by default that of the last row.
        checkpoint: of the rows that name none.
    """

    rows: tuple[RowPlan, ...]
    adapter: str | None = None
    checkpoint: str | None = None


def load_plan(path: str | Path) -> TablePlan:
    """Read a table's plan.

    Raises:
        InputError: the file cannot be read, or the plan cannot be carried out, see `check_plan`.
    """
    plan = from_mapping(TablePlan, read_yaml(path), name=str(path))
    check_plan(plan.rows)
    return plan


def check_plan(rows: tuple[RowPlan, ...]) -> None:
    """See that the rows of a table make sense together.

    Raises:
        InputError: no rows, two of one name, or one that is compared with none above it.
    """
    seen: list[str] = []
    for row in rows:
        if row.name in seen:
            raise InputError(f"Two rows are named {row.name!r}. Give each row a name of its own.")
        if row.against is not None and row.against not in seen:
            raise InputError(
                f"The row {row.name!r} is to be compared with {row.against!r}, which is not above it. "
                f"Above it are: {', '.join(seen) or 'none'}."
            )
        seen.append(row.name)
    if not seen:
        raise InputError("The table has no rows. Name at least one under `rows:`.")
