"""`emoji-adapter train`: a recipe and a prepared set become an adapter."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from emoji_adapter.errors import InputError


def train_command(
    recipe: Annotated[str, typer.Option(help="Packaged recipe, e.g. micro_identity, or a .yaml file.")],
    data: Annotated[Path, typer.Option(help="Prepared set, made by `emoji-adapter prepare`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the result is in OUT/adapter.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting, e.g. steps=2000, drops.text=0.05."
        ),
    ] = None,
    layers: Annotated[
        Path | None,
        typer.Option(
            help="Result of `emoji-adapter probe`: the expression acts, and is saved, in its layers only."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    device: Annotated[Literal["auto", "cpu"], typer.Option(help="cpu stays off the accelerator.")] = "auto",
) -> None:
    """Train the identity branch or the expression branch of an adapter, or align it (ICA).

    Ctrl-C saves a checkpoint first; --resume goes on from it and ends with the same weights.
    """
    from emoji_adapter.training.config import load_recipe

    chosen = [] if layers is None else [f"layers={json.dumps(chosen_layers(layers))}"]
    config = load_recipe(recipe, [*(settings or ()), *chosen])

    from emoji_adapter.cli.progress import progress
    from emoji_adapter.training.loop import train

    with progress() as bar:
        task = bar.add_task("training", total=config.steps)

        def report(step: int, steps: int, line: dict[str, Any] | None) -> None:
            if line is None:
                return
            speed = f"{line['images_per_second']:.0f} images/s"
            bar.update(
                task,
                completed=step,
                total=steps,
                description=f"training: loss {line['loss']:.4f}, {speed}",
            )

        adapter = train(
            config, data, out, resume=resume, device=None if device == "auto" else device, progress=report
        )
    typer.echo(f"The trained adapter is in {adapter}")


def chosen_layers(file: Path) -> list[str]:
    """Read the layers that a probe has chosen.

    Raises:
        InputError: the file cannot be read, or is not the result of a probe.
    """
    try:
        chosen = json.loads(file.read_text(encoding="utf-8"))["chosen"]
    except OSError as error:
        raise InputError(f"--layers {file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--layers {file} is not the result of `emoji-adapter probe`: expected JSON with a list "
            "`chosen` of layer names."
        ) from error
    if not isinstance(chosen, list) or not chosen or not all(isinstance(name, str) for name in chosen):
        raise InputError(f"--layers {file} chooses no layers: `chosen` is {chosen!r}, expected some names.")
    return chosen


command = train_command
