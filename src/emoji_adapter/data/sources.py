"""Where portraits come from: a folder, WebDataset archives, or a saved Hugging Face data set."""

from collections.abc import Sequence
from pathlib import Path

from emoji_adapter.data.archive import list_archived
from emoji_adapter.data.arrow import is_saved_dataset, list_rows
from emoji_adapter.data.folder import SourcePicture, list_pictures
from emoji_adapter.data.triplets import list_triplets, triplet_folders
from emoji_adapter.data.turned import turn
from emoji_adapter.errors import InputError


def list_portraits(source: str | Path) -> Sequence[SourcePicture]:
    """List portraits in a fixed order.

    Args:
        source: a folder of pictures (`list_pictures`, Hugging Face image folders among them), a .tar file or
            a folder of .tar files (`list_archived`), or what `save_to_disk` wrote (`list_rows`).

    Raises:
        DataError: there is nothing of these kinds, or it is damaged.
        MissingExtraError: a saved data set, and the library that reads it is not installed.
    """
    path = Path(source)
    if path.is_file() and path.suffix == ".tar":
        return list_archived([path])
    if path.is_dir() and is_saved_dataset(path):
        return list_rows(path)
    if path.is_dir() and (archives := sorted(path.glob("*.tar"))):
        return list_archived(archives)
    return list_pictures(path)


def list_training(source: str | Path, portraits: str | Path | None = None) -> Sequence[SourcePicture]:
    """List what a prepared set is made of: triplets where the folder holds any, else portraits.

    Args:
        source: triplets or portraits.
        portraits: what the triplets were made from; each then comes twice, as it is and turned round, see
            `data.turned`.

    Raises:
        InputError: `portraits` beside a source without triplets.
        DataError: as `list_portraits`, or a triplet's portrait is missing.
    """
    rounds = triplet_folders(Path(source))
    if portraits is not None:
        if not rounds:
            raise InputError(
                f"{source} holds no triplets that could be turned round. Give the folder that `emoji-adapter "
                "idi` wrote, or leave the portraits out."
            )
        triplets = list_triplets(rounds)
        return [*triplets, *turn(triplets, list_portraits(portraits))]
    return list_triplets(rounds) if rounds else list_portraits(source)
