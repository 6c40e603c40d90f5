"""`emoji-adapter evaluate`: the scores of an adapter, beside its opponents and the perfect answer."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    checkpoint: Annotated[str, typer.Option(help="micro, or a Stable Diffusion folder.")] = "micro",
    adapter: Annotated[str, typer.Option(help="micro, or an adapter's folder, file or Hub id.")] = "micro",
    seed: Annotated[int, typer.Option(min=0, help="Of the people, expressions, scenes and noise.")] = 0,
    identities: Annotated[int, typer.Option(min=2, help="Test people.")] = 16,
    expressions: Annotated[int, typer.Option(min=1, help="Test expressions.")] = 8,
    styles: Annotated[int, typer.Option(min=1, help="Styles.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 25,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 3.0,
    batch: Annotated[int | None, typer.Option(min=1, help="Cells drawn at a time.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this .json file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with pictures to this .html file.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Score an adapter on people and expressions that no training has seen."""
    from rich.console import Console

    from emoji_adapter.cli.device import resolve_device
    from emoji_adapter.cli.generate import check_numbers, load_pipeline
    from emoji_adapter.cli.output import check_output, write_text

    check_numbers(guidance=guidance)
    for file, suffix, flag in ((json_file, ".json", "--json"), (report, ".html", "--report")):
        if file is not None:
            check_output(file, [suffix], flag)
    where = resolve_device(device)
    pipe = load_pipeline(checkpoint, adapter, where)

    from emoji_adapter.evaluation.runner import Settings

    settings = Settings(steps, guidance, batch or (256 if where.startswith("cuda") else 32))
    judged, errors = _run(pipe, (seed, identities, expressions, styles), settings, where)
    protocol = {
        "seed": seed,
        "identities": identities,
        "expressions": expressions,
        "styles": styles,
        "style_names": list(dict.fromkeys(cell.style for cell in judged.cells)),
        "checkpoint": checkpoint,
        "adapter": adapter,
        "judges": "micro",
        "steps": steps,
        "guidance": guidance,
        "device": where,
        "versions": library_versions(),
    }

    from emoji_adapter.evaluation.report import report as write_report
    from emoji_adapter.evaluation.scores import assemble
    from emoji_adapter.evaluation.table import tables

    result = assemble(judged, protocol, errors)
    Console(width=None if Console().is_terminal else 180).print(tables(result))
    if json_file is not None:
        write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", json_file)
    if report is not None:
        write_text(write_report(result, judged), report)
        _write_sheets(judged, report)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that figures depend on; those not installed are left out."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in (
        "emoji_adapter",
        "torch",
        "diffusers",
        "transformers",
        "insightface",
        "onnxruntime",
        "numpy",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _run(pipe: Any, split: tuple[int, int, int, int], settings: Any, device: str) -> tuple[Any, Any]:
    """Draw the benchmark, run all rows, and measure the judges."""
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.evaluation.runner import WORK_PER_CELL, evaluate
    from emoji_adapter.microworld.benchmark import MicroBenchmark
    from emoji_adapter.microworld.judges import MicroJudges

    seed, identities, expressions, styles = split
    with progress() as bar:
        task = bar.add_task("drawing the benchmark", total=None)
        size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        benchmark = MicroBenchmark(seed, identities, expressions, styles, size=size, device=device)
        judges = MicroJudges(device=device)
        bar.update(task, description="judging the judges")
        errors = judges.errors(seed, size=size)
        bar.update(task, total=len(benchmark.cells) * WORK_PER_CELL, description="encoding the faces")

        def advance(name: str, count: int) -> None:
            bar.update(task, description=name, advance=count)

        return evaluate(pipe, benchmark, judges, settings, advance), errors


def _write_sheets(judged: Any, report: Path) -> None:
    """Write each style's samples as a picture beside the report."""
    from emoji_adapter.cli.output import write_pictures
    from emoji_adapter.evaluation.report import sample_sheet

    for style in dict.fromkeys(cell.style for cell in judged.cells):
        write_pictures([sample_sheet(judged, style)], [report.with_name(f"{report.stem}_{style}.png")])
