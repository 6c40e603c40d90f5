"""Drawings that were judged, kept in files: an interrupted table goes on where it stopped."""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from emoji_adapter.errors import DataError
from emoji_adapter.evaluation.judged import Drawn
from emoji_adapter.metrics.records import Readings

_WORDS = "words"


class Store:
    """A folder with one file a drawing, named by its fingerprint.

    Args:
        folder: made if it is missing.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The folder {folder} cannot be made ({error.strerror}). Name another."
            ) from error

    def read(self, key: str) -> Drawn | None:
        """A drawing that was kept; None without one.

        Raises:
            DataError: its file is damaged.
        """
        file = self._file(key)
        if not file.is_file():
            return None
        try:
            with safe_open(file, framework="numpy") as opened:
                columns = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                words = json.loads((opened.metadata() or {})[_WORDS])
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"{file} is damaged ({error}). Remove it: it is then drawn again.") from error
        images = [Image.fromarray(pixels) for pixels in columns.pop("images")]
        return Drawn(
            images, Readings(**columns, **{name: np.array(column) for name, column in words.items()})
        )

    def write(self, key: str, drawn: Drawn) -> None:
        """Keep a drawing: under a temporary name first."""
        seen = {name: column for name, column in vars(drawn.readings).items() if column is not None}
        words = {name: column.tolist() for name, column in seen.items() if column.dtype.kind == "U"}
        numbers = {name: np.ascontiguousarray(column) for name, column in seen.items() if name not in words}
        images = np.stack([np.asarray(image) for image in drawn.images])
        partial = self.folder / f".{key}.{os.getpid()}.part"
        try:
            save_file({"images": images, **numbers}, partial, {_WORDS: json.dumps(words)})
            os.replace(partial, self._file(key))
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
