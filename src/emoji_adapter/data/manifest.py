"""Records of a prepared set: pictures taken, pictures refused, and what all rows share."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from emoji_adapter.config import from_mapping, to_mapping
from emoji_adapter.errors import DataError, InputError

FORMAT_VERSION = 1
MANIFEST = "manifest.jsonl"
REFUSALS = "refusals.jsonl"
META = "meta.json"

T = TypeVar("T")


@dataclass(frozen=True)
class PictureRecord:
    """One picture of a prepared set; its row number is its place in the manifest."""

    id: str
    """Path inside the source folder without its ending."""
    file: str
    """Path inside the source folder."""
    person: str
    """Name of the sub-folder, or the id of a picture that lies at the top."""
    caption: str
    """Text of the sidecar; empty without one."""
    size: tuple[int, int]
    """Width and height of the square that was encoded, in pixels."""
    landmarks: tuple[tuple[float, float], ...]
    """Five points (x, y) in pixels of that square, insightface's order."""
    box: tuple[float, float, float, float]
    """XYXY in pixels of that square."""


@dataclass(frozen=True)
class Refusal:
    """One picture that cannot be trained on, and why."""

    file: str
    """Path inside the source folder."""
    reason: str
    """For a person to read."""


@dataclass(frozen=True)
class PreparedMeta:
    """What all rows of a prepared set share; training refuses models that do not fit it."""

    checkpoint: str
    """Checkpoint that the latents and text embeddings were made with, as it was named."""
    vae_hash: str
    """Hash of the autoencoder's weights: latents of another autoencoder mean something else."""
    text_hash: str
    """Hash of the text encoder's weights."""
    latent_shape: tuple[int, int, int]
    """Channels, height and width of a latent."""
    picture_size: int
    """Side of the encoded square in pixels."""
    identity_encoder: str
    """Id of the face pack that made the identity embeddings."""
    expression_encoder: str
    """Id of the expression encoder that the template crops are made for."""
    expression_crop: dict[str, Any]
    """How the template crops were cut, see `faces.crop.ExpressionCrop`."""
    teacher: str
    """Id of the blendshape teacher."""
    second_recogniser: str | None = None
    """Id of the recogniser that made second identity embeddings; None: there are none."""
    shards: int = 0
    """Number of shards."""
    pictures: int = 0
    """Rows."""
    refused: int = 0
    """Pictures that were refused."""
    persons: int = 0
    """People."""
    alone: int = 0
    """Rows whose person has no other picture: their identity photo is the target itself."""
    format_version: int = FORMAT_VERSION
    """Version of this format."""


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """Write dataclasses as JSON lines, whole or not at all."""
    lines = [json.dumps(asdict(record), ensure_ascii=False) for record in records]
    write_whole(path, "".join(line + "\n" for line in lines))


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Read JSON lines into dataclasses.

    Raises:
        DataError: the file is missing or a line is not of that kind.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [
            from_mapping(kind, json.loads(line), name=f"{path.name}:{i + 1}") for i, line in enumerate(lines)
        ]
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror}. Run `emoji-adapter prepare` again."
        ) from error
    except (json.JSONDecodeError, InputError) as error:
        raise DataError(f"{path} is damaged: {error}. Run `emoji-adapter prepare` again.") from error


def meta_mapping(meta: PreparedMeta) -> dict[str, Any]:
    """As plain values; what a set does without is left out, so that it reads as before there was any."""
    return {name: value for name, value in to_mapping(meta).items() if value is not None}


def write_meta(folder: Path, meta: PreparedMeta) -> None:
    """Write the meta file, whole or not at all; written last, it marks a set as complete."""
    write_whole(folder / META, json.dumps(meta_mapping(meta), indent=2) + "\n")


def read_meta(folder: str | Path) -> PreparedMeta:
    """Read what all rows share.

    Raises:
        DataError: the folder holds no complete prepared set, or one of a later format.
    """
    path = Path(folder) / META
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is not a complete prepared set: {META} cannot be read. Run "
            f"`emoji-adapter prepare FOLDER --out {folder}`; an interrupted one goes on where it stopped."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is damaged: {error}. Run `emoji-adapter prepare` again.") from error
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}. "
            "Prepare the folder again, or use the version of the package that wrote it."
        )
    known = {item.name for item in fields(PreparedMeta)}
    if unknown := set(content) - known:
        raise DataError(f"{path} has unknown keys {sorted(unknown)}; prepare the folder again.")
    return from_mapping(PreparedMeta, content, name=str(path))


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
