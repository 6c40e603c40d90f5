"""Captions of a Hugging Face image folder: `metadata.jsonl` or `metadata.csv` beside the pictures."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emoji_adapter.errors import DataError

CAPTION_COLUMNS = ("caption", "text")
"""Names that a caption goes by, the first that is there counts; `text` is what diffusers' scripts use."""
PERSON_COLUMNS = ("person", "identity")
"""Names that the person goes by."""


def read_metadata(root: Path) -> dict[str, str]:
    """Captions by file name, from all metadata files below a folder; empty without any.

    Raises:
        DataError: a metadata file cannot be read.
    """
    captions = {}
    for path in sorted([*root.rglob("metadata.jsonl"), *root.rglob("metadata.csv")]):
        above = path.parent.relative_to(root)
        for row in _rows(path):
            if isinstance(row.get("file_name"), str):
                captions[(above / row["file_name"]).as_posix()] = first_text(row, CAPTION_COLUMNS)
    return captions


def first_text(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of some columns that holds text or a number, as one line; empty when none does."""
    for name in names:
        if isinstance(row.get(name), str | int):
            return " ".join(str(row[name]).split())
    return ""


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Expected one JSON object (or CSV row) a picture, with "
            "file_name and caption or text."
        ) from error
    return [row for row in rows if isinstance(row, dict)]
