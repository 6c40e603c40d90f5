"""Where results are written: checked before the work, whole or not at all after it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoji_adapter.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def check_output(out: Path, suffixes: Sequence[str], flag: str = "--out") -> None:
    """See that a result can be written, before anything slow happens.

    Args:
        out: the file to be written; missing folders above it are made.
        suffixes: the endings that are known, with their dot.
        flag: what the user typed, for messages.

    Raises:
        InputError: the ending is none of those, a folder has the file's name, or the folder cannot be
            written to.
    """
    if out.suffix.lower() not in suffixes:
        raise InputError(
            f"{flag} {out} must end in {' or '.join(suffixes)}, got {out.suffix or 'no ending'}."
        )
    if out.is_dir():
        raise InputError(
            f"{flag} {out} is a folder; name a file in it, such as {out / ('portrait' + suffixes[0])}."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{flag} {out}: the folder {out.parent} cannot be made ({error.strerror})."
        ) from error
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{flag} {out}: the folder {out.parent} cannot be written to. Choose another one.")


def numbered(out: Path, count: int) -> list[Path]:
    """Names of several results: `a.png` alone, `a_1.png`, `a_2.png` ... for more."""
    if count == 1:
        return [out]
    return [out.with_stem(f"{out.stem}_{number}") for number in range(1, count + 1)]


def write_pictures(pictures: "Sequence[Image]", files: Sequence[Path]) -> None:
    """Write pictures, each whole or not at all.

    Args:
        pictures: what to write.
        files: where, one a picture; the ending chooses the format.
    """
    for picture, file in zip(pictures, files, strict=True):
        partial = file.with_name(f".{file.name}.part")
        try:
            picture.save(partial, format=PICTURE_FORMATS[file.suffix.lower()])
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)


def write_text(text: str, file: Path) -> None:
    """Write a text file, whole or not at all."""
    partial = file.with_name(f".{file.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
