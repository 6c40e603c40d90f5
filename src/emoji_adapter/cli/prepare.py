"""`emoji-adapter prepare`: portraits, or triplets, become the cached set that training reads."""

from pathlib import Path
from typing import Annotated

import typer


def prepare_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Pictures (a sub-folder per person, captions in .txt; or WebDataset .tar files, or a saved "
            "Hugging Face data set), or triplets made by `emoji-adapter idi`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the prepared set; an interrupted run goes on there.")],
    checkpoint: Annotated[
        str, typer.Option(help="Checkpoint to train on: micro, a folder, or a Hub id.")
    ] = "micro",
    pack: Annotated[
        str, typer.Option(help="Face pack: micro (drawn faces), buffalo_l (photos), or a folder.")
    ] = "micro",
    expression_encoder: Annotated[str, typer.Option(help="Encoder whose template crops are cut.")] = "micro",
    teacher: Annotated[str, typer.Option(help="Blendshape teacher: micro or an .onnx file.")] = "micro",
    second_recogniser: Annotated[
        str | None,
        typer.Option(
            help="Store a second recogniser's embeddings too: micro or an .onnx file (compound identity)."
        ),
    ] = None,
    turned: Annotated[
        Path | None,
        typer.Option(
            metavar="PORTRAITS",
            help="The portraits that triplets were made from: each triplet comes turned round too, the "
            "portrait as the target and the drawing as the template.",
        ),
    ] = None,
    min_face: Annotated[int, typer.Option(min=8, help="Smallest face, in pixels.")] = 32,
    detector_size: Annotated[
        int | None, typer.Option(min=32, help="Detect at this size only, e.g. 128 for pictures of 128 px.")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Pictures per shard.")] = 1024,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that look for faces; default: the cores, less one.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the autoencoder: auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Find, crop and encode the faces of pictures or triplets, once, for training.

    Pictures that cannot be used are listed with their reason in OUT/refusals.jsonl.
    """
    from emoji_adapter.cli.device import resolve_device
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.data.prepare import PrepareConfig, prepare
    from emoji_adapter.data.workers import default_workers

    config = PrepareConfig(
        checkpoint=checkpoint,
        pack=pack,
        expression_encoder=expression_encoder,
        teacher=teacher,
        second_recogniser=second_recogniser,
        turned=turned,
        min_face=min_face,
        detector_size=detector_size,
        shard_size=shard_size,
        workers=default_workers() if workers is None else workers,
        device=resolve_device(device),
    )
    with progress() as bar:
        tasks = {}

        def report(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)

        meta = prepare(folder, out, config, report)
    typer.echo(f"{meta.pictures} pictures of {meta.persons} people in {out}; {meta.refused} refused.")
    if meta.refused:
        typer.echo(f"Reasons: {out / 'refusals.jsonl'}")
    if meta.alone:
        typer.echo(
            f"{meta.alone} are the only picture of their person: their identity photo is the picture itself."
        )


command = prepare_command
