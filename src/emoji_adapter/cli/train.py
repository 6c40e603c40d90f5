"""`emoji-adapter train`: a recipe and a prepared set become an adapter."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer


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
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    device: Annotated[Literal["auto", "cpu"], typer.Option(help="cpu stays off the accelerator.")] = "auto",
) -> None:
    """Train the identity branch or the expression branch of an adapter.

    Ctrl-C saves a checkpoint first; --resume goes on from it and ends with the same weights.
    """
    from emoji_adapter.training.config import load_recipe

    config = load_recipe(recipe, settings or ())

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


command = train_command
