"""The EmojiDiff protocol on photographs: people x templates x prompts, without perfect answers."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from emoji_adapter.data.folder import SourcePicture, list_pictures
from emoji_adapter.errors import InputError
from emoji_adapter.faces.images import load_image
from emoji_adapter.metrics.records import Cell


class FolderBenchmark:
    """Every person meets every template under every prompt.

    Args:
        people: folder with a sub-folder a person, whose first picture is the identity photo; a picture at the
            top is a person of its own.
        templates: folder of pictures, each an expression; of other people than `people`.
        prompts: style -> prompt. The protocol's own prompts are not published: our choice and yours.
        seed: of the noise.

    Raises:
        DataError: a folder is missing or holds no picture.
        InputError: fewer than two people, or no prompt.
    """

    name = "folders"

    def __init__(self, people: Path, templates: Path, prompts: Mapping[str, str], seed: int = 0):
        photos: dict[str, SourcePicture] = {}
        for picture in list_pictures(people):
            photos.setdefault(picture.person, picture)
        if len(photos) < 2 or not prompts:
            raise InputError(
                f"An acceptance needs two people and a prompt or more, got {len(photos)} people in {people} "
                f"and {len(prompts)} prompts."
            )
        self._photos, self._templates = list(photos.values()), list_pictures(templates)
        self.people, self.templates = list(photos), [item.file for item in self._templates]
        self._read: dict[Path, Image.Image] = {}
        self.cells = [
            Cell(
                identity=person,
                expression=expression,
                seed=seed * 1_000_003 + (person * len(self._templates) + expression) * len(prompts) + number,
                prompt=text,
                plain_prompt=text,
                words_prompt=text,
                style=style,
            )
            for person in range(len(self._photos))
            for expression in range(len(self._templates))
            for number, (style, text) in enumerate(prompts.items())
        ]

    def photo(self, number: int) -> Image.Image:
        """The identity photo of a cell."""
        return self._load(self._photos[self.cells[number].identity])

    def template(self, number: int) -> Image.Image:
        """The expression template of a cell."""
        return self._load(self._templates[self.cells[number].expression])

    def oracle(self, number: int) -> None:
        """Nobody knows the perfect photograph."""

    def _load(self, picture: SourcePicture) -> Image.Image:
        if picture.path not in self._read:
            self._read[picture.path] = load_image(picture.path)
        return self._read[picture.path]
