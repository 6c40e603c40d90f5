"""Community checkpoints in one file: the same pictures, and refusals in words."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

import original_layout
import tiny
import tiny_families as families
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.opening import open_pipeline
from tiny_families import KINDS, NAMES, both, draw


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Family -> (the file, a folder with the rest but no weights)."""
    made = {}
    for family in ("SD", "SDXL"):
        root = tmp_path_factory.mktemp(family)
        kind = families.kind_of(family, "text-to-image")
        pipe = families.pipeline(kind.stock, family, kind.task)
        pipe.save_pretrained(root / "rest")
        for weights in (root / "rest").glob("*/*.safetensors"):
            weights.unlink()
        made[family] = original_layout.write(pipe, root / "model.safetensors"), root / "rest"
    return made


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_every_family_and_task_from_one_file(kind, on_disk):
    file, folder = on_disk[kind.family]
    stock = families.pipeline(kind.stock, kind.family, kind.task)
    extra = {"controlnet": stock.controlnet} if kind.task == "controlnet" else {}
    pipe = EmojiDiffPipeline.from_single_file(file, config=folder, task=kind.task, **extra)
    assert type(pipe) is kind.ours
    plain = draw(stock, kind.task)
    pipe.set_progress_bar_config(disable=True)
    assert torch.equal(draw(pipe, kind.task), plain)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert (draw(pipe, kind.task, **both()) - plain).abs().max() > 1e-3


def test_any_checkpoint_is_opened_by_its_name(on_disk, tmp_path):
    file, folder = on_disk["SD"]
    for name, config in ((str(file), str(folder)), (str(tiny.checkpoint(tmp_path / "sd.safetensors")), None)):
        pipe = open_pipeline(name, config=config, dtype=torch.bfloat16)
        assert (type(pipe).__name__, pipe.unet.dtype) == ("EmojiDiffSDPipeline", torch.bfloat16)
    link = "https://huggingface.co/o/n/resolve/main/x.safetensors?download=true"
    for name, message in (("gone.safetensors", "neither a file nor a link"), (link, "of 'o/n' is not in")):
        with pytest.raises(WeightsNotFoundError, match=message):
            open_pipeline(name, local_files_only=True, cache_dir=str(tmp_path))
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(WeightsFormatError, match="is a pickle"):
        open_pipeline(str(tmp_path / "model.ckpt"))


def test_half_precision_in_the_file_is_single_precision_in_memory_unless_told(tmp_path, on_disk):
    kind = families.kind_of("SD", "text-to-image")
    pipe = families.pipeline(kind.stock, "SD", kind.task)
    half = original_layout.write(pipe, tmp_path / "half.safetensors", dtype=torch.float16)
    folder = on_disk["SD"][1]
    assert kind.ours.from_single_file(half, config=folder).unet.dtype == torch.float32
    assert kind.ours.from_single_file(half, config=folder, dtype=torch.float16).unet.dtype == torch.float16


def test_offline_without_a_configuration_the_message_says_what_to_do(on_disk, tmp_path):
    nowhere = {"local_files_only": True, "cache_dir": str(tmp_path)}
    with pytest.raises(WeightsNotFoundError, match=r"'stable-diffusion-v1-5/.*Offline, pass config=FOLDER"):
        EmojiDiffPipeline.from_single_file(on_disk["SD"][0], **nowhere)
    with pytest.raises(WeightsNotFoundError, match=r"'owner/name'.*pass config=FOLDER"):
        EmojiDiffPipeline.from_single_file(on_disk["SD"][0], config="owner/name", **nowhere)
    link = "https://huggingface.co/owner/name/blob/v2/a/model.safetensors"
    with pytest.raises(
        WeightsNotFoundError, match=r"a/model.safetensors of 'owner/name' is not in the cache"
    ):
        EmojiDiffPipeline.from_single_file(link, **nowhere)


@pytest.mark.parametrize(
    ("keys", "repository"),
    [
        ({}, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (
            {"input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (8, 1024)},
            "stabilityai/stable-diffusion-2-1",
        ),
        ({"input_blocks.0.0.weight": (8, 9, 3, 3)}, "stable-diffusion-v1-5/stable-diffusion-inpainting"),
        ({"conditioner": (8,)}, "stabilityai/stable-diffusion-xl-base-1.0"),
    ],
)
def test_the_header_tells_which_configuration_is_meant(keys, repository, tmp_path):
    names = {"input_blocks.0.0.weight": (8, 4, 3, 3), "out.2.weight": (4, 8, 3, 3)} | keys
    last = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
    weights = {
        last if key == "conditioner" else f"model.diffusion_model.{key}": torch.zeros(shape)
        for key, shape in names.items()
    }
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(WeightsNotFoundError, match=re.escape(repr(repository))):
        EmojiDiffPipeline.from_single_file(
            tmp_path / "model.safetensors", local_files_only=True, cache_dir=str(tmp_path)
        )


def test_a_configuration_of_another_kind_is_refused(on_disk, tmp_path):
    (sd, sd_rest), (sdxl, sdxl_rest) = on_disk["SD"], on_disk["SDXL"]
    with pytest.raises(InputError, match=r"holds SDXL .*the configuration in .* is for another Stable Diff"):
        EmojiDiffPipeline.from_single_file(sdxl, config=sd_rest)
    with pytest.raises(InputError, match=r"holds another Stable Diffusion .* is for SDXL"):
        EmojiDiffPipeline.from_single_file(sd, config=sdxl_rest)
    unet = json.loads((sd_rest / "unet" / "config.json").read_text()) | {"in_channels": 9}
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(unet))
    (tmp_path / "model_index.json").write_text((sd_rest / "model_index.json").read_text())
    with pytest.raises(InputError, match=r"with 4 input channels; .* with 9"):
        EmojiDiffPipeline.from_single_file(sd, config=tmp_path, task="inpaint")
    with pytest.raises(InputError, match="Use EmojiDiffSDPipeline"):
        families.kind_of("SDXL", "text-to-image").ours.from_single_file(sd, config=sd_rest)
    with pytest.raises(InputError, match="needs a ControlNet"):
        EmojiDiffPipeline.from_single_file(sd, config=sd_rest, task="controlnet")


def test_what_is_no_single_file_is_refused(on_disk, tmp_path):
    file, folder = on_disk["SD"]
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:1000])
    save_file({"lora_unet.up.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    for name, error, message in [
        ("cut.safetensors", WeightsFormatError, "damaged"),
        ("lora.safetensors", WeightsFormatError, "no whole checkpoint.*begins with lora_unet"),
        ("model.ckpt", WeightsFormatError, "is a pickle"),
        ("missing.safetensors", WeightsNotFoundError, "neither a file nor a link"),
        ("", WeightsNotFoundError, "loaded with from_pretrained"),
    ]:
        with pytest.raises(error, match=message):
            EmojiDiffPipeline.from_single_file(tmp_path / name, config=folder)
    with pytest.raises(InputError, match="from_single_file"):
        EmojiDiffPipeline.from_pretrained(file)


def test_a_folder_of_ours_as_configuration_brings_its_adapter(on_disk, tmp_path):
    kind = families.kind_of("SD", "text-to-image")
    pipe = families.pipeline(kind.ours, "SD", kind.task)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    pipe.save_pretrained(tmp_path)
    made = EmojiDiffPipeline.from_single_file(on_disk["SD"][0], config=tmp_path)
    assert made.emoji_adapter.is_attached(made.unet)
    assert torch.equal(draw(made, kind.task, **both()), draw(pipe, kind.task, **both()))
