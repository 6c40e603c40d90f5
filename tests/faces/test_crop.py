"""The expression crop: brows to jaw inside, background out; its record; batches equal single crops."""

import numpy as np
import pytest
import torch
from PIL import Image

from emoji_adapter.errors import InputError
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.geometry import GREY, face_mask, template
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render
from emoji_adapter.types import Face


@pytest.fixture(scope="module")
def rendered():
    return render(sample(6, torch.Generator().manual_seed(5)), size=128)


def picture(rendered, i):
    array = (rendered.image[i].permute(1, 2, 0) * 255).round().byte().numpy()
    return array, Face(rendered.box[i].numpy(), rendered.landmarks[i].numpy(), 1.0)


def test_the_crop_is_aligned_masked_and_of_its_size(rendered):
    array, face = picture(rendered, 0)
    crop = ExpressionCrop().crop(Image.fromarray(array), face)
    assert crop.size == (112, 112)
    outside = ~face_mask(112, 0.9, 0.14)
    assert (np.asarray(crop)[outside] == GREY).all()
    bare = ExpressionCrop(mask=False).crop(array, face)
    assert (np.asarray(bare)[outside] != GREY).mean() > 0.3


def test_the_default_leaves_room_for_brows_and_an_open_jaw():
    crop = ExpressionCrop()
    points = template(crop.size, crop.zoom, crop.rise)
    eyes, mouth = points[:2, 1].mean(), points[3:, 1].mean()
    face_height = mouth - eyes
    assert eyes - 0.8 * face_height > 0
    assert mouth + 0.9 * face_height < crop.size


@pytest.mark.parametrize(
    "crop",
    [ExpressionCrop(), ExpressionCrop(size=96, zoom=0.7, rise=0.05, mask=False), ExpressionCrop(size=224)],
)
def test_batches_equal_single_crops(rendered, crop):
    batch = crop_batch(rendered.image, rendered.landmarks, crop)
    single = [np.asarray(crop.crop(*picture(rendered, i))) / 255.0 for i in range(6)]
    difference = (batch.permute(0, 2, 3, 1).numpy() - np.stack(single)).__abs__()
    assert difference.max() < 0.05  # cv2 interpolates at 1/32 pixels
    assert difference.mean() < 0.003


def test_batches_are_differentiable_in_the_pictures(rendered):
    images = rendered.image[:2].clone().requires_grad_()
    crop_batch(images, rendered.landmarks[:2], ExpressionCrop()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_the_record_goes_there_and_back_and_refuses_what_it_does_not_know():
    crop = ExpressionCrop(size=224, zoom=0.8, rise=0.1, mask=False)
    assert crop.to_dict() == {"size": 224, "zoom": 0.8, "rise": 0.1, "mask": False}
    assert ExpressionCrop.from_dict(crop.to_dict()) == crop
    with pytest.raises(InputError, match=r"expression_crop has the unknown key 'zom'. Did you mean 'zoom'"):
        ExpressionCrop.from_dict({"zom": 0.8})


@pytest.mark.parametrize("wrong", [{"size": 4}, {"zoom": 0.0}, {"zoom": float("nan")}, {"rise": 0.9}])
def test_senseless_records_are_refused(wrong):
    with pytest.raises(InputError, match=r"ExpressionCrop\." + next(iter(wrong))):
        ExpressionCrop(**wrong)
