"""`emoji-adapter push`: an adapter goes to the Hugging Face Hub, with a model card."""

from pathlib import Path
from typing import Annotated

import typer

from emoji_adapter.errors import InputError

FORMATS = ("float16", "bfloat16", "float32")


def command(
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub; made if missing.")
    ],
    adapter: Annotated[str, typer.Option(help="micro, or an adapter's folder, file or Hub id.")] = "micro",
    base_model: Annotated[
        str | None,
        typer.Option(help="Hub id of the checkpoint it was trained on; of its family by default."),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="File that evaluate --json wrote: its scores go into the card.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help=f"Number format of the weights: {', '.join(FORMATS)}.")
    ] = FORMATS[0],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token: Annotated[
        str | None, typer.Option(help="Token with the right to write; that of `hf auth login` by default.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Propose the change instead of making it.")
    ] = False,
    keep_card: Annotated[
        bool, typer.Option("--keep-card", help="Leave the repository's README.md as it is.")
    ] = False,
) -> None:
    """Publish an adapter: weights, configuration and a model card, in one commit."""
    if dtype not in FORMATS:
        raise InputError(f"--dtype must be {' or '.join(FORMATS)}, got {dtype!r}.")
    if evaluation is not None:
        from emoji_adapter.hub.figures import read_evaluation

        read_evaluation(evaluation)  # before anything slow

    import torch

    from emoji_adapter.checkpoints.format import load_adapter
    from emoji_adapter.hub.licences import non_commercial

    made = load_adapter(adapter, dtype=getattr(torch, dtype))
    if bound := non_commercial(made.config):
        packs = " and ".join(bound)
        typer.echo(f"The card says that the face pack {packs} is for non-commercial research only.", err=True)
    address = made.push_to_hub(
        repo,
        commit_message=message,
        private=private or None,
        token=token,
        create_pr=create_pr,
        base_model=base_model,
        evaluation=evaluation,
        keep_card=keep_card,
    )
    typer.echo(address)
