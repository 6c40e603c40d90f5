"""The ablation from shipped weights, without training: `python benchmarks/ablation.py`, or `make ablation`.

Reads the rows of `benchmarks/ablation.yaml` and writes `benchmarks/results/ablation.json`, in the form of
`emoji-adapter evaluate`, and a report with pictures. Rows without weights are listed as missing. What is
drawn is kept in --keep: a run that was interrupted goes on where it stopped.
"""

import argparse
import datetime as dt
from pathlib import Path

import torch
from record import RESULTS, commit, machine

from emoji_adapter.cli.evaluate import score_micro, table_plan
from emoji_adapter.cli.table import library_versions, show
from emoji_adapter.config import GUIDANCE
from emoji_adapter.evaluation.comparison import assemble
from emoji_adapter.evaluation.runner import Settings


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
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    plan = table_plan(options.rows, [], "micro", "micro")
    sizes = (options.seed, options.identities, options.expressions, options.styles)
    batch = 256 if options.device.startswith("cuda") else 32
    settings = Settings(options.steps, options.guidance, batch)
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
    show(assemble(judged, protocol, errors), judged, options.out, options.report)


if __name__ == "__main__":
    main()
