"""Triplets the other way round: portraits are what the model learns to draw, drawings what it learns to read.

An attempt of IDI draws a portrait's expression on somebody else. As it stands the drawing is the target, and
what it lacks is learnt with it. Turned, the portrait is the target, another portrait of its person the
identity photo, and the drawing the template: sharp pictures are learnt, but no real template is read. So one
is trained on beside the other. Our choice; as back-translation does for sentences (Sennrich et al. 2016,
arXiv 1511.06709).
"""

from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

from emoji_adapter.data.folder import SourcePicture, sitting_of
from emoji_adapter.data.triplets import SourceTriplet
from emoji_adapter.errors import DataError


def turn(triplets: Sequence[SourceTriplet], portraits: Sequence[SourcePicture]) -> list[SourceTriplet]:
    """Turn triplets round.

    The identity photo is of another sitting than the target where the person has one, else another picture,
    else the target itself; which one depends on the triplet's id only.

    Args:
        triplets: as `list_triplets` lists them.
        portraits: what they were made from, as `list_portraits` lists them.

    Raises:
        DataError: a triplet was made from a portrait that is not there.
    """
    by_file = {portrait.file: portrait for portrait in portraits}
    people: dict[str, list[SourcePicture]] = {}
    for portrait in portraits:
        people.setdefault(portrait.person, []).append(portrait)
    return [_turned(triplet, by_file, people) for triplet in triplets]


def _turned(
    triplet: SourceTriplet, by_file: dict[str, SourcePicture], people: dict[str, list[SourcePicture]]
) -> SourceTriplet:
    portrait = by_file.get(triplet.record.template)
    if portrait is None:
        raise DataError(
            f"The triplet {triplet.file} was made from {triplet.record.template}, which is not among the "
            f"{len(by_file)} portraits given. Name the portraits that `emoji-adapter idi` was given."
        )
    own = [other for other in people[portrait.person] if other is not portrait]
    elsewhere = [other for other in own if sitting_of(other.id) != sitting_of(portrait.id)]
    photos = elsewhere or own or [portrait]
    return replace(
        triplet,
        person=portrait.person,
        caption=portrait.caption,
        target=replace(portrait, file=f"{triplet.file}.portrait.png"),
        identity=photos[crc32(triplet.record.id.encode()) % len(photos)],
        template=triplet.target,
    )
