"""Tensors of pictures as bytes."""

import numpy as np
import torch

from emoji_adapter.faces.pixels import to_bytes


def test_a_float_becomes_the_nearest_byte_and_what_lies_outside_is_cut_off():
    levels = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0, 1.5])
    bytes_ = to_bytes(levels.expand(1, 3, 1, 7))
    assert bytes_.dtype == np.uint8
    assert bytes_[0, 0, :, 0].tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_channels_come_last_and_all_bytes_come_back():
    wanted = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    images = torch.from_numpy(wanted).permute(0, 3, 1, 2).float() / 255
    for given in (images, images.half(), images.requires_grad_()):
        found = to_bytes(given)
        assert found.flags["C_CONTIGUOUS"]
        assert np.array_equal(found, wanted)
