"""The ablation from shipped weights, without training: `python benchmarks/ablation.py`, or `make ablation`.

Reads the rows of `benchmarks/ablation.yaml` and writes `benchmarks/results/ablation.json`, in the form of
`emoji-adapter evaluate`, the same as Markdown, a picture of the method's steps, and a report with many more.
Rows without weights are listed as missing. What is drawn is kept in --keep: an interrupted run goes on
where it stopped. On a CPU every core draws rows of its own, which is faster than all cores on one picture:
one process makes the table from the top, the others draw for it from further down, towards it.
"""

import argparse
import contextlib
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from markdown import markdown
from PIL import Image
from record import RESULTS, commit, machine

from emoji_adapter.cli.evaluate import score_micro, table_plan
from emoji_adapter.cli.table import library_versions, show
from emoji_adapter.config import GUIDANCE
from emoji_adapter.data.workers import usable_cores
from emoji_adapter.evaluation.comparison import assemble
from emoji_adapter.evaluation.grid import grid
from emoji_adapter.evaluation.judged import Judged
from emoji_adapter.evaluation.plan import ORACLE, TablePlan
from emoji_adapter.evaluation.runner import Settings

LADDER = {
    "identity only": "identity only",
    "base": "base",
    "layers": "base + layers",
    "IDI": "IDI round 2",
    "ICA": "ICA one-step",
    "teacher": "ICA one-step, teacher beside it",
    "feedback": "emoji adapter",
    "drawn": "oracle",
}
"""The rows of the picture, by the words above them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_suffix(".yaml"))
    parser.add_argument("--out", type=Path, default=RESULTS / "ablation.json")
    parser.add_argument("--report", type=Path, default=Path("out/ablation.html"))
    parser.add_argument("--keep", type=Path, default=Path("out/ablation"))
    parser.add_argument("--seed", type=int, default=100, help="of people and expressions: a fresh split")
    parser.add_argument("--identities", type=int, default=24)
    parser.add_argument("--expressions", type=int, default=12)
    parser.add_argument("--styles", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="that draw at a time, on a CPU")
    parser.add_argument("--helper", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    plan = table_plan(options.rows, [], "micro", "micro")
    sizes = (options.seed, options.identities, options.expressions, options.styles)
    batch = 256 if options.device.startswith("cuda") else 16
    settings = Settings(options.steps, options.guidance, batch)
    helpers = options.processes - 1 if options.device == "cpu" else 0
    if options.helper is not None:
        score_micro(upwards(plan, options.helper, helpers), sizes, settings, "cpu", options.keep)
        return
    with helping(helpers, options.keep):
        judged, errors = score_micro(plan, sizes, settings, options.device, options.keep)
    protocol = dict(zip(("seed", "identities", "expressions", "styles"), sizes, strict=True)) | {
        "style_names": list(dict.fromkeys(cell.style for cell in judged.cells)),
        "checkpoint": plan.checkpoint,
        "adapter": plan.adapter,
        "judges": "micro",
        "steps": options.steps,
        "guidance": options.guidance,
        "device": options.device,
        "versions": library_versions(),
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "commit": commit(),
    }
    for file in (options.out, options.report):
        file.parent.mkdir(parents=True, exist_ok=True)
    result = assemble(judged, protocol, errors)
    show(result, judged, options.out, options.report)
    options.out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    ladder(judged).save(options.out.with_suffix(".png"))


def ladder(judged: Judged, count: int = 8) -> Image.Image:
    """Some cells, evenly spaced, in the rows of `LADDER` that were drawn."""
    drawn = {row.name: row for row in judged.rows}
    rows = {title: drawn[name] for title, name in LADDER.items() if name in drawn}
    cells = np.linspace(0, len(judged.cells) - 1, count).astype(int)
    lines = [[*judged.inputs[cell], *(row.images[cell] for row in rows.values())] for cell in cells]
    return grid(lines, ["identity", "expression", *rows], tile=96)


def upwards(plan: TablePlan, helper: int, helpers: int) -> TablePlan:
    """The rows that take drawing, from the bottom up, each helper beginning elsewhere.

    They stand below the oracle, without which other cells would be asked, and are compared with none.
    """
    oracle = [row for row in plan.rows if row.draw == ORACLE]
    drawn = [replace(row, against=None) for row in reversed(plan.rows) if row.draw != ORACLE]
    first = helper * len(drawn) // helpers
    return replace(plan, rows=(*oracle, *drawn[first:], *drawn[:first]))


@contextlib.contextmanager
def helping(helpers: int, keep: Path) -> Iterator[None]:
    """Let other processes draw into `keep` meanwhile, every process with one thread."""
    if not helpers:
        yield
        return
    keep.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    os.environ |= environment
    torch.set_num_threads(1)
    running = []
    try:
        for helper in range(helpers):
            with (keep / f"helper-{helper}.log").open("w") as log:
                command = [sys.executable, __file__, *sys.argv[1:], "--helper", str(helper)]
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        yield
    finally:
        for helper, process in enumerate(running):
            if process.poll():
                print(f"A helper failed ({keep}/helper-{helper}.log); its rows were drawn without it.")
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
