"""What a shard tries: which template on whom, by which prompt and noise. No picture is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.errors import DataError

_SHARD, _ORDER = 0, 1


@dataclass(frozen=True)
class Attempt:
    """One attempt at a triplet.

    Attributes:
        id: key of its sample.
        template: number of the portrait whose expression is wanted.
        photo: number of the portrait whose person is wanted, somebody else.
        caption: prompt.
        seed: of the noise.
    """

    id: str
    template: int
    photo: int
    caption: str
    seed: int


class Planner:
    """Plans shards of one source.

    Every portrait serves as a template once before any serves twice. The person is drawn evenly from all
    others, then one of his portraits; the prompt evenly from the settings' or from all captions.

    Args:
        pictures: the source's portraits.
        config: seed, round, sizes and prompts.

    Raises:
        DataError: all portraits are of one person.
    """

    def __init__(self, pictures: Sequence[SourcePicture], config: IdiConfig):
        people: dict[str, list[int]] = {}
        for number, picture in enumerate(pictures):
            people.setdefault(picture.person, []).append(number)
        if len(people) < 2:
            raise DataError(
                f"Cross-identity triplets need portraits of two people or more, got {len(people)}. A "
                "sub-folder is a person; pictures at the top are people of their own."
            )
        self.config = config
        self._people = list(people.values())
        self._person = {n: i for i, numbers in enumerate(self._people) for n in numbers}
        self._prompts = config.prompts or tuple(p.caption for p in pictures if p.caption is not None) or ("",)

    def shard(self, number: int) -> list[Attempt]:
        """The attempts of a shard; they depend on (seed, round, number), the source and the prompts only."""
        config = self.config
        draw = np.random.default_rng([config.seed, config.round, _SHARD, number])
        attempts = []
        for place in range(config.shard_size):
            template = self._template(number * config.shard_size + place)
            person = int(draw.integers(len(self._people) - 1))
            person += person >= self._person[template]
            attempts.append(
                Attempt(
                    id=f"{config.round:02d}-{number:05d}-{place:05d}",
                    template=template,
                    photo=int(draw.choice(self._people[person])),
                    caption=self._prompts[int(draw.integers(len(self._prompts)))],
                    seed=int(draw.integers(2**62)),
                )
            )
        return attempts

    def _template(self, number: int) -> int:
        epoch, place = divmod(number, len(self._person))
        return int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_kept_epoch", None) != epoch:
            draw = np.random.default_rng([self.config.seed, self.config.round, _ORDER, epoch])
            self._kept_epoch, self._kept_order = epoch, draw.permutation(len(self._person))
        return self._kept_order
