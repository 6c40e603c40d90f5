"""Augmentation: nothing changes at zero, the mask stays grey, and nothing is ever mirrored."""

from dataclasses import fields

import torch

from emoji_adapter.training.augment import GREY, affine_matrices, augment
from emoji_adapter.training.config import AugmentationConfig

NOTHING = AugmentationConfig(**{item.name: 0.0 for item in fields(AugmentationConfig)})
STRONG = AugmentationConfig()


def faces(batch=16, size=32):
    """Random colours in the middle of a grey picture."""
    pictures = torch.full((batch, 3, size, size), GREY)
    pictures[:, :, 8:24, 8:24] = torch.rand(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return pictures


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_with_all_amounts_zero_nothing_changes():
    torch.testing.assert_close(augment(faces(), NOTHING, generator()), faces(), atol=1e-5, rtol=0)


def test_the_result_depends_on_the_generator_only_and_differs_between_rows():
    once, again = augment(faces(), STRONG, generator(3)), augment(faces(), STRONG, generator(3))
    assert torch.equal(once, again)
    same = faces()[:1].expand(16, -1, -1, -1)
    changed = augment(same, STRONG, generator())
    assert all(not torch.equal(changed[0], changed[i]) for i in range(1, 16))


def test_the_masked_part_stays_grey_and_values_stay_in_range():
    changed = augment(faces(), STRONG, generator())
    assert changed.min() >= 0
    assert changed.max() <= 1
    torch.testing.assert_close(changed[:, :, :3], torch.full_like(changed[:, :, :3], GREY))


def test_no_map_mirrors():
    config = AugmentationConfig(rotation=45.0, scale=0.5, shift=0.3)
    linear = affine_matrices(2000, config, generator(), torch.device("cpu"))[:, :, :2]
    assert (torch.linalg.det(linear) > 0.2).all()


def test_left_stays_left():
    pictures = torch.full((64, 3, 32, 32), GREY)
    pictures[:, :, 12:20, 4:10] = 1.0
    changed = (augment(pictures, STRONG, generator()) - GREY).abs().sum(dim=(1, 2))
    assert (changed[:, :14].sum(dim=1) > 10 * changed[:, 18:].sum(dim=1)).all()


def test_no_setting_asks_for_a_flip():
    assert not [
        item.name for item in fields(AugmentationConfig) if "flip" in item.name or "mirror" in item.name
    ]
