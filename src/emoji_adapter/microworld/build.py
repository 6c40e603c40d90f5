"""Make every weight of the micro-world from nothing: `emoji-adapter microworld build`."""

import importlib
import json
import logging
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from emoji_adapter.config import from_mapping
from emoji_adapter.errors import InputError
from emoji_adapter.microworld.fit import StageRecipe, Workshop
from emoji_adapter.microworld.splits import stream

log = logging.getLogger(__name__)

STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "text": ("language:build_text", ()),
    "vision": ("language:build_vision", ("text",)),
    "autoencoder": ("autoencoder:build", ()),
    "recogniser": ("faces:build_recogniser", ()),
    "identity_judge": ("judges:build_identity", ()),
    "expression_judge": ("judges:build_expression", ()),
    "teacher": ("faces:build_teacher", ()),
    "detector": ("faces:build_detector", ()),
    "second_recogniser": ("faces:build_second_recogniser", ()),
    "scene_judge": ("judges:build_scene", ()),
    "denoiser": ("denoiser:build", ("text", "autoencoder")),
    "swapper": ("faces:build_swapper", ("recogniser",)),
    "community": ("community:build", ("denoiser",)),
}
"""Stage -> function in `stages`, and the stages that must be done before."""


def load_recipe(name_or_path: str) -> tuple[int, dict[str, StageRecipe]]:
    """Read `cpu`, `gpu`, or a YAML file of one's own: the side of the pictures and how each stage is trained.

    Raises:
        InputError: no such recipe, or a stage or key that is not known.
    """
    path = Path(__file__).parent / "recipes" / f"{name_or_path}.yaml"
    path = path if path.exists() else Path(name_or_path)
    if not path.is_file():
        raise InputError(f"No recipe {name_or_path!r}: expected 'cpu', 'gpu' or a YAML file.")
    stages = yaml.safe_load(path.read_text())
    size = stages.pop("size", 128)
    if unknown := set(stages) - set(STAGES):
        raise InputError(f"{path} names unknown stages {sorted(unknown)}; known are {list(STAGES)}.")
    return size, {
        n: from_mapping(StageRecipe, values, name=f"{path.name}: {n}") for n, values in stages.items()
    }


def build(
    out: Path,
    recipe: str = "cpu",
    *,
    stages: list[str] | None = None,
    state: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    warm: Path | None = None,
    compiled: bool | None = None,
) -> None:
    """Run the stages that are not done yet, in order, in this process.

    Args:
        out: Folder of the weights.
        recipe: `cpu`, `gpu` or a YAML file.
        stages: Only these; all by default.
        state: Where unfinished training is kept; `<out>.state` by default.
        seed: Of everything drawn.
        device: A torch device; a GPU if there is one.
        warm: Finished weights to start from.
        compiled: Compile renderer and U-Net: faster, after some minutes. None: the renderer, on a GPU.

    Raises:
        InputError: an unknown recipe or stage, or one whose requirements are not done.
    """
    size, recipes = load_recipe(recipe)
    shop = Workshop(
        out=out,
        state=state or out.with_name(out.name + ".state"),
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        seed=seed,
        size=size,
        recipes=recipes,
        warm=warm,
        compiled=compiled,
    )
    for stage in stages or list(STAGES):
        if stage not in STAGES:
            raise InputError(f"No stage {stage!r}; known are {list(STAGES)}.")
        if not _done(shop, stage).exists():
            _run(shop, stage, recipe)
    write_card(shop)


def _done(shop: Workshop, stage: str) -> Path:
    return shop.state / stage / "done.json"


def _run(shop: Workshop, stage: str, recipe: str) -> None:
    where, needs = STAGES[stage]
    if missing := [n for n in needs if not _done(shop, n).exists()]:
        raise InputError(f"Stage {stage!r} needs {missing} first; run them with --stage.")
    module, function = where.split(":")
    torch.manual_seed(stream("train", f"initial weights of {stage}", shop.seed).initial_seed())
    begun = time.strftime("%Y-%m-%d")
    getattr(importlib.import_module(f"emoji_adapter.microworld.stages.{module}"), function)(shop)
    record = {
        "date": begun,
        "recipe": recipe,
        "seed": shop.seed,
        "machine": machine(shop.device),
        "warm_start": shop.warm is not None,
    } | shop.figures.get(stage, {})
    partial = _done(shop, stage).with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2))
    os.replace(partial, _done(shop, stage))


def machine(device: torch.device) -> str:
    """What kind of machine this is, in words."""
    return (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{os.cpu_count()} CPU cores, {platform.machine()}"
    )


def write_card(shop: Workshop) -> None:
    """Gather what is known of every finished stage in `card.json`."""
    path = shop.out / "card.json"
    card = json.loads(path.read_text()) if path.exists() else {}
    card |= {
        "name": "micro", "licence": "Apache-2.0", "faces": "drawn by emoji_adapter.renderer; no photographs",
        "versions": {p: version(p) for p in ("emoji_adapter", "torch", "diffusers", "transformers")},
    }  # fmt: skip
    done = {s: json.loads(_done(shop, s).read_text()) for s in STAGES if _done(shop, s).exists()}
    card["stages"] = card.get("stages", {}) | done
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(card, indent=2) + "\n")
    os.replace(partial, path)
