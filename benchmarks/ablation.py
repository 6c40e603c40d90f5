"""The ablation from shipped weights, without training: `python benchmarks/ablation.py`, or `make ablation`.

Reads the rows of `benchmarks/ablation.yaml` and writes `benchmarks/results/ablation.json`, in the form of
`emoji-adapter evaluate`, the same as Markdown, a picture of the method's steps, and a report with many more.
Rows without weights are listed as missing. What is drawn is kept in --keep: an interrupted run goes on
where it stopped. On a CPU every core draws rows of its own, which is faster than all cores on one picture; at
last one process reads what all have kept.
"""

import argparse
import datetime as dt
import os
import subprocess
import sys
import time
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
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="that draw at a time, on a CPU")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    plan = table_plan(options.rows, [], "micro", "micro")
    sizes = (options.seed, options.identities, options.expressions, options.styles)
    batch = 256 if options.device.startswith("cuda") else 32
    settings = Settings(options.steps, options.guidance, batch)
    if options.part is not None:
        score_micro(share(plan, options.part, options.processes), sizes, settings, "cpu", options.keep)
        return
    if options.device == "cpu" and options.processes > 1:
        draw_apart(options.processes, options.keep)
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


def share(plan: TablePlan, part: int, processes: int) -> TablePlan:
    """Every so-many-th row that takes drawing, below the oracle, without which other cells would be asked."""
    drawn = [replace(row, against=None) for row in plan.rows if row.draw != ORACLE]
    oracle = [row for row in plan.rows if row.draw == ORACLE]
    return replace(plan, rows=(*oracle, *drawn[part::processes]))


def draw_apart(processes: int, keep: Path) -> None:
    """Draw each process's share of the rows into `keep`; what a process leaves out is drawn afterwards."""
    keep.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = []
    try:
        for part in range(processes):
            with (keep / f"part-{part}.log").open("w") as log:
                command = [sys.executable, __file__, *sys.argv[1:], "--part", str(part)]
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        began = time.monotonic()
        while any(process.poll() is None for process in running):
            kept = len(list(keep.glob("*.safetensors")))
            minutes = (time.monotonic() - began) / 60
            print(f"\r{kept} drawings kept, {minutes:.0f} min; logs: {keep}/part-*.log", end="", flush=True)
            time.sleep(1)
        print()
    finally:
        for process in running:
            process.terminate()
            process.wait()
    for part, process in enumerate(running):
        if process.returncode:
            print(f"{keep}/part-{part}.log: a process failed; what it has not drawn is drawn now.")


if __name__ == "__main__":
    main()
