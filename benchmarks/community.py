"""Whether the adapter works unchanged on a community checkpoint: `python benchmarks/community.py`.

The community checkpoint is the base with its LoRA merged in: a rosy print that fades into cream paper outside
an oval. The adapter has never seen it. Drawn on both are people, expressions and noise alike; it counts what
share of ExpN is left, how far ID position falls, and whether the new look is kept: the corners nearer to
those of the community's own plain pictures than to those of the base's. The perfect answer of the community's
cells is the base's in the new look. Writes `benchmarks/results/community.json` and a picture beside it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import RESULTS, record

from emoji_adapter.cli.evaluate import score_micro
from emoji_adapter.config import packaged_weights
from emoji_adapter.evaluation.comparison import difference, ratio
from emoji_adapter.evaluation.grid import grid
from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.plan import RowPlan, TablePlan
from emoji_adapter.evaluation.runner import Settings
from emoji_adapter.evaluation.scores import Scorer, figure
from emoji_adapter.faces.pixels import from_bytes, to_bytes
from emoji_adapter.metrics.bootstrap import combine
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.stages.community import cameo, merge

WAYS = {"oracle": "oracle", "plain": "plain", "identity only": "identity", "emoji adapter": "both"}
PAPER = np.array([0.97, 0.93, 0.86])
CORNERS = 1.2
"""Distance from the middle, in half sides, from which a picture of the look is bare paper."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", default="micro")
    parser.add_argument("--seed", type=int, default=300, help="of people and expressions")
    parser.add_argument("--identities", type=int, default=16)
    parser.add_argument("--expressions", type=int, default=8)
    parser.add_argument("--styles", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--keep", type=Path, help="folder that keeps what is drawn")
    parser.add_argument("--community", type=Path, default=Path("out/community"), help="where it is written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    merge(packaged_weights() / "micro", options.community)
    rows = tuple(
        RowPlan(name + place, way, checkpoint=checkpoint, identity_off=False)
        for place, checkpoint in (("", "micro"), (", community", str(options.community)))
        for name, way in WAYS.items()
        if not (place and way == "oracle")
    )
    sizes = (options.seed, options.identities, options.expressions, options.styles)
    judged, errors = score_micro(
        TablePlan(rows, options.adapter, "micro"),
        sizes,
        Settings(options.steps),
        options.device,
        options.keep,
    )
    sides = {
        "base": part(judged, "", judged.row("oracle")),
        "community": part(judged, ", community", in_the_look(judged.row("oracle"))),
    }
    figures = {
        **dict(zip(("seed", "identities", "expressions", "styles"), sizes, strict=True)),
        "steps": options.steps,
        "cells": len(judged.cells),
        **compared({name: Scorer(side) for name, side in sides.items()}),
        "look": kept_look(sides),
        "judge_errors": {name: value for name, value in errors.items() if not name.startswith("by_")},
    }
    print(record("community", figures, options.out))
    picture(judged).save(options.out / "community.png")


def part(judged: Judged, place: str, oracle: Row) -> Judged:
    """The rows of one checkpoint, named alike in both."""
    rows = [replace(judged.row(name + place), name=name) for name in WAYS if name != "oracle"]
    return replace(judged, rows=[oracle, *rows])


def in_the_look(oracle: Row) -> Row:
    """The perfect answers as the community checkpoint would have them, judged anew."""
    pixels = from_bytes(torch.from_numpy(np.stack([np.asarray(image) for image in oracle.images])))
    images = [Image.fromarray(image) for image in to_bytes(cameo(pixels))]
    return replace(oracle, images=images, readings=MicroJudges().read(images))


def compared(scorers: dict[str, Scorer]) -> dict[str, dict]:
    """The adapter's figures on both; what is left of ExpN, and how far ID position falls."""
    found = {name: scorer.estimates("emoji adapter") for name, scorer in scorers.items()}
    figures = {
        name: {key: figure(side[key]) for key in ("normalised", "position", "found", "leak")}
        for name, side in found.items()
    }
    base, community = found["base"], found["community"]
    figures["kept"] = {
        "normalised_ratio": figure(combine(ratio, community["normalised"], base["normalised"])),
        "position_difference": figure(combine(difference, community["position"], base["position"])),
    }
    return figures


def kept_look(sides: dict[str, Judged]) -> dict[str, float]:
    """Shares of pictures with the community's look, by the corners; the plain rows draw the line."""
    plain = {name: paper_distance(side.row("plain")) for name, side in sides.items()}
    line = float(np.mean([plain[name].mean() for name in sides]))
    return {
        "line": line,
        "plain_of_the_base": float((plain["base"] < line).mean()),
        "plain_of_the_community": float((plain["community"] < line).mean()),
        "adapter_on_the_base": float((paper_distance(sides["base"].row("emoji adapter")) < line).mean()),
        "adapter_on_the_community": float(
            (paper_distance(sides["community"].row("emoji adapter")) < line).mean()
        ),
    }


def paper_distance(row: Row) -> np.ndarray:
    """Mean absolute difference of each picture's corners from the paper, [0, 1]."""
    images = np.stack([np.asarray(image) for image in row.images]) / 255
    axis = (np.arange(images.shape[1]) + 0.5) / images.shape[1] * 2 - 1
    corners = np.hypot(*np.meshgrid(axis, axis)) > CORNERS
    return np.abs(images[:, corners] - PAPER).mean(axis=(1, 2))


def picture(judged: Judged, count: int = 10) -> Image.Image:
    """Photo and template above, the adapter's pictures on both checkpoints below."""
    chosen = np.linspace(0, len(judged.cells) - 1, count).astype(int)
    rows = {
        name: [judged.inputs[cell][side] for cell in chosen]
        for side, name in enumerate(("identity", "expression"))
    }
    for name in ("emoji adapter", "plain, community", "emoji adapter, community"):
        rows[name] = [judged.row(name).images[cell] for cell in chosen]
    return grid(list(rows.values()), rows=list(rows))


if __name__ == "__main__":
    main()
