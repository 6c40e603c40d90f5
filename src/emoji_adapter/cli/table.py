"""Drawing, printing and writing a table: what `evaluate` and `accept` share."""

import json
from pathlib import Path
from typing import Any


def check_table_outputs(json_file: Path | None, report: Path | None) -> None:
    """Refuse files that cannot be written, before anything is drawn.

    Raises:
        InputError: see `check_output`.
    """
    from emoji_adapter.cli.output import check_output

    for file, suffix, flag in ((json_file, ".json", "--json"), (report, ".html", "--report")):
        if file is not None:
            check_output(file, [suffix], flag)


def run_table(
    load: Any, benchmark: Any, judges: Any, rows: Any, settings: Any, swapper: Any, keep: Path | None
) -> Any:
    """Draw and judge all rows behind a progress bar; arguments of `evaluation.runner.evaluate`.

    Args:
        load: gives pipelines.
        benchmark: asks.
        judges: read.
        rows: their plans.
        settings: how pictures are drawn.
        swapper: None where no row needs one.
        keep: folder of what was drawn before.
    """
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.evaluation.runner import evaluate, work
    from emoji_adapter.evaluation.store import Store

    with progress() as bar:
        task = bar.add_task("encoding", total=work(rows, len(benchmark.cells)))

        def advance(name: str, count: int) -> None:
            bar.update(task, description=name, advance=count)

        store = None if keep is None else Store(keep)
        return evaluate(
            load, benchmark, judges, rows, settings, swapper=swapper, store=store, advance=advance
        )


def show(result: dict[str, Any], judged: Any, json_file: Path | None, report: Path | None) -> None:
    """Print the tables and write what was asked for."""
    from rich.console import Console

    from emoji_adapter.cli.output import write_text
    from emoji_adapter.evaluation.report import report as write_report
    from emoji_adapter.evaluation.table import tables

    Console(width=None if Console().is_terminal else 240).print(tables(result))
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


def _write_sheets(judged: Any, report: Path) -> None:
    """Write each style's samples as a picture beside the report."""
    from emoji_adapter.cli.output import write_pictures
    from emoji_adapter.evaluation.report import sample_sheet

    for style in dict.fromkeys(cell.style for cell in judged.cells):
        write_pictures([sample_sheet(judged, style)], [report.with_name(f"{report.stem}_{style}.png")])
