"""Files of the adapter: whole, self-describing, and refused in words when they are not ours or do not fit."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tiny
from emoji_adapter.checkpoints.format import _ADDED, check_fits, load_adapter, read_metadata, save_adapter
from emoji_adapter.checkpoints.locate import WEIGHT_NAME, adapter_file, locate
from emoji_adapter.errors import AdapterFormatError, AdapterMismatchError, WeightsNotFoundError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.saving import METADATA_KEY, whole_folder


@pytest.fixture
def saved(tmp_path):
    """A folder that holds an adapter, and the adapter."""
    adapter = tiny.adapter(tiny.unet(), recipe="test", expression_crop={"size": 112, "zoom": 0.8})
    save_adapter(adapter, tmp_path / "adapter")
    return tmp_path / "adapter", adapter


def same(a, b):
    """Whether two adapters have the same weights and configuration."""
    ours = {k: v for k, v in a.config.items() if not k.startswith("_")}
    theirs = {k: v for k, v in b.config.items() if not k.startswith("_")}
    keys = a.state_dict().keys() == b.state_dict().keys()
    return (
        ours == theirs and keys and all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    )


def rewritten(folder, change):
    """The weight file with its configuration changed by a function, `config.json` gone."""
    config = read_metadata(folder)
    change(config)
    (folder / "config.json").unlink()
    save_file(load_file(folder / WEIGHT_NAME), folder / WEIGHT_NAME, {METADATA_KEY: json.dumps(config)})
    return folder


def test_round_trips(saved, tmp_path):
    folder, adapter = saved
    assert sorted(os.listdir(folder)) == ["config.json", WEIGHT_NAME]
    assert os.listdir(tmp_path) == ["adapter"]
    assert same(load_adapter(folder), adapter)
    assert same(load_adapter(folder / WEIGHT_NAME), adapter)
    assert same(EmojiAdapter.from_pretrained(folder), adapter)
    alone = tmp_path / "alone.safetensors"
    os.link(folder / WEIGHT_NAME, alone)
    assert same(load_adapter(alone), adapter)


def test_exactly_the_weights_of_the_adapter_are_in_the_file(saved):
    folder, adapter = saved
    with safe_open(folder / WEIGHT_NAME, framework="pt") as file:
        assert set(file.keys()) == {name for name, _ in adapter.named_parameters()}
        assert file.metadata().keys() == {"format", METADATA_KEY}
    metadata = read_metadata(folder)
    assert metadata["recipe"] == "test"
    assert metadata["expression_crop"] == {"size": 112, "zoom": 0.8}


def test_half_precision_on_disk_is_single_in_memory(saved, tmp_path):
    _, adapter = saved
    save_adapter(adapter, tmp_path / "half", torch.float16)
    assert {x.dtype for x in load_file(tmp_path / "half" / WEIGHT_NAME).values()} == {torch.float16}
    assert load_adapter(tmp_path / "half").dtype == torch.float32
    assert load_adapter(tmp_path / "half", dtype=torch.bfloat16).dtype == torch.bfloat16
    assert adapter.dtype == torch.float32


def test_saving_over_an_adapter_keeps_other_files(saved):
    folder, adapter = saved
    (folder / "README.md").write_text("mine")
    with torch.no_grad():
        adapter.identity_projection.norm.weight.add_(1)
    save_adapter(adapter, folder)
    assert same(load_adapter(folder), adapter)
    assert (folder / "README.md").read_text() == "mine"


def test_a_save_that_fails_leaves_everything_as_it_was(saved, tmp_path):
    folder, adapter = saved

    def fail(target):
        with whole_folder(target) as temporary:
            (temporary / WEIGHT_NAME).write_bytes(b"half")
            raise KeyboardInterrupt

    for target in (folder, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            fail(target)
    assert os.listdir(tmp_path) == ["adapter"]
    assert same(load_adapter(folder), adapter)


def test_pickles_are_refused(tmp_path, saved):
    (tmp_path / "adapter.bin").write_bytes(b"x")
    with pytest.raises(AdapterFormatError, match=r"adapter\.bin is a pickle"):
        load_adapter(tmp_path / "adapter.bin")
    with pytest.raises(AdapterFormatError, match=r"adapter\.bin is a pickle"):
        load_adapter(tmp_path)
    with pytest.raises(AdapterFormatError, match=r"model\.ckpt is a pickle"):
        load_adapter(saved[0], weight_name="model.ckpt")
    saved[1].save_pretrained(tmp_path / "x", safe_serialization=False)
    assert sorted(file.suffix for file in (tmp_path / "x").iterdir()) == [".json", ".safetensors"]


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -1])
def test_a_truncated_file_is_named_as_such(saved, keep):
    file = saved[0] / WEIGHT_NAME
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(AdapterFormatError, match="damaged or cut short"):
        load_adapter(saved[0])


def test_a_file_of_something_else_is_refused(tmp_path, saved):
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(AdapterFormatError, match="not an emoji adapter"):
        load_adapter(tmp_path / "other.safetensors")
    (tmp_path / "adapter.txt").write_text("hello")
    with pytest.raises(AdapterFormatError, match="not a safetensors file"):
        load_adapter(tmp_path / "adapter.txt")
    (saved[0] / "config.json").write_text("{")
    with pytest.raises(AdapterFormatError, match=r"config\.json is damaged"):
        load_adapter(saved[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format_version=5), "format version 5.*reads up to 4.*Update"),
        (lambda c: c.pop("format_version"), "does not say its format_version"),
        (lambda c: c.update(colour=1), "unknown .'colour'."),
        (lambda c: c.pop("kv_rank"), "missing .'kv_rank'."),
        (
            lambda c: c.update(identity_tokens=4),
            "2 weights of another shape .identity_projection.proj.2.bias",
        ),
        (lambda c: c.update(resampler_depth=2), "missing weights .expression_resampler.layers.1"),
        (lambda c: c.update(identity_layers=[]), "8 unknown weights .to_k_identity"),
    ],
)
def test_a_configuration_that_is_not_that_of_the_file_is_refused(saved, change, message):
    with pytest.raises(AdapterFormatError, match=message):
        load_adapter(rewritten(saved[0], change))


def raw_settings(folder):
    with safe_open(folder / WEIGHT_NAME, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY])


def test_only_what_uses_a_second_recogniser_is_written_as_version_4(saved, tmp_path):
    """So what does without can be read by packages that know of none."""
    for settings in (raw_settings(saved[0]), json.loads((saved[0] / "config.json").read_text())):
        assert settings["format_version"] == 3
        assert "second_recogniser" not in settings
    compound = tiny.adapter(tiny.unet(), second_recogniser="micro")
    save_adapter(compound, tmp_path / "compound")
    assert raw_settings(tmp_path / "compound")["format_version"] == 4
    assert same(load_adapter(tmp_path / "compound"), compound)
    assert same(EmojiAdapter.from_pretrained(tmp_path / "compound"), compound)


def test_the_config_file_has_the_form_that_diffusers_gives_it(saved, tmp_path):
    saved[1].save_config(tmp_path)
    ours, theirs = ((folder / "config.json").read_text() for folder in (saved[0], tmp_path))
    added = ',\n  "second_recogniser": null'
    assert ours == theirs.replace(added, "").replace('"format_version": 4', '"format_version": 3')


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_earlier_version_is_read(saved, version):
    def older(config):
        for name in set().union(*(added for later, added in _ADDED.items() if later > version)):
            del config[name]
        config["format_version"] = version

    assert same(load_adapter(rewritten(saved[0], older)), saved[1])


def test_an_edited_config_file_is_not_ignored(saved):
    file = saved[0] / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"licence": "none"}))
    with pytest.raises(AdapterFormatError, match="about licence"):
        load_adapter(saved[0])


def test_what_does_not_fit_is_refused_in_words():
    config = dict(tiny.adapter(tiny.unet()).config)
    check_fits(config, tiny.unet())
    with pytest.raises(AdapterMismatchError, match=r"the U-Net is SDXL \(cross-attention width 32\)"):
        check_fits(config, tiny.xl_unet())
    sdxl = config | {"base_family": "sdxl", "cross_attention_dim": 2048}
    message = r"for SDXL \(cross-attention width 2048\); the U-Net is SD1\.5 \(cross-attention width 768\)"
    with pytest.raises(AdapterMismatchError, match=message):
        check_fits(sdxl, tiny.unet(cross_attention_dim=768))
    with pytest.raises(AdapterMismatchError, match="has no such layer"):
        check_fits(config, tiny.unet(mid_block_type="UNetMidBlock2D"))
    with pytest.raises(AdapterMismatchError, match="of width 64; the U-Net has width 96"):
        check_fits(config, tiny.unet(block_out_channels=(32, 96)))


def test_what_does_not_fit_is_refused_before_weights_are_read(saved):
    file = saved[0] / WEIGHT_NAME
    size = int.from_bytes(file.read_bytes()[:8], "little")
    with pytest.raises(AdapterMismatchError):
        load_adapter(saved[0], unet=tiny.xl_unet())
    assert size < file.stat().st_size


def test_names_that_lead_nowhere(tmp_path, saved):
    with pytest.raises(WeightsNotFoundError, match="neither 'micro', nor a path that exists, nor a Hub id"):
        load_adapter("nowhere")
    with pytest.raises(WeightsNotFoundError, match="neither 'micro'"):
        load_adapter(tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsNotFoundError, match="found adapter"):
        load_adapter(tmp_path)
    assert adapter_file(tmp_path, subfolder="adapter") == saved[0] / WEIGHT_NAME
    assert locate(tmp_path, "checkpoint") == str(tmp_path)
    assert locate("owner/name", "checkpoint") == "owner/name"
    with pytest.raises(WeightsNotFoundError, match="neither"):
        locate("nowhere", "checkpoint")


def test_micro_is_the_packaged_folder(tmp_path, monkeypatch, saved):
    monkeypatch.setenv("EMOJI_ADAPTER_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match="microworld build"):
        load_adapter("micro")
    (tmp_path / "micro").mkdir()
    saved[0].rename(tmp_path / "micro" / "adapter")
    assert same(load_adapter("micro"), saved[1])
    assert locate("micro", "adapter") == str(tmp_path / "micro" / "adapter")


def test_a_hub_id_is_looked_up_with_its_revision(tmp_path, saved):
    folder, adapter = saved
    repository = tmp_path / "cache" / "models--somebody--faces"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "v2").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    folder.rename(repository / "snapshots" / ("0" * 40) / "sub")
    where = {"cache_dir": tmp_path / "cache", "local_files_only": True, "subfolder": "sub"}
    assert same(load_adapter("somebody/faces", revision="v2", **where), adapter)
    with pytest.raises(
        WeightsNotFoundError, match=r"'somebody/faces', which is no folder .* sub/diff.* is not in the cache"
    ):
        load_adapter("somebody/faces", revision="v3", **where)
