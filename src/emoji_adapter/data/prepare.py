"""From a folder of pictures to a prepared set: faces in worker processes, latents in batches on the device.

Resumable: each shard is written whole or not at all, and a shard whose pictures and settings have not
    changed is kept.
Deterministic: pictures are taken in the order of their paths, so the same folder gives the same set.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emoji_adapter.data.captions import encode_captions, text_hash, write_captions
from emoji_adapter.data.dataset import People
from emoji_adapter.data.examine import Examined, ExamineSettings
from emoji_adapter.data.folder import SourcePicture, digest_of
from emoji_adapter.data.latents import encode_pictures, weights_hash
from emoji_adapter.data.manifest import (
    MANIFEST,
    META,
    REFUSALS,
    PreparedMeta,
    Refusal,
    meta_mapping,
    read_meta,
    write_lines,
    write_meta,
)
from emoji_adapter.data.shards import (
    SECOND,
    Shard,
    empty_tensors,
    read_records,
    shard_digest,
    shard_path,
    write_shard,
)
from emoji_adapter.data.sources import list_training
from emoji_adapter.data.triplets import SourceTriplet
from emoji_adapter.data.workers import examiners
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.errors import DataError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.recogniser import Recogniser
from emoji_adapter.pipelines.base import EmojiDiffPipeline

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, of)."""


@dataclass(frozen=True)
class PrepareConfig:
    """How a folder is prepared."""

    checkpoint: str = "micro"
    """Stable Diffusion checkpoint that will be trained on: its autoencoder and text encoder are used."""
    pack: str = "micro"
    """Face pack: "micro", "buffalo_l", "antelopev2" or a folder."""
    expression_encoder: str = "micro"
    """Expression encoder whose crops are cut."""
    teacher: str = "micro"
    """Blendshape teacher."""
    second_recogniser: str | None = None
    """Recogniser whose embeddings are stored too: "micro" or an .onnx file; None = the face pack's alone."""
    turned: Path | None = None
    """Portraits that triplets were made from; each triplet then comes turned round too, see `data.turned`."""
    min_face: int = 32
    """Smallest face in pixels of the picture."""
    detector_size: int | None = None
    """Side that pictures are brought to for detection; None = the pack's default, which also finds small
    faces."""
    shard_size: int = 1024
    """Pictures per shard: what a killed run loses at most."""
    workers: int = 0
    """Processes that look for faces; 0 = none but this one."""
    device: str = "cpu"
    """Device of the autoencoder and the text encoder."""


def prepare(
    folder: str | Path, out: str | Path, config: PrepareConfig | None = None, progress: Progress | None = None
) -> PreparedMeta:
    """Prepare pictures, or cross-identity triplets, for training.

    A triplet's row is a row like any other: the target's latents, caption and landmarks, the identity photo's
    embedding, the template's crop and blendshapes.

    Args:
        folder: portraits, see `data.sources.list_portraits`; or triplets that `emoji-adapter idi` made, the
            folder of one round or that of all.
        out: where the set goes; an interrupted run goes on there.
        config: how.
        progress: told (what, done, of).

    Raises:
        DataError: there are no pictures, or none can be used.
        InputError: portraits to turn triplets with, and no triplets.
        WeightsNotFoundError: a model is missing.
        MissingExtraError: the library that reads the source is not installed.
    """
    config = config or PrepareConfig()
    progress = progress or _silent
    pictures = list(list_training(folder, config.turned))
    models = PrepareModels.load(config)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shares = _plan(pictures, config, models)
    todo = [share for share in shares if shard_digest(shard_path(out, share.index)) != share.digest]
    if not todo and (out / META).is_file() and read_meta(out).shards == len(shares):
        logger.info("%s is up to date.", out)
        return read_meta(out)
    (out / META).unlink(missing_ok=True)
    done = len(pictures) - sum(len(share.pictures) for share in todo)
    progress("faces", done, len(pictures))
    if todo:
        with examiners(models.examine, config.workers) as examine_many:
            for share in todo:
                results = []
                for result in examine_many(share.pictures):
                    results.append(result)
                    progress("faces", done + len(results), len(pictures))
                done += len(results)
                write_shard(out, share.index, _make_shard(results, models, share.digest))
    meta = _finish(out, len(shares), models, progress)
    if isinstance(pictures[0], SourceTriplet):  # its identity photo is another picture than the target
        meta = replace(meta, alone=0)
    write_meta(out, meta)
    return meta


@dataclass(frozen=True)
class PrepareModels:
    """The models that run in this process, and what the workers are told.

    Attributes:
        vae: autoencoder, on the device.
        pipe: the checkpoint's, its text encoders on the device.
        meta: what all rows will share; counts still 0.
        examine: settings of the workers.
    """

    vae: Any
    pipe: Any
    meta: PreparedMeta
    examine: ExamineSettings

    @classmethod
    def load(cls, config: PrepareConfig) -> "PrepareModels":
        """Load the models that a configuration names.

        Raises:
            WeightsNotFoundError: one is missing.
        """
        pipe = EmojiDiffPipeline.from_pretrained(config.checkpoint)
        encoder = ExpressionEncoder.from_pretrained(config.expression_encoder)
        second = config.second_recogniser
        side = int(pipe.unet.config.sample_size)
        size = side * int(pipe.vae_scale_factor)
        meta = PreparedMeta(
            checkpoint=config.checkpoint,
            vae_hash=weights_hash(pipe.vae),
            text_hash=text_hash(pipe),
            latent_shape=(int(pipe.unet.config.in_channels), side, side),
            picture_size=size,
            identity_encoder=FaceAnalyzer(config.pack).pack_id,
            expression_encoder=encoder.id,
            expression_crop=encoder.crop.to_dict(),
            teacher=config.teacher,
            second_recogniser=None if second is None else Recogniser(second).id,
        )
        examine = ExamineSettings(
            pack=config.pack,
            teacher=config.teacher,
            crop=encoder.crop,
            picture_size=size,
            min_face=config.min_face,
            detector_size=config.detector_size,
            second_recogniser=second,
        )
        for name in ("text_encoder", "text_encoder_2"):
            if getattr(pipe, name, None) is not None:
                getattr(pipe, name).to(config.device).eval()
        return cls(
            vae=pipe.vae.to(config.device).eval(),
            pipe=pipe,
            meta=meta,
            examine=examine,
        )


@dataclass(frozen=True)
class _Share:
    index: int
    pictures: list[SourcePicture]
    digest: str


def _plan(pictures: list[SourcePicture], config: PrepareConfig, models: PrepareModels) -> list[_Share]:
    settings = json.dumps([meta_mapping(models.meta), config.min_face, config.detector_size], sort_keys=True)
    starts = range(0, len(pictures), config.shard_size)
    parts = [pictures[start : start + config.shard_size] for start in starts]
    return [_Share(index, part, digest_of(part, settings)) for index, part in enumerate(parts)]


def _make_shard(results: list[Examined | Refusal], models: PrepareModels, digest: str) -> Shard:
    taken = [result for result in results if isinstance(result, Examined)]
    refusals = [result for result in results if isinstance(result, Refusal)]
    second = models.meta.second_recogniser is not None
    tensors = empty_tensors(models.meta.latent_shape, models.examine.crop.size, second)
    if taken:
        tensors = {
            "latents": encode_pictures(models.vae, np.stack([item.pixels for item in taken])),
            "identity": torch.from_numpy(np.stack([item.identity for item in taken])).half(),
            "crops": torch.from_numpy(np.stack([item.crop for item in taken])),
            "blendshapes": torch.from_numpy(np.stack([item.blendshapes for item in taken])).half(),
        }
        if second:
            found = [x.second_identity for x in taken if x.second_identity is not None]
            tensors[SECOND] = torch.from_numpy(np.stack(found)).half()
    return Shard(records=[item.record for item in taken], refusals=refusals, digest=digest, **tensors)


def _finish(out: Path, shards: int, models: PrepareModels, progress: Progress) -> PreparedMeta:
    """Write what covers all shards but the meta file: manifest, refusals and captions."""
    parts = [read_records(shard_path(out, index)) for index in range(shards)]
    records = [record for part, _ in parts for record in part]
    refusals = [refusal for _, part in parts for refusal in part]
    write_lines(out / MANIFEST, records)
    write_lines(out / REFUSALS, refusals)
    if not records:
        raise DataError(
            f"None of the {len(refusals)} pictures can be used; {out / REFUSALS} gives the reason of each. "
            f"The first: {refusals[0].file}: {refusals[0].reason}"
        )
    captions = encode_captions(
        [record.caption for record in records],
        models.pipe,
        progress=lambda done, of: progress("captions", done, of),
    )
    write_captions(out, captions)
    persons = [record.person for record in records]
    meta = replace(
        models.meta,
        shards=shards,
        pictures=len(records),
        refused=len(refusals),
        persons=len(set(persons)),
        alone=People.of(persons).alone,
    )
    _remove_stale(out, shards)
    return meta


def _remove_stale(out: Path, shards: int) -> None:
    """Remove shards of pictures that have left the folder, and what a killed run left half-written."""
    kept = {shard_path(out, index) for index in range(shards)}
    for path in [*out.glob("shard-*.safetensors"), *out.glob("*.partial")]:
        if path not in kept:
            path.unlink()


def _silent(what: str, done: int, of: int) -> None:
    """Report nothing."""
