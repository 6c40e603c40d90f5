"""What a round of IDI draws with, by the embedded models."""

import numpy as np
import pytest
import torch

import tiny
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.render import Renderer


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pictures_are_drawn_in_the_arithmetic_that_is_asked_for(precision):
    renderer = Renderer.load(IdiConfig(precision=precision, steps=1))
    assert renderer.pipe.unet.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    crops = np.full((1, 112, 112, 3), 127, np.uint8)
    drawn = renderer(tiny.identities(1).numpy(), crops, ["a photo portrait"], [3])
    assert (drawn.dtype, drawn.shape) == (np.uint8, (1, 64, 64, 3))
    assert np.ptp(drawn) > 20
