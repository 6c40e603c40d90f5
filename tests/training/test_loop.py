"""Runs: exact resumption after SIGKILL and Ctrl-C, checkpoints, the result."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file
from tests.training.running import assert_same, interrupt_and_resume, last

from emoji_adapter.checkpoints.format import load_adapter, read_metadata
from emoji_adapter.config import save_config
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.training.config import AugmentationConfig
from emoji_adapter.training.loop import train
from emoji_adapter.training.state import checkpoints

STEPS = 9


@pytest.fixture(params=["identity", "expression"])
def config(request, settings, identity_adapter):
    start = str(identity_adapter) if request.param == "expression" else None
    return settings(stage=request.param, start=start, steps=STEPS, accumulate=2)


@pytest.fixture
def reference(config, data, tmp_path):
    """The last checkpoint of a run that nothing disturbed."""
    train(config, data, tmp_path / "reference", device="cpu")
    return last(tmp_path / "reference")


def test_a_run_interrupted_by_ctrl_c_and_resumed_ends_with_the_same_weights(
    config, data, reference, tmp_path
):
    run = tmp_path / "run"
    left = interrupt_and_resume(config, data, run, after=2)
    assert left == ["step-00000003.safetensors"]
    assert_same(last(run), reference)


def test_a_run_killed_by_sigkill_and_resumed_ends_with_the_same_weights(settings, data, material, tmp_path):
    config = settings(steps=STEPS)
    train(config, data, tmp_path / "reference", device="cpu")
    run = tmp_path / "run"
    save_config(config, tmp_path / "config.yaml")
    script = textwrap.dedent(f"""
        import os, signal, torch
        from emoji_adapter.training.config import load_recipe
        from emoji_adapter.training.loop import train
        torch.set_num_threads({torch.get_num_threads()})
        def kill(step, steps, line):
            if step == 6:
                os.kill(os.getpid(), signal.SIGKILL)
        train(load_recipe({str(tmp_path / "config.yaml")!r}), {str(material / "set")!r}, {str(run)!r},
              device="cpu", progress=kill)
    """)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in checkpoints(run / "checkpoints")] == ["step-00000004.safetensors"]
    (run / "checkpoints" / "step-00000008.partial").write_bytes(b"half a checkpoint")
    train(config, material / "set", run, resume=True, device="cpu")
    assert_same(last(run), last(tmp_path / "reference"))
    lines = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines == [2, 4, 6, 8, 9]


def test_the_last_checkpoints_are_kept_and_the_others_removed(settings, data, tmp_path):
    train(settings(steps=7, checkpoint_every=1, keep=3), data, tmp_path, device="cpu")
    names = [path.stem for path in checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-00000005", "step-00000006", "step-00000007"]


def test_a_finished_run_resumed_changes_nothing(settings, data, tmp_path):
    train(settings(), data, tmp_path, device="cpu")
    before = last(tmp_path)
    train(settings(), data, tmp_path, resume=True, device="cpu")
    assert_same(last(tmp_path), before)


def test_a_folder_that_holds_a_run_and_changed_settings_are_refused(settings, data, tmp_path):
    train(settings(), data, tmp_path, device="cpu")
    with pytest.raises(InputError, match="already holds a run"):
        train(settings(), data, tmp_path, device="cpu")
    changed = settings(learning_rate=1e-5, augmentation=AugmentationConfig(hue=0.5))
    with pytest.raises(InputError, match="augmentation, learning_rate differ"):
        train(changed, data, tmp_path, resume=True, device="cpu")


def test_a_damaged_checkpoint_is_refused_in_words(settings, data, tmp_path):
    train(settings(), data, tmp_path, device="cpu")
    path = checkpoints(tmp_path / "checkpoints")[-1]
    path.write_bytes(path.read_bytes()[:64])
    with pytest.raises(DataError, match=r"cannot be read.*go on from the one before"):
        train(settings(), data, tmp_path, resume=True, device="cpu")


def test_another_seed_gives_other_weights(settings, data, tmp_path):
    train(settings(seed=1), data, tmp_path / "a", device="cpu")
    train(settings(seed=2), data, tmp_path / "b", device="cpu")
    name = "adapter.identity_projection.proj.2.weight"
    assert not torch.equal(last(tmp_path / "a")[name], last(tmp_path / "b")[name])


def test_the_result_is_the_average_in_half_precision_and_says_how_it_came_about(settings, data, tmp_path):
    folder = train(settings(recipe="tiny", seed=3), data, tmp_path, device="cpu")
    state = last(tmp_path)
    saved = load_file(folder / "diffusion_pytorch_model.safetensors")
    averaged = {
        name.removeprefix("ema."): tensor for name, tensor in state.items() if name.startswith("ema.")
    }
    assert averaged
    for name, tensor in saved.items():
        expected = averaged.get(name, state[f"adapter.{name}"])
        assert torch.equal(tensor, expected.half())
    assert any(not torch.equal(averaged[name], state[f"adapter.{name}"]) for name in averaged)
    metadata = read_metadata(folder)
    assert metadata["recipe"].startswith("tiny (seed 3, 6 steps of 4, ")
    assert metadata["identity_encoder"] == "micro"
    assert metadata["expression_crop"] == data.meta.expression_crop
    record = json.loads((folder / "training.json").read_text())
    assert (record["seed"], record["steps"], record["stage"]) == (3, 6, "identity")
    assert load_adapter(folder).config["expression_encoder"] == "encoder"


def test_previews_show_people_by_expressions_with_the_inputs_at_the_edges(
    settings, data, identity_adapter, tmp_path
):
    from PIL import Image

    config = settings(stage="expression", start=str(identity_adapter), preview_every=3, steps=4)
    train(config, data, tmp_path, device="cpu")
    pictures = sorted(path.name for path in (tmp_path / "previews").iterdir())
    assert pictures == ["step-00000003.png", "step-00000004.png"]
    with Image.open(tmp_path / "previews" / pictures[0]) as grid:
        assert grid.size == ((1 + 3) * 16, 2 * (1 + 2) * 16)


def test_previews_do_not_change_the_weights(settings, data, tmp_path):
    train(settings(), data, tmp_path / "without", device="cpu")
    train(settings(preview_every=2), data, tmp_path / "with", device="cpu")
    assert_same(last(tmp_path / "with"), last(tmp_path / "without"))
