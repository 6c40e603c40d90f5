"""From pipelines, a benchmark and judges to the judged rows of a table."""

from collections.abc import Sequence
from typing import Any

from emoji_adapter.errors import DataError, InputError, WeightsNotFoundError
from emoji_adapter.evaluation import fingerprint
from emoji_adapter.evaluation.conditions import Conditions
from emoji_adapter.evaluation.drawing import Advance, Drawing, Load, Question, Settings, Studio, drawings_of
from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.plan import DECODED, DEFAULT, ORACLE, WAYS, RowPlan, check_plan
from emoji_adapter.evaluation.store import Store
from emoji_adapter.faces.swap import FaceSwapper
from emoji_adapter.metrics.protocol import Benchmark, Judges

SETTINGS = Settings()


def evaluate(
    load: Load,
    benchmark: Benchmark,
    judges: Judges,
    plans: Sequence[RowPlan] = DEFAULT,
    settings: Settings = SETTINGS,
    *,
    swapper: FaceSwapper | None = None,
    store: Store | None = None,
    advance: Advance = lambda name, count: None,
) -> Judged:
    """Draw and judge every row: the same cells, the same noise.

    A drawing that several rows need is made once; what `store` keeps is read back.

    Args:
        load: gives the pipeline of a checkpoint and an adapter.
        benchmark: asks.
        judges: read.
        plans: the rows, the adapter under test last.
        settings: how pictures are drawn.
        swapper: needed where a row is drawn by generate-then-swap.
        store: keeps drawings; None keeps nothing.
        advance: told of progress.

    Raises:
        InputError: rows that make no sense together, or that need a swapper where there is none.
        DataError: the encoders found a face in no cell's inputs, or a kept drawing is damaged.
    """
    check_plan(tuple(plans))
    present, missing = _present(load, plans)
    if swapper is None and any(WAYS[plan.draw].swapped for plan in present):
        raise InputError("Generate-then-swap needs a face swapper, and none was given.")
    conditions = Conditions(benchmark, lambda count: advance("encoding", count))
    for drawing in _acting(present):
        conditions.encode(load(drawing.checkpoint, drawing.adapter))
    numbers = conditions.numbers
    if not numbers:
        raise DataError(
            f"None of the {len(benchmark.cells)} cells of the {benchmark.name} benchmark has a face that the "
            "pipeline's analyzer finds. Evaluate with the pack that the adapter was trained with."
        )
    inputs = [(benchmark.photo(number), benchmark.template(number)) for number in numbers]
    question = _question(benchmark, numbers, inputs, present)
    studio = Studio(load, question, conditions, judges, settings, swapper, store, advance)
    rows = []
    for plan in present:
        rows.append(_row(studio, plan))
        advance(plan.name, 0)
    return Judged(
        cells=list(question.cells),
        photos=judges.read([photo for photo, _ in inputs], count_faces=False),
        templates=judges.read([template for _, template in inputs], count_faces=False),
        inputs=inputs,
        rows=rows,
        refused=len(benchmark.cells) - len(numbers),
        missing=missing,
        texts=judges.texts([cell.prompt for cell in question.cells]),
    )


def work(plans: Sequence[RowPlan], cells: int) -> int:
    """Upper bound of what `Advance` counts to: cells encoded and pictures drawn."""
    drawings = {drawing for plan in plans for drawing in drawings_of(plan).values()}
    denoised = [item for item in drawings if item.way not in (ORACLE, DECODED) and not WAYS[item.way].swapped]
    return cells * (1 + len(denoised))


def _present(load: Load, plans: Sequence[RowPlan]) -> tuple[list[RowPlan], dict[str, str]]:
    """The rows whose weights are there, and why the others are not."""
    present, missing = [], {}
    for plan in plans:
        try:
            for drawing in drawings_of(plan).values():
                if drawing.way != ORACLE:
                    load(drawing.checkpoint, drawing.adapter)
        except WeightsNotFoundError as error:
            missing[plan.name] = str(error)
        else:
            present.append(plan)
    return present, missing


def _acting(plans: Sequence[RowPlan]) -> list[Drawing]:
    """One drawing for each adapter that listens to pictures; the table's own if there is none."""
    drawings = [drawing for plan in plans for drawing in drawings_of(plan).values()]
    acting = {
        (item.checkpoint, item.adapter): item
        for item in drawings
        if WAYS[item.way].acts or WAYS[item.way].swapped
    }
    return list(acting.values()) or [Drawing("both")]


def _question(
    benchmark: Benchmark, numbers: Sequence[int], inputs: Sequence[tuple[Any, Any]], plans: Sequence[RowPlan]
) -> Question:
    cells = [benchmark.cells[number] for number in numbers]
    oracles = []
    if any(plan.draw in (ORACLE, DECODED) for plan in plans):
        known = [benchmark.oracle(number) for number in numbers]
        oracles = [answer for answer in known if answer is not None]
        if len(oracles) < len(known):
            raise InputError(
                f"The {benchmark.name} benchmark knows no perfect answers. Leave out the rows drawn as "
                f"{ORACLE} and {DECODED}."
            )
    pictures = {id(picture): picture for pair in inputs for picture in pair} | {
        id(picture): picture for picture in oracles
    }
    return Question(cells, oracles, fingerprint.of_cells(cells, pictures.values()))


def _row(studio: Studio, plan: RowPlan) -> Row:
    needed = drawings_of(plan)
    drawn = studio.drawn(needed["row"])
    companions = {name: studio.drawn(drawing).readings for name, drawing in needed.items() if name != "row"}
    return Row(plan.name, drawn.images, drawn.readings, plan.draw, against=plan.against, **companions)
