"""`emoji-adapter idi`: portraits become cross-identity triplets, drawn by the adapter itself."""

from pathlib import Path
from typing import Annotated

import typer

from emoji_adapter.errors import InputError


def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Portraits: a folder (a sub-folder per person, captions in .txt), WebDataset .tar files, or "
            "a saved Hugging Face data set."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of all rounds; an interrupted round goes on there.")],
    recipe: Annotated[str, typer.Option(help="Packaged recipe, or a .yaml file.")] = "micro",
    adapter: Annotated[
        str | None, typer.Option(help="Adapter of the round before: micro, a folder, file or Hub id.")
    ] = None,
    round_number: Annotated[
        int | None, typer.Option("--round", min=1, help="Number of the round, from 1.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Shards to make.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same triplets.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. thresholds.leak=0.2."),
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="I/N", help="Make a part of the shards only: 2/4 is the second of four.")
    ] = "1/1",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that swap and look; default: the cores, less one.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where pictures are drawn: auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Make triplets of an identity photo, somebody else's expression, and the picture of both.

    What was kept and refused, and why, is shown in OUT/report.html. Train on it: `emoji-adapter prepare OUT`.
    """
    from emoji_adapter.data.idi.config import load_idi

    given = {"adapter": adapter, "round": round_number, "shards": shards, "seed": seed}
    flags = [f"{name}={value}" for name, value in given.items() if value is not None]
    config = load_idi(recipe, [*(settings or ()), *flags])
    share = parse_part(part)

    from emoji_adapter.cli.device import resolve_device
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.data.idi.run import idi
    from emoji_adapter.data.workers import default_workers

    with progress() as bar:
        task = bar.add_task("loading", total=None)

        def report(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, description="triplets tried")

        rates = idi(
            source,
            out,
            config,
            part=share,
            workers=default_workers() if workers is None else workers,
            device=resolve_device(device),
            progress=report,
        )
    if rates is None:
        typer.echo(f"Part {part} is done; the round is complete when the other parts are.")
        return
    typer.echo(f"{rates.kept} triplets of {rates.attempts} attempts in {out / f'round_{config.round}'}")
    for rate in rates.filters:
        typer.echo(f"  {rate.name}: {rate.passed} of {rate.reached} passed")
    typer.echo(f"Contact sheet: {out / 'report.html'}")


def parse_part(text: str) -> tuple[int, int]:
    """Read `--part`.

    Returns:
        (i, n), i from 0.

    Raises:
        InputError: it is not I/N with 1 <= I <= N.
    """
    number, slash, count = text.partition("/")
    digits = all(word.isascii() and word.isdigit() for word in (number, count))
    if slash and digits and 1 <= int(number) <= int(count):
        return int(number) - 1, int(count)
    raise InputError(f"--part must read I/N, such as 2/4, got {text!r}.")
