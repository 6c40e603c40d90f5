"""Running sessions a few steps, and whole runs with a stop in between, and what that changes."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from emoji_adapter.models.adapter import is_adapter_parameter
from emoji_adapter.training.loop import train, train_step
from emoji_adapter.training.state import checkpoints


def steps(session, count):
    for _ in range(count):
        train_step(session)
        session.state.step += 1


def changed_by(session, count):
    """Names of the adapter's weights that so many steps change."""
    before = {name: tensor.clone() for name, tensor in session.state.adapter.state_dict().items()}
    steps(session, count)
    after = session.state.adapter.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def weights_of(session, *branches):
    """Names of all weights of some branches of the adapter."""
    names = session.state.adapter.state_dict()
    return {name for name in names if any(is_adapter_parameter(name, branch) for branch in branches)}


def interrupt_and_resume(config, data, run, after):
    """Train into a folder, with a Ctrl-C after a step, as steps are told to `progress`, and a second start.

    Returns:
        Names of the checkpoints that there were in between.
    """

    def interrupt(step, of, line):
        if step == after:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, data, run, device="cpu", progress=interrupt)
    assert not (run / "adapter").exists()
    left = [path.name for path in checkpoints(run / "checkpoints")]
    train(config, data, run, resume=True, device="cpu")
    return left


def last(run):
    """What the last checkpoint of a run holds."""
    return load_file(checkpoints(run / "checkpoints")[-1])


def assert_same(one, other):
    """Two checkpoints are equal bit for bit, moments of the optimiser included."""
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer.exp_avg_sq.") for name in one)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def assert_exact_resumption(config, data, folder, logged):
    """A run of two steps ends the same with a Ctrl-C after the first, and logs what it should."""
    train(config, data, folder / "reference", device="cpu")
    interrupt_and_resume(config, data, folder / "run", after=1)
    assert_same(last(folder / "run"), last(folder / "reference"))
    line = (folder / "run" / "log.jsonl").read_text().splitlines()[-1]
    assert [name for name in logged if f'"{name}"' not in line] == []
