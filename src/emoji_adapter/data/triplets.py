"""Cross-identity triplets: identity photo, expression template of somebody else, target; in WebDataset tars.

A round's folder holds `shard-00000.tar` and so on (the triplets that were kept), `manifest.jsonl` (a line for
each) and `round.json`, which is written last and marks the round as complete. A sample is `KEY.target.png`,
`KEY.identity.png`, `KEY.template.png` and `KEY.json`, a `TripletRecord`. Hugging Face `datasets` reads it by
`load_dataset("webdataset", data_files="round_1/shard-*.tar")`.
"""

from dataclasses import dataclass
from pathlib import Path

from emoji_adapter.config import from_mapping
from emoji_adapter.data.archive import ArchivedPicture, Member, read_json, read_samples
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.errors import DataError, InputError

SETTINGS = "idi.json"
ROUND = "round.json"
PICTURES = ("target", "identity", "template")


@dataclass(frozen=True)
class Measured:
    """What was read in one attempt at a triplet; None where there was nothing to read.

    All by networks that condition or filter, never by a judge.
    """

    unusable: str | None = None
    """Why the identity photo or the template cannot be used."""
    faces: int | None = None
    """Faces in the target, or in the rendering where that one had none or several."""
    identity: float | None = None
    """Cosine of the recogniser's embeddings of target and identity photo, -1 to 1."""
    leak: float | None = None
    """The same of target and template."""
    expression: float | None = None
    """Mean |difference| of the teacher's 52 blendshapes of target and template, 0 to 1."""
    cycle: float | None = None
    """Mean |difference| of pixels, 0 to 1, between the aligned face as rendered and as swapped back."""


@dataclass(frozen=True)
class TripletRecord:
    """One attempt at a triplet: what its JSON in the shard and its line of the manifest hold."""

    id: str
    """Key of the sample, which no other triplet of the set has: ROUND-SHARD-PLACE."""
    round: int
    """Round of IDI, from 1."""
    shard: int
    """Number of the shard."""
    identity: str
    """File of the identity photo inside the source."""
    person: str
    """Who is in the identity photo, and so in the target."""
    template: str
    """File of the template inside the source."""
    template_person: str
    """Who is in the template."""
    caption: str
    """Prompt that the target was drawn by."""
    seed: int
    """Seed of its noise."""
    measured: Measured
    """What was read in it."""
    refused: str | None = None
    """Name of the filter that refused it; None = kept."""


@dataclass(frozen=True)
class SourceTriplet(SourcePicture):
    """A triplet that training is prepared from: three pictures, of which the target gives person and caption.

    Attributes:
        target: what the model is to draw.
        identity: who is in it.
        template: what the face does in it.
        record: how it came to be.
    """

    target: SourcePicture
    identity: SourcePicture
    template: SourcePicture
    record: TripletRecord


def shard_file(folder: Path, shard: int) -> Path:
    """Archive of the triplets that a shard kept."""
    return folder / f"shard-{shard:05d}.tar"


def triplet_folders(folder: Path) -> list[Path]:
    """Rounds of triplets: the folder itself, or all its `round_*`; none if it is something else.

    Raises:
        DataError: a round is not complete.
    """
    candidates = [folder, *sorted(folder.glob("round_*"))]
    rounds = [path for path in candidates if (path / SETTINGS).is_file()]
    for path in rounds:
        if not (path / ROUND).is_file():
            raise DataError(
                f"The round of triplets in {path} is not complete. Run `emoji-adapter idi` again with the "
                "same settings; it goes on where it stopped."
            )
    return rounds


def list_triplets(rounds: list[Path]) -> list[SourceTriplet]:
    """List the triplets of some rounds in the order of their ids.

    Raises:
        DataError: an archive is damaged, or there is no triplet.
    """
    triplets = []
    for folder in rounds:
        for archive in sorted(folder.glob("shard-*.tar")):
            triplets += [_triplet(archive, key, sample) for key, sample in read_samples(archive)]
    if not triplets:
        raise DataError(
            f"{', '.join(map(str, rounds))}: no triplet was kept. Their report.html tells which filter "
            "refused them; relax it with `emoji-adapter idi --set thresholds.NAME=VALUE`."
        )
    return triplets


def _triplet(archive: Path, key: str, sample: dict[str, Member]) -> SourceTriplet:
    try:
        record = from_mapping(TripletRecord, read_json(sample["json"]), name=f"{archive.name}:{key}.json")
        members = [sample[f"{name}.png"] for name in PICTURES]
    except (KeyError, InputError) as error:
        raise DataError(
            f"{archive} holds the sample {key}, which is no triplet: {error}. Expected "
            "target.png, identity.png, template.png and json, as `emoji-adapter idi` writes them."
        ) from error
    file = f"{archive.parent.name}/{archive.name}/{key}"
    target, identity, template = (
        ArchivedPicture(archive, f"{file}.{name}.png", record.person, record.caption, member)
        for name, member in zip(PICTURES, members, strict=True)
    )
    return SourceTriplet(archive, file, record.person, record.caption, target, identity, template, record)
