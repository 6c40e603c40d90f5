"""`emoji-adapter microworld`: draw people, and make every weight of the micro-world."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from emoji_adapter.cli.device import DeviceOption, resolve_device

command = typer.Typer(no_args_is_help=True, help="Draw people, and make the micro-world's weights.")


@command.command()
def render(
    out: Annotated[Path, typer.Option(help="Folder to make; one sub-folder a person.")],
    people: Annotated[int, typer.Option(min=1, help="Number of people.")] = 64,
    per_person: Annotated[int, typer.Option(min=1, help="Sittings of each.")] = 4,
    takes: Annotated[int, typer.Option(min=1, help="Pictures of a sitting: other expressions.")] = 1,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="People that training draws, or never.")
    ] = "train",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the pictures in pixels.")] = 64,
    device: Annotated[str, typer.Option(help="Where to draw: auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Draw people into sub-folders: PNG pictures and caption sidecars, as `prepare` reads them."""
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    gallery = Gallery(people=people, per_person=per_person, takes=takes, split=split, seed=seed, size=size)
    with progress() as bar:
        task = bar.add_task("drawing", total=len(gallery))
        write_gallery(gallery, out, device=resolve_device(device), advance=lambda n: bar.advance(task, n))
    typer.echo(f"{len(gallery)} pictures of {people} people in {out}")


@command.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the finished weights.")],
    recipe: Annotated[str, typer.Option(help="cpu, gpu, or a YAML file of one's own.")] = "cpu",
    stage: Annotated[
        list[str] | None, typer.Option(help="Only this stage; may be given several times.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of unfinished training; OUT.state by default.")
    ] = None,
    warm: Annotated[Path | None, typer.Option(help="Finished weights to start from.")] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            help="Compile renderer and U-Net: slow to start, then faster. Default: the renderer, on a GPU."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Make every weight of the micro-world from nothing; a killed build goes on where it was."""
    import logging

    from emoji_adapter.microworld.build import build as run

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = resolve_device(device)
    run(out, recipe, stages=stage or None, state=state, seed=seed, device=place, warm=warm, compiled=compiled)
    typer.echo(f"{out} is complete" if not stage else f"{', '.join(stage)}: done, in {out}")
