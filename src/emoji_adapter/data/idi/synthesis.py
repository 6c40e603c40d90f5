"""One shard: portraits read, expressions rendered on other people, identities changed, results filtered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from emoji_adapter.data.examine import Examined
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.filters import refused_by
from emoji_adapter.data.idi.inspect import Inspected, Rendering
from emoji_adapter.data.idi.plan import Attempt, Planner
from emoji_adapter.data.manifest import Refusal
from emoji_adapter.data.triplets import Measured, TripletRecord


@dataclass(frozen=True)
class Attempted:
    """What became of an attempt.

    Attributes:
        record: with its measurements and, if it was refused, by which filter.
        pictures: uint8 [S, S, 3] RGB: identity, template, target; those that came to be.
    """

    record: TripletRecord
    pictures: dict[str, np.ndarray]


@runtime_checkable
class Render(Protocol):
    """Draws people with expressions."""

    def __call__(
        self, identity: np.ndarray, crops: np.ndarray, prompts: list[str], seeds: list[int]
    ) -> np.ndarray:
        """Draw a batch.

        Args:
            identity: float32 [B, 512], of length 1; of two recognisers [B, 1024].
            crops: uint8 [B, s, s, 3] RGB, the templates' crops.
            prompts: B.
            seeds: B, of the noise.

        Returns:
            uint8 [B, S, S, 3] RGB.
        """
        ...


LookMany = Callable[[Iterable[Any]], Iterator[Any]]
"""Looks at portraits and renderings in the order given, see `Inspector.look`."""


@dataclass(frozen=True)
class Synthesis:
    """Makes shards.

    Attributes:
        pictures: the source's portraits.
        config: what decides a round.
        render: draws.
        look: examines, swaps and measures.
    """

    pictures: Sequence[SourcePicture]
    config: IdiConfig
    render: Render
    look: LookMany

    def shard(self, number: int, advance: Callable[[int], object] = lambda count: None) -> list[Attempted]:
        """Make the attempts of a shard, in the order of their ids.

        Args:
            number: of the shard.
            advance: told how many more attempts are done.
        """
        attempts = Planner(self.pictures, self.config).shard(number)
        portraits = self._portraits(attempts)
        usable = [a for a in attempts if _why_unusable(a, portraits) is None]
        advance(len(attempts) - len(usable))
        renderings = self._renderings(usable, portraits, advance)
        inspected = {a.id: result for a, result in zip(usable, self.look(renderings), strict=True)}
        return [self._attempted(number, a, portraits, inspected.get(a.id)) for a in attempts]

    def _portraits(self, attempts: list[Attempt]) -> dict[int, Examined | Refusal]:
        needed = sorted({n for attempt in attempts for n in (attempt.template, attempt.photo)})
        return dict(zip(needed, self.look([self.pictures[n] for n in needed]), strict=True))

    def _renderings(
        self, attempts: list[Attempt], portraits: dict[int, Any], advance: Callable[[int], object]
    ) -> Iterator[Rendering]:
        for start in range(0, len(attempts), self.config.batch):
            part = attempts[start : start + self.config.batch]
            photos = [portraits[attempt.photo] for attempt in part]
            templates = [portraits[attempt.template] for attempt in part]
            drawn = self.render(
                np.stack([photo.told_identity for photo in photos]),
                np.stack([template.crop for template in templates]),
                [attempt.caption for attempt in part],
                [attempt.seed for attempt in part],
            )
            for photo, template, pixels in zip(photos, templates, drawn, strict=True):
                yield Rendering(pixels, photo.identity, template.identity, template.blendshapes)
            advance(len(part))

    def _attempted(
        self, shard: int, attempt: Attempt, portraits: dict[int, Examined | Refusal], result: Inspected | None
    ) -> Attempted:
        unusable = Measured(unusable=_why_unusable(attempt, portraits))
        measured = unusable if result is None else result.measured
        refusing = refused_by(measured, self.config.thresholds)
        photo, template = self.pictures[attempt.photo], self.pictures[attempt.template]
        record = TripletRecord(
            id=attempt.id,
            round=self.config.round,
            shard=shard,
            identity=photo.file,
            person=photo.person,
            template=template.file,
            template_person=template.person,
            caption=attempt.caption,
            seed=attempt.seed,
            measured=measured,
            refused=None if refusing is None else refusing.name,
        )
        found = {
            "identity": portraits[attempt.photo],
            "template": portraits[attempt.template],
            "target": result,
        }
        pictures = {
            name: item.pixels for name, item in found.items() if isinstance(item, Examined | Inspected)
        }
        return Attempted(record, pictures)


def _why_unusable(attempt: Attempt, portraits: dict[int, Examined | Refusal]) -> str | None:
    for what, number in (("identity photo", attempt.photo), ("template", attempt.template)):
        found = portraits[number]
        if isinstance(found, Refusal):
            return f"{what}: {found.reason}"
    return None
