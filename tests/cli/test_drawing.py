"""The flags of drawing that commands share."""

import inspect

import pytest

from emoji_adapter.cli import accept, evaluate, probe
from emoji_adapter.cli.drawing import drawing_settings
from emoji_adapter.config import GUIDANCE
from emoji_adapter.metrics.protocol import Settings


@pytest.mark.parametrize(
    ("batch", "device", "wanted"), [(None, "cpu", 32), (None, "cuda:1", 256), (7, "cuda", 7), (7, "cpu", 7)]
)
def test_a_batch_that_nobody_names_depends_on_the_device(batch, device, wanted):
    settings = drawing_settings(15, 2.5, batch, device)
    assert (settings.steps, settings.guidance, settings.batch) == (15, 2.5, wanted)


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (accept.command, (25, 3.0, 4, "auto")),
        (evaluate.command, (25, GUIDANCE, None, "auto")),
        (probe.command, (15, GUIDANCE, None, "auto")),
    ],
)
def test_each_command_keeps_its_own_defaults(command, defaults):
    flags = inspect.signature(command).parameters
    assert tuple(flags[name].default for name in ("steps", "guidance", "batch", "device")) == defaults


def test_without_a_command_pictures_are_drawn_with_the_same_guidance():
    assert Settings().guidance == GUIDANCE
