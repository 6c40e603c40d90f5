"""A prepared set in memory, and rows drawn from it by a generator: no state and no loader processes."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from emoji_adapter.data.captions import CaptionEmbeddings, read_captions
from emoji_adapter.data.folder import TAKE, sitting_of
from emoji_adapter.data.manifest import MANIFEST, PictureRecord, PreparedMeta, read_lines, read_meta
from emoji_adapter.data.shards import read_tensors, shard_path
from emoji_adapter.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Some rows of a prepared set, on one device.

    Attributes:
        latents: [B, C, h, w], times the scaling factor.
        text: [B, 77, D], the caption's embedding.
        empty: [77, D], the empty prompt's.
        identity: [B, 512], of another picture of the same person if there is one.
        crops: uint8 [B, S, S, 3] RGB, the template's crop: the target's own, or of somebody else in triplets.
        blendshapes: [B, 52] of the template.
        landmarks: [B, 5, 2] of the target, in pixels of the picture that was encoded, insightface's order.
        pooled: [B, P], the caption's pooled embedding, for SDXL, else None.
        empty_pooled: [P], the empty prompt's, likewise.
        second_identity: [B, 512], as `identity`, by the second recogniser, else None.
    """

    latents: Float[Tensor, "B C h w"]
    text: Float[Tensor, "B L D"]
    empty: Float[Tensor, "L D"]
    identity: Float[Tensor, "B 512"]
    crops: UInt8[Tensor, "B S S 3"]
    blendshapes: Float[Tensor, "B 52"]
    landmarks: Float[Tensor, "B 5 2"]
    pooled: Float[Tensor, "B P"] | None = None
    empty_pooled: Float[Tensor, " P"] | None = None
    second_identity: Float[Tensor, "B 512"] | None = None

    @property
    def told_identity(self) -> Float[Tensor, "B I"]:
        """What an adapter is told: one embedding, or a compound of two, that of the face pack first."""
        if self.second_identity is None:
            return self.identity
        return torch.cat([self.identity, self.second_identity], dim=1)

    def __len__(self) -> int:
        """Return B."""
        return len(self.latents)

    def to(self, device: torch.device | str) -> "Rows":
        """Move everything; does not wait for the device."""
        given = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return Rows(**{name: tensor.to(device, non_blocking=True) for name, tensor in given.items()})

    def at(self, index: Int[Tensor, " n"]) -> "Rows":
        """Return some of the rows."""
        given = {name: x for name, x in vars(self).items() if x is not None}
        return Rows(**{name: x if name.startswith("empty") else x[index] for name, x in given.items()})


@dataclass(frozen=True)
class PreparedSet:
    """All rows of a prepared set.

    Attributes:
        meta: what all rows share.
        latents, identity, crops, blendshapes: see `data.shards.Shard`.
        landmarks: float32, from the manifest, see `data.manifest.PictureRecord`.
        captions: text embeddings.
        people: who is who.
        sittings: which pictures are takes of one sitting, see `data.folder.TAKE`.
        second_identity: embeddings of the second recogniser, or None.
    """

    meta: PreparedMeta
    latents: Float[Tensor, "N C h w"]
    identity: Float[Tensor, "N 512"]
    crops: UInt8[Tensor, "N S S 3"]
    blendshapes: Float[Tensor, "N 52"]
    landmarks: Float[Tensor, "N 5 2"]
    captions: CaptionEmbeddings
    people: "People"
    sittings: "People"
    second_identity: Float[Tensor, "N 512"] | None = None

    @classmethod
    def load(cls, folder: str | Path) -> "PreparedSet":
        """Read a prepared set into memory.

        Raises:
            DataError: the folder holds no complete set, or a damaged one.
        """
        folder = Path(folder)
        meta = read_meta(folder)
        second = meta.second_recogniser is not None
        parts = [read_tensors(shard_path(folder, index), second) for index in range(meta.shards)]
        tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        records = read_lines(folder / MANIFEST, PictureRecord)
        captions = read_captions(folder)
        counts = {len(records), len(captions.index), *(len(tensor) for tensor in tensors.values())}
        if counts != {meta.pictures}:
            raise DataError(
                f"{folder} is damaged: {meta.pictures} rows expected, its files hold {sorted(counts)}. "
                "Run `emoji-adapter prepare` again."
            )
        landmarks = torch.tensor([record.landmarks for record in records], dtype=torch.float32)
        people = People.of([record.person for record in records])
        sittings = People.of([sitting_of(record.id) for record in records])
        if meta.alone:
            logger.warning(
                "%d of %d pictures are alone of their person: their identity photo is the target itself.",
                meta.alone,
                meta.pictures,
            )
        return cls(
            meta=meta, landmarks=landmarks, captions=captions, people=people, sittings=sittings, **tensors
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.latents)

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
        return self.latents.device

    def to(self, device: torch.device | str) -> "PreparedSet":
        """Return the set on another device."""
        given = {name: tensor for name, tensor in vars(self.captions).items() if tensor is not None}
        captions = CaptionEmbeddings(**{name: tensor.to(device) for name, tensor in given.items()})
        groups = {name: getattr(self, name).to(device) for name in ("people", "sittings")}
        names = ("latents", "identity", "crops", "blendshapes", "landmarks")
        tensors = {name: getattr(self, name).to(device) for name in names}
        if self.second_identity is not None:
            tensors["second_identity"] = self.second_identity.to(device)
        return replace(self, captions=captions, **groups, **tensors)

    def sample(self, batch: int, generator: Generator, *, takes: bool = False) -> Rows:
        """Draw rows evenly, with replacement; the result depends on the generator's state only.

        Args:
            batch: rows.
            generator: on the set's device.
            takes: draw pairs, one after the other: a picture, and another of the same sitting.

        Raises:
            DataError: pairs are asked for, and no picture has another of its sitting, or `batch` is odd.
        """
        if not takes:
            index = torch.randint(len(self), (batch,), generator=generator, device=self.device)
            return self.rows(index, self.people.another(index, generator))
        several = self.sittings.several
        if batch % 2 or not len(several):
            raise DataError(
                f"Pairs of takes are drawn: an even batch is needed, got {batch}, and pictures of the same "
                f"sitting, named PERSON/SITTING{TAKE}TAKE.png, of which this set has {len(several)}. Prepare "
                "frames of films, or what `emoji-adapter microworld render --takes 2` draws."
            )
        place = torch.randint(len(several), (batch // 2,), generator=generator, device=self.device)
        first = several[place]
        index = torch.stack([first, self.sittings.another(first, generator)], dim=1).flatten()
        return self.rows(index, self.people.another(index, generator))

    def rows(self, index: Int[Tensor, " B"], photo: Int[Tensor, " B"]) -> Rows:
        """Gather rows.

        Args:
            index: the targets.
            photo: the rows whose pictures serve as identity photos.
        """
        captions, caption = self.captions, self.captions.index[index]
        return Rows(
            latents=self.latents[index],
            text=captions.embeds[caption],
            empty=captions.empty,
            pooled=None if captions.pooled is None else captions.pooled[caption],
            empty_pooled=captions.empty_pooled,
            identity=self.identity[photo],
            crops=self.crops[index],
            blendshapes=self.blendshapes[index],
            landmarks=self.landmarks[index],
            second_identity=None if self.second_identity is None else self.second_identity[photo],
        )


@dataclass(frozen=True)
class People:
    """Rows grouped by person, or by whatever has a name.

    Attributes:
        order: [N] rows, those of one person side by side.
        place: [N] place of each row in `order`.
        start: [N] place in `order` where the row's person begins.
        count: [N] number of rows of the row's person.
    """

    order: Int[Tensor, " N"]
    place: Int[Tensor, " N"]
    start: Int[Tensor, " N"]
    count: Int[Tensor, " N"]

    @classmethod
    def of(cls, persons: list[str]) -> "People":
        """Group rows by the name of their person."""
        number = {name: i for i, name in enumerate(dict.fromkeys(persons))}
        person = torch.tensor([number[name] for name in persons], dtype=torch.int64)
        order = torch.argsort(person, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        counts = torch.bincount(person, minlength=len(number))
        starts = counts.cumsum(0) - counts
        return cls(order, place, starts[person], counts[person])

    def another(self, index: Int[Tensor, " B"], generator: Generator) -> Int[Tensor, " B"]:
        """Draw for each row another row of the same person; the row itself where there is no other."""
        drawn = torch.rand(len(index), generator=generator, device=index.device)
        count = self.count[index]
        step = 1 + (drawn * (count - 1)).long().clamp(max=(count - 2).clamp_min(0))
        place = self.place[index] - self.start[index]
        return self.order[self.start[index] + (place + step) % count]

    def first_of_each(self) -> Bool[Tensor, " N"]:
        """Mask of the first row of every person."""
        mask = torch.zeros(len(self.order), dtype=torch.bool, device=self.order.device)
        mask[self.order[self.start]] = True
        return mask

    @property
    def alone(self) -> int:
        """Rows whose person has no other."""
        return int((self.count == 1).sum())

    @functools.cached_property
    def several(self) -> Int[Tensor, " n"]:
        """Rows that have others of their group."""
        return (self.count > 1).nonzero()[:, 0]

    def to(self, device: torch.device | str) -> "People":
        """The same groups on another device."""
        return People(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})


def check_models(
    meta: PreparedMeta, *, vae_hash: str, text_hash: str, expression_crop: Mapping[str, Any]
) -> None:
    """Refuse to train with other models than the set was prepared with.

    Another U-Net is welcome, and so is another expression encoder that reads the same crops.

    Raises:
        DataError: the autoencoder, the text encoder or the expression crop differs.
    """
    pairs = (
        ("autoencoder", meta.vae_hash, vae_hash),
        ("text encoder", meta.text_hash, text_hash),
        ("expression crop", meta.expression_crop, dict(expression_crop)),
    )
    for what, expected, got in pairs:
        if expected != got:
            raise DataError(
                f"The set was prepared with the {what} {expected} (checkpoint {meta.checkpoint!r}), training "
                f"uses {got}. Train with what it was prepared with, or run `emoji-adapter prepare` again."
            )
