"""Is the base adapter bad in the three ways that the method cures?

`python benchmarks/preflight.py` writes `benchmarks/results/preflight.json`. The adapter should leak the
template's identity and skin, drag the template's style along, and lose identity to control. Where a symptom
is missing there is nothing for the method to cure: mend the world first.
"""

import argparse
import json
from pathlib import Path

import torch
from record import RESULTS, record

from emoji_adapter.cli.evaluate import score_micro
from emoji_adapter.evaluation.plan import RowPlan, TablePlan
from emoji_adapter.evaluation.preflight import preflight
from emoji_adapter.evaluation.runner import Settings

ROWS = (
    RowPlan("oracle", "oracle"),
    RowPlan("identity only", "identity"),
    RowPlan("base", "both", identity_off=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", default="out/adapters/base", help="unpacked by packing.py")
    parser.add_argument("--checkpoint", default="micro")
    parser.add_argument("--seed", type=int, default=200, help="of people and expressions")
    parser.add_argument("--identities", type=int, default=16)
    parser.add_argument("--expressions", type=int, default=8)
    parser.add_argument("--styles", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--keep", type=Path, help="folder that keeps what is drawn")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    sizes = (options.seed, options.identities, options.expressions, options.styles)
    plan = TablePlan(ROWS, options.adapter, options.checkpoint)
    judged, errors = score_micro(plan, sizes, Settings(options.steps), options.device, options.keep)
    found = preflight(judged)
    figures = {
        "adapter": options.adapter,
        "checkpoint": options.checkpoint,
        **dict(zip(("seed", "identities", "expressions", "styles"), sizes, strict=True)),
        "steps": options.steps,
        "cells": len(judged.cells),
        "judge_errors": {name: value for name, value in errors.items() if not name.startswith("by_")},
        **found,
    }
    print(json.dumps(found, indent=1))
    print(record("preflight", figures, options.out))


if __name__ == "__main__":
    main()
