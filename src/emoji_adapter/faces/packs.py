"""Face packs: which there are, where they lie, and when two of them mean the same by an embedding.

A pack is a folder with a detector and a recogniser in ONNX. What its embeddings mean is settled by the
recogniser alone, so a pack is told by that file's content. Names prove nothing: `glintr100.onnx` is the
recogniser of antelopev2 in one pack and another network in the next.
"""

import contextlib
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from emoji_adapter.config import packaged_part, packaged_weights
from emoji_adapter.errors import WeightsNotFoundError

MICRO = "micro"
NON_COMMERCIAL = "non-commercial research only"
_DIGITS = 12
"""Hexadecimal digits of a recogniser's SHA-256 that a pack's id carries."""


@dataclass(frozen=True)
class PhotoPack:
    """One of insightface's packs for photographs.

    Attributes:
        name: as `insightface.app.FaceAnalysis` knows it.
        recogniser: SHA-256 of the recogniser's file in the pack that insightface publishes.
        megabytes: size of the download.
        licence: of the weights; the code around them is MIT.
    """

    name: str
    recogniser: str
    megabytes: int
    licence: str = NON_COMMERCIAL


PHOTO_PACKS = {
    pack.name: pack
    for pack in (
        PhotoPack("buffalo_l", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43", 289),
        PhotoPack("antelopev2", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf", 361),
    )
}
"""insightface's packs for photographs, https://github.com/deepinsight/insightface (model zoo)."""


def home() -> Path:
    """Where insightface keeps its packs, and where an own pack is found by its name."""
    return Path("~/.insightface/models").expanduser()


def networks_in(folder: Path) -> Path | None:
    """The folder that really holds the networks: `folder`, or the one folder below it that does.

    insightface's antelopev2.zip unzips into a second folder of the same name.
    """
    if not folder.is_dir():
        return None
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    holding = [path for path in (folder, *below) if any(path.glob("*.onnx"))]
    if not holding or (holding[0] != folder and len(holding) > 1):
        return None
    return holding[0]


def known_name(pack: str | Path) -> str | None:
    """The pack's name where that alone says which pack is meant; None for a folder of somebody's."""
    if str(pack) in (MICRO, *PHOTO_PACKS):
        return str(pack)
    folder = Path(pack).expanduser().resolve()
    return MICRO if folder == (packaged_weights() / MICRO / "faces").resolve() else None


def pack_folder(pack: str | Path) -> Path:
    """The folder with the networks of a pack; insightface downloads its own where they are missing.

    Args:
        pack: "micro", a name in `PHOTO_PACKS`, a folder, or the name of a folder in `home()`.

    Raises:
        WeightsNotFoundError: there is no such pack.
    """
    if str(pack) == MICRO:
        return packaged_part("faces")
    if str(pack) in PHOTO_PACKS:
        return networks_in(home() / str(pack)) or _downloaded(str(pack))
    given = Path(pack).expanduser()
    places = [given, home() / given] if given == Path(given.name) else [given]
    for place in places:
        found = networks_in(place)
        if found is not None:
            return found
    known = ", ".join(map(repr, (MICRO, *PHOTO_PACKS)))
    raise WeightsNotFoundError(
        f"There is no face pack {str(pack)!r}. Expected {known}, or a folder (or its name in {home()}) "
        "that holds a detector and a recogniser as .onnx files."
    )


def pack_id(folder: Path, recogniser: Path) -> str:
    """The id of a folder's pack, by the content of its recogniser.

    Args:
        folder: as the user named it.
        recogniser: the recogniser's file in it.

    Returns:
        The name of one of `PHOTO_PACKS`, or "NAME@DIGITS": the folder's name and the first digits of the
        recogniser's SHA-256.
    """
    digest = hashlib.sha256(recogniser.read_bytes()).hexdigest()
    for pack in PHOTO_PACKS.values():
        if digest == pack.recogniser:
            return pack.name
    return f"{folder.expanduser().resolve().name}@{digest[:_DIGITS]}"


def recogniser_id(recogniser: Path) -> str:
    """The id of a recogniser without a pack: its file's name and the first digits of its SHA-256."""
    return f"{recogniser.stem}@{hashlib.sha256(recogniser.read_bytes()).hexdigest()[:_DIGITS]}"


def pack_with(identifier: str) -> PhotoPack | None:
    """The pack of insightface's that an id names, or whose recogniser has the id's digits."""
    name, digits = _parts(identifier)
    packs = PHOTO_PACKS.values()
    return next((p for p in packs if (p.recogniser[:_DIGITS] == digits if digits else p.name == name)), None)


def same_pack(trained: str, given: str) -> bool:
    """Whether embeddings of two packs can be compared: the ids are equal, or the recognisers are.

    An own pack that an adapter names without digits is told by its name.
    """
    (name, digits), (other, others) = _parts(trained), _parts(given)
    if digits and others:
        return digits == others
    return trained == given or (name == other and name not in (MICRO, *PHOTO_PACKS))


def how_to_get(trained: str) -> str:
    """What to do to have the pack that an adapter names, in a sentence or two."""
    if trained == MICRO:
        return f"It is embedded: FaceAnalyzer({MICRO!r})."
    if trained in PHOTO_PACKS:
        pack = PHOTO_PACKS[trained]
        return (
            f"insightface downloads it ({pack.megabytes} MB, {pack.licence}) at the first use of "
            f"FaceAnalyzer({trained!r}); without a connection, unzip {trained}.zip of its model zoo into "
            f"{home() / trained}."
        )
    name, digits = _parts(trained)
    by = f" (its recogniser's SHA-256 begins with {digits})" if digits else ""
    return (
        f"It is an own pack of the adapter's authors{by}: get its folder from them and put it into "
        f"{home() / name}, or set pipe.face_encoders = FaceEncoders(pipe.emoji_adapter.config, "
        "analyzer=FaceAnalyzer('ITS FOLDER'))."
    )


def name_of(trained: str) -> str:
    """The name under which the pack that an adapter names is looked for."""
    return _parts(trained)[0]


def _parts(identifier: str) -> tuple[str, str]:
    name, _, digits = identifier.partition("@")
    return name, digits


def _downloaded(name: str) -> Path:
    """Fetch one of insightface's packs; what an interrupted download left is replaced."""
    from insightface.utils import storage

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            folder = networks_in(Path(storage.download("models", name, force=True)))
    except Exception as error:  # requests, zipfile and insightface's own RuntimeError
        raise WeightsNotFoundError(
            f"The insightface pack {name!r} is not in {home()} and could not be fetched: {error}. Download "
            f"{name}.zip from insightface's model zoo and unzip it into {home() / name}."
        ) from error
    if folder is None:
        raise WeightsNotFoundError(
            f"The archive of the insightface pack {name!r} holds no .onnx files. Unzip {name}.zip of "
            f"insightface's model zoo into {home() / name}."
        )
    return folder
