"""A folder of pictures as a training source: sub-folder = person, `.txt` beside a picture = its caption."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from emoji_adapter.data.metadata import read_metadata
from emoji_adapter.errors import DataError
from emoji_adapter.faces.images import ImageSource

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
TAKE = "~"
"""Between the name of a sitting and that of a picture of it: `PERSON/clip7~003.png`. Pictures of one sitting
differ in the expression alone, or nearly so, as frames of one film do."""


def sitting_of(picture: str) -> str:
    """The sitting that a picture belongs to, by its id: one of its own without a `TAKE`."""
    return picture.rpartition(TAKE)[0] or picture


@dataclass(frozen=True)
class SourcePicture:
    """One picture that is still to be looked at.

    Attributes:
        path: where it lies; the archive or data set that it is part of, for the kinds that build on this one.
        file: path inside the source folder, with forward slashes.
        person: name of the first sub-folder, or the id of a picture at the top.
        caption: text of the sidecar, one line; empty without one; None where the sidecar is not UTF-8 text.
    """

    path: Path
    file: str
    person: str
    caption: str | None

    @property
    def id(self) -> str:
        """The file without its ending."""
        return str(Path(self.file).with_suffix("").as_posix())

    def content(self) -> ImageSource:
        """What `load_image` reads: the path, or the bytes of the file.

        Raises:
            DataError: the archive or data set cannot be read any more.
        """
        return self.path


def list_pictures(folder: str | Path) -> list[SourcePicture]:
    """List the pictures of a folder in a fixed order (by path, bytewise).

    A picture directly in the folder is a person of its own. Captions: the sidecar, else the `metadata.jsonl`
    or `metadata.csv` of a Hugging Face image folder.

    Raises:
        DataError: the folder is missing, is a file, or holds no picture.
    """
    root = Path(folder)
    if not root.is_dir():
        kind = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {kind}; expected a folder with one sub-folder of pictures per person.")
    paths = (path for path in root.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    files = sorted((path.relative_to(root).as_posix(), path) for path in paths)
    if not files:
        raise DataError(
            f"{root} holds no picture ({', '.join(sorted(ENDINGS))}). Expected PERSON/PICTURE.png with an "
            "optional caption in PERSON/PICTURE.txt."
        )
    metadata = read_metadata(root)
    return [_source_picture(file, path, metadata.get(file, "")) for file, path in files]


def digest_of(pictures: list[SourcePicture], settings: str) -> str:
    """Fingerprint of pictures (names, sizes, times of change, captions) and of how they are prepared."""
    digest = hashlib.sha256(settings.encode())
    for picture in pictures:
        status = picture.path.stat()
        line = (
            f"{picture.file}\0{status.st_size}\0{status.st_mtime_ns}\0{picture.person}\0{picture.caption}\n"
        )
        digest.update(line.encode())
    return digest.hexdigest()[:32]


def _source_picture(file: str, path: Path, caption: str) -> SourcePicture:
    person = file.split("/")[0] if "/" in file else str(Path(file).stem)
    sidecar = path.with_suffix(".txt")
    return SourcePicture(path, file, person, _read_caption(sidecar) if sidecar.is_file() else caption)


def _read_caption(sidecar: Path) -> str | None:
    try:
        return " ".join(sidecar.read_text(encoding="utf-8").split())
    except UnicodeDecodeError:
        return None
