"""The ablation's adapters at a byte a number, so that all of them fit into the repository.

    python benchmarks/packing.py pack weights/ablation base=FOLDER NAME=FOLDER ...
    python benchmarks/packing.py unpack weights/ablation out/adapters

A packed adapter is the difference of its weights from those of the first that was packed with it (the first's
own from nothing), each row rounded to 127 parts of its largest number: what training changed comes back to
within a hundredth. What is equal in the first takes no room. Unpacked, they are ordinary adapters: the table
is drawn of these.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from emoji_adapter import EmojiAdapter

PARTS = 127
SCALE = ".scale"
CODES = "blendshape_projection."
"""Weights that read blendshapes; a row that reads pictures alone does without."""


def pack(adapters: dict[str, Path], folder: Path, taught: Sequence[str] = ()) -> None:
    """Write adapters as their differences from the first of them.

    Args:
        adapters: folders by name; the first is the base of the others, which read pictures alone.
        folder: for the files, NAME.safetensors.
        taught: names that keep what reads blendshapes, too; NAME_taught is the same adapter with the
            teacher's code beside the picture.
    """
    first, *_ = adapters
    base = EmojiAdapter.from_pretrained(adapters[first]).state_dict()
    known: dict[str, Tensor] = {}
    for name, place in adapters.items():
        model = EmojiAdapter.from_pretrained(place)
        weights = model.state_dict()
        if name != first:
            known = known or restored(folder / f"{first}.safetensors")
            weights = {key: value for key, value in weights.items() if not same(value, base.get(key))}
            if name not in taught:
                model.register_to_config(blendshapes=None)
                weights = {key: value for key, value in weights.items() if not key.startswith(CODES)}
        _write(folder / f"{name}.safetensors", changes_of(weights, known), model, first if known else "")
        if name in taught:
            model.register_to_config(expression_teacher="micro")
            _write(folder / f"{name}_taught.safetensors", {}, model, name)


def same(value: Tensor, other: Tensor | None) -> bool:
    """Whether there is another and it is equal, number by number."""
    return other is not None and torch.equal(value, other)


def changes_of(weights: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor]:
    """What weights are beyond the known ones, or 0: matrices in bytes, a scale a row, others in halves."""
    changes: dict[str, Tensor] = {}
    for name, value in weights.items():
        change = value.float() - known.get(name, torch.zeros(()))
        if change.dim() < 2:
            changes[name] = change.half()
        else:
            scale = (change.abs().amax(-1, keepdim=True) / PARTS).clamp_min(1e-7).half()
            steps = (change / scale.float()).round().clamp(-PARTS, PARTS)
            changes |= {name: steps.to(torch.int8), name + SCALE: scale}
    return changes


def unpack(file: Path, folder: Path) -> None:
    """Write a packed adapter as an ordinary one, in half precision."""
    model = EmojiAdapter(**json.loads(_header(file)["config"]))
    weights = restored(file)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    model.half().save_pretrained(folder)


def unpack_all(packed: Path, folder: Path) -> None:
    """Unpack every file of a folder, each into a folder of its name."""
    for file in sorted(packed.glob("*.safetensors")):
        unpack(file, folder / file.stem)


def restored(file: Path) -> dict[str, Tensor]:
    """The weights of a packed adapter and of its base, float32, by name."""
    base = _header(file)["base"]
    weights = restored(file.with_name(f"{base}.safetensors")) if base else {}
    with safe_open(file, "pt") as packed:
        for name in packed.keys():  # noqa: SIM118 (it is no mapping)
            if not name.endswith(SCALE):
                change = packed.get_tensor(name).float()
                if change.dim() > 1:
                    change = change * packed.get_tensor(name + SCALE).float()
                weights[name] = weights.get(name, torch.zeros(())) + change
    return weights


def _write(file: Path, changes: dict[str, Tensor], model: EmojiAdapter, base: str) -> None:
    config = {key: value for key, value in model.config.items() if not key.startswith("_")}
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    save_file(changes, temporary, {"config": json.dumps(config), "base": base})
    temporary.replace(file)


def _header(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as packed:
        return packed.metadata()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write weights/ablation")
    packing.add_argument("packed", type=Path)
    packing.add_argument("adapters", nargs="+", metavar="NAME=FOLDER", help="the first is the base")
    packing.add_argument("--taught", nargs="*", default=[], help="names that read blendshapes, too")
    unpacking = commands.add_parser("unpack", help="ordinary adapters of all of them")
    unpacking.add_argument("packed", type=Path)
    unpacking.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "pack":
        adapters = dict(item.split("=", 1) for item in options.adapters)
        pack({name: Path(place) for name, place in adapters.items()}, options.packed, options.taught)
    else:
        unpack_all(options.packed, options.folder)


if __name__ == "__main__":
    main()
