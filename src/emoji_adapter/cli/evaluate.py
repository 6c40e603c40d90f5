"""`emoji-adapter evaluate`: the scores of adapters, beside opponents and the perfect answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoji_adapter.cli.device import DeviceOption, resolve_device
from emoji_adapter.cli.drawing import BatchOption, GuidanceOption, StepsOption, drawing_settings
from emoji_adapter.config import GUIDANCE
from emoji_adapter.errors import InputError

if TYPE_CHECKING:
    from emoji_adapter.evaluation.plan import TablePlan


def command(
    checkpoint: Annotated[str, typer.Option(help="micro, or a Stable Diffusion folder.")] = "micro",
    adapter: Annotated[str, typer.Option(help="micro, or an adapter's folder, file or Hub id.")] = "micro",
    rows: Annotated[
        Path | None, typer.Option(help="Rows of the table, a .yaml or .json file; --adapter serves the rest.")
    ] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADAPTER", help="One more adapter in the table, above --adapter; may be repeated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the people, expressions, scenes and noise.")] = 0,
    identities: Annotated[int, typer.Option(min=2, help="Test people.")] = 16,
    expressions: Annotated[int, typer.Option(min=1, help="Test expressions.")] = 8,
    styles: Annotated[int, typer.Option(min=1, help="Styles.")] = 2,
    steps: StepsOption = 25,
    guidance: GuidanceOption = GUIDANCE,
    batch: BatchOption = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is drawn: an interrupted table goes on.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this .json file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with pictures to this .html file.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Score adapters on people and expressions that no training has seen.

    Every row sees the same cells and the same noise, and is compared with the row above it.
    """
    from emoji_adapter.cli.generate import check_numbers
    from emoji_adapter.cli.table import check_table_outputs, library_versions, show

    check_numbers(guidance=guidance)
    check_table_outputs(json_file, report)
    plan = table_plan(rows, row or [], checkpoint, adapter)
    where = resolve_device(device)

    settings = drawing_settings(steps, guidance, batch, where)
    judged, errors = score_micro(plan, (seed, identities, expressions, styles), settings, where, keep)
    protocol = {
        "seed": seed,
        "identities": identities,
        "expressions": expressions,
        "styles": styles,
        "style_names": list(dict.fromkeys(cell.style for cell in judged.cells)),
        "checkpoint": plan.checkpoint,
        "adapter": plan.adapter,
        "judges": "micro",
        "steps": steps,
        "guidance": guidance,
        "device": where,
        "versions": library_versions(),
    }

    from emoji_adapter.evaluation.comparison import assemble

    show(assemble(judged, protocol, errors), judged, json_file, report)


def table_plan(rows: Path | None, more: list[str], checkpoint: str, adapter: str) -> "TablePlan":
    """Put the table together from the flags.

    Args:
        rows: file of rows.
        more: `NAME=ADAPTER`, rows above the adapter under test.
        checkpoint: of rows that name none.
        adapter: likewise.

    Raises:
        InputError: both `rows` and `more`, or a row that cannot be read.
    """
    from dataclasses import replace

    from emoji_adapter.evaluation.plan import DEFAULT, RowPlan, TablePlan, check_plan, load_plan

    if rows is not None:
        if more:
            raise InputError("Give either --rows or --row, not both: write the row into the file.")
        plan = load_plan(rows)
        last = plan.rows[-1].adapter
        return replace(
            plan, checkpoint=plan.checkpoint or checkpoint, adapter=plan.adapter or last or adapter
        )
    added = []
    for text in more:
        name, equals, where = text.partition("=")
        if not (name and equals and where):
            raise InputError(f"--row must read NAME=ADAPTER, got {text!r}.")
        added.append(RowPlan(name, adapter=where))
    found = (*DEFAULT[:-1], *added, DEFAULT[-1])
    check_plan(found)
    return TablePlan(found, adapter, checkpoint)


def score_micro(
    plan: "TablePlan", split: tuple[int, int, int, int], settings: Any, device: str, keep: Path | None = None
) -> tuple[Any, dict[str, Any]]:
    """Draw the micro-world's benchmark, run all rows, and measure the judges.

    Args:
        plan: the table, its checkpoint and adapter named.
        split: seed, people, expressions, styles.
        settings: see `metrics.protocol.Settings`.
        device: where the models work.
        keep: folder of what was drawn before.

    Returns:
        What `evaluate` returned, and the judges' errors.
    """
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.cli.table import run_table
    from emoji_adapter.evaluation.loading import Pipelines
    from emoji_adapter.evaluation.plan import WAYS
    from emoji_adapter.faces.swap import FaceSwapper
    from emoji_adapter.microworld.benchmark import MicroBenchmark
    from emoji_adapter.microworld.judges import MicroJudges

    seed, identities, expressions, styles = split
    load = Pipelines(plan.checkpoint or "micro", plan.adapter or "micro", device)
    with progress() as bar:
        task = bar.add_task("drawing the benchmark", total=None)
        pipe = load()
        size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        benchmark = MicroBenchmark(seed, identities, expressions, styles, size=size, device=device)
        judges = MicroJudges(device=device)
        bar.update(task, description="judging the judges")
        errors = judges.errors(seed, size=size)
    swaps = any(WAYS[row.draw].swapped for row in plan.rows)
    swapper = FaceSwapper() if swaps else None
    return run_table(load, benchmark, judges, plan.rows, settings, swapper, keep), errors
