"""A folder of drawn people: what `prepare` takes as a collection of photographs."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from emoji_adapter.data.folder import TAKE
from emoji_adapter.errors import InputError
from emoji_adapter.microworld.captions import captions
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.splits import Split, people, pictures
from emoji_adapter.renderer.parameters import FaceParameters

_CHUNK = 1024


@dataclass(frozen=True)
class Gallery:
    """What is to be drawn.

    Attributes:
        people: number of people.
        per_person: sittings of each; everything but the identity differs between them.
        split: which side of the train-test border.
        seed: of everything.
        size: side of the pictures in pixels.
        takes: pictures of each sitting; only the expression differs between them.
    """

    people: int
    per_person: int
    split: Split = "train"
    seed: int = 0
    size: int = 64
    takes: int = 1

    def __len__(self) -> int:
        return self.people * self.per_person * self.takes

    def parameters(self) -> FaceParameters:
        """The numbers of every picture, person by person and sitting by sitting."""
        identity = people(self.split, self.people, self.seed)
        everyone = identity.repeat_interleave(self.per_person * self.takes, dim=0)
        return pictures(self.split, len(self), self.seed).replace(identity=everyone).as_takes(self.takes)

    def stem(self, row: int) -> str:
        """Path of a picture below the gallery's folder, without its ending; takes end in `~` and a number."""
        sitting, take = divmod(row, self.takes)
        person, number = divmod(sitting, self.per_person)
        return f"person_{person:05d}/{number:04d}" + (f"{TAKE}{take}" if self.takes > 1 else "")


def write_gallery(
    gallery: Gallery,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Draw a gallery: a sub-folder a person, `0000.png` (or `0000~0.png`), its caption in `0000.txt`.

    Args:
        gallery: what to draw.
        out: folder to make; it appears when all pictures are in it.
        device: where to draw.
        advance: told the number of pictures that were written.

    Raises:
        InputError: the folder exists and is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder. Choose another --out or remove it.")
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _write(gallery, partial, device, advance)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    gallery: Gallery, folder: Path, device: torch.device | str, advance: Callable[[int], object]
) -> None:
    parameters = gallery.parameters()
    texts = captions(parameters, gallery.seed)
    for person in range(gallery.people):
        (folder / gallery.stem(person * gallery.per_person * gallery.takes)).parent.mkdir(parents=True)

    def write(row: int, picture: np.ndarray) -> None:
        stem = folder / gallery.stem(row)
        Image.fromarray(picture).save(stem.with_suffix(".png"), compress_level=1)
        stem.with_suffix(".txt").write_text(texts[row] + "\n", encoding="utf-8")

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(gallery), _CHUNK):
            rows = slice(start, min(start + _CHUNK, len(gallery)))
            drawn = draw(parameters.index(rows), gallery.size, device)
            for _ in pool.map(write, range(rows.start, rows.stop), drawn):
                advance(1)
