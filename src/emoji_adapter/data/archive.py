"""WebDataset archives: samples in tar files, written deterministically, read at random by offset.

A sample is a run of members of one key: `KEY.EXTENSION`, where the key ends at the first dot of the file name
(https://github.com/webdataset/webdataset). Plain tar only: members of a compressed one have no offset.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoji_adapter.data.folder import ENDINGS, SourcePicture
from emoji_adapter.data.metadata import CAPTION_COLUMNS, PERSON_COLUMNS, first_text
from emoji_adapter.errors import DataError


@dataclass(frozen=True)
class Member:
    """A file inside a tar.

    Attributes:
        archive: the tar.
        offset: where its bytes begin.
        size: number of bytes.
    """

    archive: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Read the bytes.

        Raises:
            DataError: the archive is gone or was cut.
        """
        try:
            with self.archive.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"Cannot read {self.archive}: {error.strerror}.") from error
        if len(content) != self.size:
            raise DataError(f"{self.archive} was cut short; make or download it again.")
        return content


@dataclass(frozen=True)
class ArchivedPicture(SourcePicture):
    """A portrait in a WebDataset archive.

    Attributes:
        member: its bytes.
    """

    member: Member

    def content(self) -> bytes:
        """The bytes of the picture."""
        return self.member.read()


def list_archived(archives: Iterable[Path]) -> list[ArchivedPicture]:
    """List the portraits of WebDataset archives, one a sample: its first picture.

    The caption is the sample's `.txt`, else `caption` or `text` of its `.json`; the person is `person` or
    `identity` of the `.json`, else the first folder of the key, else the sample is a person of its own.

    Raises:
        DataError: an archive is damaged, or none holds a picture.
    """
    archives = list(archives)
    pictures = [
        picture for archive in archives for key, sample in read_samples(archive)
        if (picture := _portrait(archive, key, sample))
    ]  # fmt: skip
    if not pictures:
        raise DataError(
            f"{', '.join(map(str, archives))}: no sample holds a picture ({', '.join(sorted(ENDINGS))})."
        )
    return pictures


def read_samples(archive: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Yield key and members by extension, in the archive's order.

    Raises:
        DataError: the archive is missing, damaged or compressed.
    """
    key, sample = "", {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                folder, _, name = info.name.rpartition("/")
                stem, _, extension = name.partition(".")
                here = f"{folder}/{stem}" if folder else stem
                if here != key and sample:
                    yield key, sample
                    sample = {}
                key = here
                sample[extension.lower()] = Member(archive, info.offset_data, info.size)
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{archive} cannot be read: {error}. Expected an uncompressed tar in WebDataset's layout."
        ) from error
    if sample:
        yield key, sample


def write_samples(archive: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write samples, whole or not at all; the same samples always give the same bytes.

    Args:
        archive: the tar.
        samples: key, and content by extension.
    """
    partial = archive.with_name(archive.name + ".partial")
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for key, sample in samples:
                for extension, content in sample.items():
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        os.replace(partial, archive)
    finally:
        partial.unlink(missing_ok=True)


def read_json(member: Member) -> dict[str, Any]:
    """Read a JSON member.

    Raises:
        DataError: it is not a JSON object.
    """
    try:
        content = json.loads(member.read())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{member.archive} holds damaged JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{member.archive} holds JSON that is no object: {content!r}.")
    return content


def _portrait(archive: Path, key: str, sample: dict[str, Member]) -> ArchivedPicture | None:
    extension = next((name for name in sample if Path(f"x.{name}").suffix in ENDINGS), None)
    if extension is None:
        return None
    about = read_json(sample["json"]) if "json" in sample else {}
    person = first_text(about, PERSON_COLUMNS) or key.split("/")[0]
    caption: str | None = first_text(about, CAPTION_COLUMNS)
    if "txt" in sample:
        try:
            caption = " ".join(sample["txt"].read().decode("utf-8").split())
        except UnicodeDecodeError:
            caption = None
    file = f"{archive.name}/{key}.{extension}"
    return ArchivedPicture(archive, file, person, caption, sample[extension])
