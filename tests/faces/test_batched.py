"""Batched alignment equals insightface's and the expression crop of the faces layer."""

import numpy as np
import pytest
import torch
from insightface.utils import face_align

from emoji_adapter.faces.batched import align_batch, arcface_template, crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render
from emoji_adapter.types import Face


@pytest.fixture(scope="module")
def drawn():
    return render(sample(3, torch.Generator().manual_seed(3)))


def _bytes(images: torch.Tensor) -> np.ndarray:
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
@pytest.mark.parametrize("size", [112, 128, 224])
def test_align_batch_equals_norm_crop(drawn, size):
    ours = align_batch(drawn.image, drawn.landmarks, size) * 255
    for row, picture in enumerate(_bytes(drawn.image)):
        theirs = face_align.norm_crop(picture, drawn.landmarks[row].numpy(), size)
        difference = np.abs(ours[row].permute(1, 2, 0).numpy() - theirs)
        assert difference.max() < 2.5
        assert difference.mean() < 0.5


@pytest.mark.parametrize("mask", [True, False])
def test_expression_crops_equal_the_record(drawn, mask):
    crop = ExpressionCrop(mask=mask)
    ours = crop_batch(drawn.image, drawn.landmarks, crop) * 255
    for row, picture in enumerate(_bytes(drawn.image)):
        face = Face(drawn.box[row].numpy(), drawn.landmarks[row].numpy(), 1.0)
        theirs = np.asarray(crop.crop(picture, face), dtype=np.float32)
        assert np.abs(ours[row].permute(1, 2, 0).numpy() - theirs).mean() < 0.6


def test_zoom_shows_more_about_the_centre():
    near, far = arcface_template(112), arcface_template(112, 0.5)
    assert torch.allclose((near - 56) * 0.5, far - 56)


def test_alignment_passes_gradients(drawn):
    picture = drawn.image.clone().requires_grad_()
    align_batch(picture, drawn.landmarks).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
