"""From a pipeline and a benchmark to judged pictures, one row of the table after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL.Image import Image
from torch import Tensor

from emoji_adapter.errors import DataError, FaceError
from emoji_adapter.metrics.protocol import Benchmark, Judges
from emoji_adapter.metrics.records import Cell, Readings

ORACLE = "oracle"
DECODED = "oracle through autoencoder"
PLAIN = "plain"
IDENTITY_ONLY = "identity only"
EXPRESSION_ONLY = "expression only"
ADAPTER = "emoji adapter"


@dataclass(frozen=True)
class RowPlan:
    """How the pictures of a row are made.

    Attributes:
        name: of the row.
        prompt: which prompt of the cell.
        identity: the identity branch acts.
        expression: the expression branch acts.
    """

    name: str
    prompt: Literal["prompt", "plain_prompt", "words_prompt"]
    identity: bool
    expression: bool


GENERATED = (
    RowPlan(PLAIN, "plain_prompt", identity=False, expression=False),
    RowPlan("words only", "words_prompt", identity=False, expression=False),
    RowPlan(IDENTITY_ONLY, "plain_prompt", identity=True, expression=False),
    RowPlan("identity and words", "words_prompt", identity=True, expression=False),
    RowPlan(EXPRESSION_ONLY, "prompt", identity=False, expression=True),
    RowPlan(ADAPTER, "prompt", identity=True, expression=True),
)
"""Rows that the pipeline draws. `without` of ExpN is the identity-only row: all but the expression branch."""


@dataclass(frozen=True)
class Row:
    """Pictures of all cells, and what the judges read in them."""

    name: str
    images: list[Image]
    readings: Readings


@dataclass(frozen=True)
class Judged:
    """All that scores and reports are made of.

    Attributes:
        cells: those that could be asked.
        photos: the judges on the identity photos, a row a cell.
        templates: the judges on the templates.
        inputs: (photo, template) of every cell.
        rows: in the order of the table, the adapter under test last.
        refused: cells left out of all rows because the encoders found no face in the photo or template.
    """

    cells: list[Cell]
    photos: Readings
    templates: Readings
    inputs: list[tuple[Image, Image]]
    rows: list[Row]
    refused: int

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Settings:
    """How pictures are drawn.

    Attributes:
        steps: denoising steps.
        guidance: classifier-free guidance scale.
        batch: cells drawn at a time.
    """

    steps: int = 25
    guidance: float = 3.0
    batch: int = 32


Advance = Callable[[str, int], object]
"""Told what is being done (`encoding`, a row's name, `judging`) and for how many more pictures."""

WORK_PER_CELL = 1 + len(GENERATED) + len(GENERATED) + 2
"""Encodings, pictures drawn and pictures judged for each cell: the total that `Advance` counts to."""


def evaluate(
    pipe: Any,
    benchmark: Benchmark,
    judges: Judges,
    settings: Settings = Settings(),
    advance: Advance = lambda name, count: None,
) -> Judged:
    """Draw and judge every row.

    Args:
        pipe: an `EmojiDiffPipeline` with the adapter under test.
        benchmark: asks.
        judges: read.
        settings: how pictures are drawn.
        advance: told of progress.

    Raises:
        DataError: the encoders found a face in no cell's inputs.
    """
    pipe.set_progress_bar_config(disable=True)
    conditions = _Conditions(pipe, benchmark, advance)
    numbers = conditions.numbers
    if not numbers:
        raise DataError(
            f"None of the {len(benchmark.cells)} cells of the {benchmark.name} benchmark has a face that the "
            "pipeline's analyzer finds. Evaluate with the pack that the adapter was trained with."
        )
    cells = [benchmark.cells[number] for number in numbers]
    inputs = [(benchmark.photo(number), benchmark.template(number)) for number in numbers]
    oracles = [benchmark.oracle(number) for number in numbers]
    images = {plan.name: _draw(pipe, plan, cells, conditions, settings, advance) for plan in GENERATED[:-1]}
    images[ORACLE] = oracles
    images[DECODED] = through_autoencoder(pipe, oracles, settings.batch)
    images[ADAPTER] = _draw(pipe, GENERATED[-1], cells, conditions, settings, advance)
    rows = []
    for name, pictures in images.items():
        rows.append(Row(name, pictures, judges.read(pictures)))
        advance("judging", len(pictures))
    return Judged(
        cells=cells,
        photos=judges.read([photo for photo, _ in inputs], count_faces=False),
        templates=judges.read([template for _, template in inputs], count_faces=False),
        inputs=inputs,
        rows=rows,
        refused=len(benchmark.cells) - len(cells),
    )


class _Conditions:
    """Embeddings of every cell's inputs; photos are read once a person."""

    def __init__(self, pipe: Any, benchmark: Benchmark, advance: Advance):
        people: dict[int, Tensor | None] = {}
        self.numbers: list[int] = []
        identities, expressions = [], []
        for number, cell in enumerate(benchmark.cells):
            if cell.identity not in people:
                people[cell.identity] = _encoded(pipe.encode_identity, benchmark.photo(number))
            identity = people[cell.identity]
            expression = None
            if identity is not None:
                expression = _encoded(pipe.encode_expression, benchmark.template(number))
            if identity is not None and expression is not None:
                self.numbers.append(number)
                identities.append(identity)
                expressions.append(expression)
            advance("encoding", 1)
        self.identities = torch.stack(identities) if identities else None
        self.expressions = torch.stack(expressions) if expressions else None

    def of(self, plan: RowPlan, rows: slice) -> dict[str, Tensor | None]:
        """Keyword arguments of the pipeline for some cells."""
        assert self.identities is not None  # noqa: S101, evaluate has refused an empty set
        assert self.expressions is not None  # noqa: S101
        return {
            "identity_embeds": self.identities[rows] if plan.identity else None,
            "expression_embeds": self.expressions[rows] if plan.expression else None,
        }


def _encoded(encode: Callable[[Image], Tensor], picture: Image) -> Tensor | None:
    try:
        return encode(picture)
    except FaceError:
        return None


def _draw(
    pipe: Any,
    plan: RowPlan,
    cells: Sequence[Cell],
    conditions: _Conditions,
    settings: Settings,
    advance: Advance,
) -> list[Image]:
    images: list[Image] = []
    for rows in _slices(len(cells), settings.batch):
        part = cells[rows]
        images += pipe(
            [getattr(cell, plan.prompt) for cell in part],
            generator=[torch.Generator("cpu").manual_seed(cell.seed) for cell in part],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            **conditions.of(plan, rows),
        ).images
        advance(plan.name, len(part))
    return images


@torch.no_grad()
def through_autoencoder(pipe: Any, images: Sequence[Image], batch: int = 32) -> list[Image]:
    """Encode pictures to the mode of their latents and back: the best that a generator can draw."""
    decoded: list[Image] = []
    for rows in _slices(len(images), batch):
        pixels = pipe.image_processor.preprocess(list(images[rows]))
        latents = pipe.vae.encode(pixels.to(pipe.vae.device, pipe.vae.dtype)).latent_dist.mode()
        decoded += pipe.image_processor.postprocess(pipe.vae.decode(latents).sample)
    return decoded


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
