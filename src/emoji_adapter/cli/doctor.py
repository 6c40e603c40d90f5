"""`emoji-adapter doctor`: what is installed, what is missing, and the command that gets it."""

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "insightface", "onnxruntime", "numpy")
EXTRAS = {"train": "onnx", "eval": "jinja2", "app": "gradio", "video": "imageio", "distributed": "ray"}
"""A package of each extra, by which it is known."""

PARTS = {
    "checkpoint/model_index.json": "Stable Diffusion checkpoint",
    "adapter/config.json": "emoji adapter",
    "expression_encoder/config.json": "expression encoder",
    "faces/det.onnx": "face detector",
    "faces/rec.onnx": "face recogniser",
    "teacher/blendshapes.onnx": "blendshape teacher",
    "swapper/swapper.onnx": "face swapper",
    "judges/identity.safetensors": "judges",
}
"""A file of each part of the embedded weights, by which it is known."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        what: was looked at.
        state: what was found.
        good: nothing is to be done.
        advice: what to do otherwise.
        needed: the embedded default does not run without it.
    """

    what: str
    state: str
    good: bool = True
    advice: str = ""
    needed: bool = False


def command() -> None:
    """Examine versions, devices and weights; say what is missing and how to get it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    findings = [*packages(), *devices(), *providers(), *weights(), *face_packs(), *lone_networks()]
    table = Table("", "what", "state", "what to do", show_edge=False)
    for finding in findings:
        mark = "[green]✓[/]" if finding.good else "[red]✗[/]" if finding.needed else "[yellow]-[/]"
        table.add_row(mark, *map(escape, (finding.what, finding.state, finding.advice)))
    Console(width=None if Console().is_terminal else 160).print(table)
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(1)


def packages() -> list[Finding]:
    """This package, those it needs and those of its extras."""
    found = [Finding("emoji_adapter", _version("emoji_adapter") or "not installed, run from its source")]
    for name in PACKAGES:
        have = _version(name)
        found.append(
            Finding(name, have or "missing", have is not None, f"pip install {name}" * (not have), True)
        )
    for extra, package in EXTRAS.items():
        have = _version(package)
        advice = "" if have else f"pip install 'emoji_adapter[{extra}]'"
        state = f"{package} {have}" if have else "not installed"
        found.append(Finding(f"extra {extra}", state, have is not None, advice))
    return found


def devices() -> list[Finding]:
    """Processors and accelerators that torch can use."""
    try:
        import torch
    except ImportError:
        return [Finding("device", "unknown without torch", False)]
    found = [Finding("device cpu", f"{torch.get_num_threads()} threads")]
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        found.append(
            Finding(f"device cuda:{number}", f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB")
        )
    if torch.backends.mps.is_available():
        found.append(Finding("device mps", "Apple GPU"))
    return found


def weights() -> list[Finding]:
    """The embedded weights, part by part, with their licence and making from `card.json`."""
    from emoji_adapter.config import packaged_weights

    root = packaged_weights() / "micro"
    found = [_card(root / "card.json")]
    for file, what in PARTS.items():
        there = (root / file).is_file()
        advice = "" if there else "emoji-adapter microworld build --out " + str(root)
        found.append(Finding(f"micro: {what}", str(root / file) if there else "missing", there, advice, True))
    return found


def face_packs() -> list[Finding]:
    """Packs of insightface for photographs, and own packs beside them, with their licences."""
    from emoji_adapter.faces.packs import PHOTO_PACKS, home, networks_in

    found = []
    for pack in PHOTO_PACKS.values():
        folder = networks_in(home() / pack.name)
        state = f"{folder}, {pack.licence}" if folder else f"not downloaded; {pack.licence}"
        call = f"from emoji_adapter import FaceAnalyzer; FaceAnalyzer('{pack.name}').recogniser"
        advice = "" if folder else f'for photographs, {pack.megabytes} MB: python -c "{call}"'
        found.append(Finding(f"insightface {pack.name}", state, folder is not None, advice))
    for folder in sorted(home().glob("*/")):
        networks = networks_in(folder)
        if networks is not None and folder.name not in PHOTO_PACKS:
            licences = sorted(file.name for file in networks.glob("LICEN[CS]E*"))
            told = f"licence: {networks / licences[0]}" if licences else "no LICENSE file beside it"
            found.append(Finding(f"own face pack {folder.name}", f"{networks}, {told}"))
    return found


def lone_networks() -> list[Finding]:
    """Face swappers and second recognisers: .onnx files beside the packs, with their licences."""
    from emoji_adapter.faces.packs import home
    from emoji_adapter.hub.licences import network_licence

    return [
        Finding(f"face network {file.name}", f"{file}, licence: {network_licence(file)}")
        for file in sorted(home().glob("*.onnx"))
    ]


def providers() -> list[Finding]:
    """Where the networks of faces run."""
    try:
        from emoji_adapter.faces.providers import usable

        names = usable(None)
    except ImportError:
        return [Finding("face networks", "unknown without onnxruntime and insightface", False)]
    return [
        Finding(
            "face networks", f"run on {', '.join(name.removesuffix('ExecutionProvider') for name in names)}"
        )
    ]


def _card(file: Path) -> Finding:
    if not file.is_file():
        return Finding("micro: card", f"no {file}", False, "emoji-adapter microworld build")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return Finding("micro: card", f"{file} is not JSON", False, "restore it from the repository")
    told = [f"{key} {card[key]}" for key in ("licence", "recipe", "date", "machine") if key in card]
    return Finding("micro: card", ", ".join(told) or str(file))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
