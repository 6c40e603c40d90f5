"""Portraits in a Hugging Face data set that `Dataset.save_to_disk` wrote."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.metadata import CAPTION_COLUMNS, PERSON_COLUMNS, first_text
from emoji_adapter.errors import DataError, MissingExtraError

STATE = "state.json"
SPLITS = "dataset_dict.json"


@dataclass(frozen=True)
class ArrowPicture(SourcePicture):
    """A portrait in a row of a data set.

    Attributes:
        column: the column of pictures.
        row: its number.
    """

    column: str
    row: int

    def content(self) -> bytes:
        """The bytes of the picture as they were saved."""
        cell = _open(self.path.parent, self.column)[self.row][self.column]
        if cell.get("bytes"):
            return cell["bytes"]
        try:
            return Path(cell["path"]).read_bytes()
        except (OSError, TypeError) as error:
            raise DataError(f"Row {self.row} of {self.path.parent} has no picture: {error}.") from error


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def list_rows(folder: Path) -> list[ArrowPicture]:
    """List the pictures of a saved data set, row by row; of several splits, of `train`.

    The picture is the first column of kind `Image`; captions and people come from the columns that
    `data.metadata` names; a row without a person is one of its own.

    Raises:
        DataError: it cannot be read, has several splits but no `train`, or no column of pictures.
        MissingExtraError: the `datasets` library is not installed.
    """
    if (folder / SPLITS).is_file():
        folder = _split(folder)
    column = _picture_column(folder)
    rows = _open(folder, column)
    about = [name for name in (*CAPTION_COLUMNS, *PERSON_COLUMNS) if name in rows.column_names]
    found = []
    for number, row in enumerate(rows.select_columns(about) if about else [{}] * len(rows)):
        person = first_text(row, PERSON_COLUMNS) or f"row_{number}"
        caption = first_text(row, CAPTION_COLUMNS)
        found.append(ArrowPicture(folder / STATE, f"row_{number:08d}", person, caption, column, number))
    if not found:
        raise DataError(f"{folder} has no rows.")
    return found


def _split(folder: Path) -> Path:
    splits = sorted(path.parent for path in folder.glob(f"*/{STATE}"))
    if len(splits) == 1:
        return splits[0]
    if folder / "train" in splits:
        return folder / "train"
    raise DataError(f"{folder} has the splits {[path.name for path in splits]}; name the folder of one.")


@functools.lru_cache(maxsize=4)
def _open(folder: Path, column: str = "") -> Any:
    """The data set, with the pictures of a column left undecoded; kept, since a worker reads many rows."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"{folder} is a Hugging Face data set; reading it needs the library `datasets`: "
            "pip install 'emoji_adapter[distributed]'."
        ) from error
    try:
        rows = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be read as a Hugging Face data set: {error}") from error
    return rows.cast_column(column, datasets.Image(decode=False)) if column else rows


def _picture_column(folder: Path) -> str:
    features = _open(folder).features
    for name, feature in features.items():
        if type(feature).__name__ == "Image":
            return name
    raise DataError(
        f"{folder} has no column of pictures, only {sorted(features)}. Expected one of kind Image."
    )
