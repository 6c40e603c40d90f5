"""A prepared set of random rows, in the real files, for the tiny checkpoint; a tiny expression encoder."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import tiny
from emoji_adapter.data.captions import encode_captions, text_hash, write_captions
from emoji_adapter.data.latents import weights_hash
from emoji_adapter.data.manifest import (
    MANIFEST,
    REFUSALS,
    PictureRecord,
    PreparedMeta,
    write_lines,
    write_meta,
)
from emoji_adapter.data.shards import Shard, write_shard
from emoji_adapter.faces.crop import ExpressionCrop

SIZE = 28
"""Side of a template crop: two by two patches of 14."""
CROP = ExpressionCrop(size=SIZE)


def expression_encoder(folder: Path) -> Path:
    """Write a vision tower whose features are as wide as the tiny adapter expects."""
    torch.manual_seed(5)
    config = CLIPVisionConfig(
        hidden_size=tiny.SIZES["expression_dim"], intermediate_size=24, num_attention_heads=2,
        num_hidden_layers=2, image_size=SIZE, patch_size=14, projection_dim=16,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def prepared(folder: Path, *, people: int = 4, per_person: int = 3, shards: int = 2, pipe=None) -> Path:
    """Write a prepared set; the latents of a person are alike, so that there is something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(9)
    pipe = StableDiffusionPipeline(**tiny.components()) if pipe is None else pipe
    names = [f"person_{i // per_person}" for i in range(people * per_person)]
    identity = tiny.identities(people).repeat_interleave(per_person, dim=0)
    look = torch.randn(people, 4, 8, 8, generator=generator).repeat_interleave(per_person, dim=0)
    latents = look + 0.1 * torch.randn(look.shape, generator=generator)
    crops = torch.randint(0, 256, (len(names), SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)
    blendshapes = torch.rand(len(names), 52, generator=generator)
    records = [record(i, name) for i, name in enumerate(names)]
    step = -(-len(names) // shards)
    for index in range(shards):
        part = slice(index * step, (index + 1) * step)
        tensors = {
            "latents": latents[part].half(),
            "identity": identity[part].half(),
            "crops": crops[part],
            "blendshapes": blendshapes[part].half(),
        }
        write_shard(folder, index, Shard(records=records[part], refusals=[], digest=str(index), **tensors))
    write_lines(folder / MANIFEST, records)
    write_lines(folder / REFUSALS, [])
    captions = encode_captions([item.caption for item in records], pipe)
    write_captions(folder, captions)
    write_meta(folder, meta(pipe, shards=shards, pictures=len(names), persons=people))
    return folder


def record(row: int, person: str) -> PictureRecord:
    """A line of the manifest."""
    return PictureRecord(
        id=f"{person}/{row}",
        file=f"{person}/{row}.png",
        person=person,
        caption=("red", "green", "blue")[row % 3],
        size=(16, 16),
        landmarks=((4.0, 6.0), (12.0, 6.0), (8.0, 9.0), (5.0, 12.0), (11.0, 12.0)),
        box=(2.0, 2.0, 14.0, 15.0),
    )


def meta(pipe: StableDiffusionPipeline, **counts: int) -> PreparedMeta:
    """What the rows share."""
    return PreparedMeta(
        checkpoint="tiny",
        vae_hash=weights_hash(pipe.vae),
        text_hash=text_hash(pipe),
        latent_shape=(4, 8, 8),
        picture_size=16,
        identity_encoder="micro",
        expression_encoder="tiny",
        expression_crop=CROP.to_dict(),
        teacher="micro",
        **counts,
    )
