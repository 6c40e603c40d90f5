"""Patch features of CLIP: the layer, the pre-processing, one path for pictures and tensors, loading."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from emoji_adapter.config import WEIGHTS_VARIABLE
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.expression import CLIP_MEAN, CLIP_STD, ExpressionEncoder
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.crop import ExpressionCrop


def tower(**config):
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    settings |= {"image_size": 28, "patch_size": 14, "projection_dim": 8}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**settings | config))


@pytest.fixture(scope="module")
def encoder():
    return ExpressionEncoder(tower())


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(1)
    return [
        Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize(
            (64, 64), Image.Resampling.BICUBIC
        )
        for _ in range(2)
    ]


def test_features_are_the_patches_of_the_layer_before_the_last(encoder):
    images = torch.rand(2, 3, 28, 28)
    features = encoder.encode(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    hidden = encoder.model(pixel_values=(images - mean) / std, output_hidden_states=True).hidden_states
    assert len(hidden) == 4
    assert features.shape == (2, encoder.patches, encoder.dim) == (2, 4, 24)
    assert torch.allclose(features, hidden[2][:, 1:], atol=1e-6)


class Teacher(BlendshapeTeacher):
    """Says how light a crop is, in each of its numbers."""

    def __init__(self, numbers):
        self.numbers = numbers

    def estimate(self, crops):
        light = [np.asarray(crop, np.float32).mean() / 255 for crop in crops]
        return np.repeat(np.array(light, np.float32)[:, None], self.numbers, axis=1)


def test_a_teachers_code_stands_in_one_more_row(encoder, photos):
    both = ExpressionEncoder(encoder.model, teacher=Teacher(20))
    for crops in (photos, torch.stack([torch.zeros(3, 28, 28), torch.ones(3, 28, 28)])):
        embeds = both.encode(crops)
        assert torch.equal(embeds[:, :-1], encoder.encode(crops))
        assert torch.equal(both.patch_features(crops), encoder.encode(crops))
        assert embeds.shape == (2, encoder.patches + 1, encoder.dim)
        assert torch.equal(embeds[:, -1, 20:], torch.zeros(2, encoder.dim - 20))
        light = [float(np.asarray(crop).mean()) for crop in crops]
        light = [value / 255 if crops is photos else value for value in light]
        assert embeds[:, -1, :20].mean(1).tolist() == pytest.approx(light, abs=1e-3)


def test_the_last_layer_can_be_read_too(encoder):
    images = torch.rand(1, 3, 28, 28)
    last = ExpressionEncoder(encoder.model, layer=-1).encode(images)
    output = encoder.model(pixel_values=encoder.preprocess(images)).last_hidden_state
    assert torch.allclose(last, output[:, 1:], atol=1e-6)
    with pytest.raises(InputError, match=r"layer must lie in \[-4, 3\]"):
        ExpressionEncoder(encoder.model, layer=4)


def test_preprocessing_is_that_of_transformers_up_to_rounding(encoder, photos):
    processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    theirs = torch.as_tensor(np.asarray(processor(photos, return_tensors="np")["pixel_values"]))
    tensors = torch.stack([torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255 for photo in photos])
    assert (encoder.preprocess(tensors) - theirs).abs().max() < 0.03


def test_pictures_and_tensors_share_one_path(encoder, photos):
    tensors = torch.stack([torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255 for photo in photos])
    assert torch.equal(encoder.encode(photos), encoder.encode(tensors))
    larger = [photos[0], photos[1].resize((90, 90))]
    assert encoder.encode(larger).shape == (2, 4, 24)


def test_gradients_reach_the_pictures_and_not_the_tower(encoder):
    images = torch.rand(1, 3, 40, 40, requires_grad=True)
    encoder.encode(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not encoder.encode(images.detach()).requires_grad
    assert not encoder.model.training


def test_features_come_in_the_towers_dtype(photos):
    assert ExpressionEncoder(tower()).to(torch.bfloat16).encode(photos).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "crops",
    [[], torch.zeros(1, 3, 28, 28, dtype=torch.uint8), torch.zeros(3, 28, 28), torch.zeros(1, 1, 28, 28)],
)
@pytest.mark.usefixtures("unchecked")
def test_other_inputs_are_refused(encoder, crops):
    with pytest.raises(InputError, match=r"[Ee]xpression crops"):
        encoder.encode(crops)


def test_crops_are_cut_at_the_towers_size_unless_told_otherwise(encoder):
    assert encoder.crop == ExpressionCrop(size=28)
    crop = ExpressionCrop(size=32, zoom=0.7)
    assert ExpressionEncoder(encoder.model, crop=crop).crop == crop


def test_saved_and_loaded_with_its_normalisation(tmp_path, photos):
    folder = tmp_path / "mine"
    model = tower()
    model.save_pretrained(folder)
    assert ExpressionEncoder.from_pretrained(folder).mean == CLIP_MEAN
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    loaded = ExpressionEncoder.from_pretrained(folder)
    assert loaded.id == "mine"
    assert (loaded.mean, loaded.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    same = ExpressionEncoder(model, loaded.mean, loaded.std)
    assert torch.equal(loaded.encode(photos), same.encode(photos))
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(WeightsFormatError, match="expected JSON with image_mean and image_std"):
        ExpressionEncoder.from_pretrained(folder)


def test_micro_is_the_packaged_one(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match="no 'expression_encoder'"):
        ExpressionEncoder.from_pretrained("micro")
    folder = tmp_path / "micro" / "expression_encoder"
    tower().save_pretrained(folder)
    assert ExpressionEncoder.from_pretrained("micro").id == "micro"
    assert ExpressionEncoder.from_pretrained(folder).id == "micro"


def test_missing_and_damaged_encoders_are_refused_in_words(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"expression encoder .* cannot be loaded"):
        ExpressionEncoder.from_pretrained(tmp_path)
    tower().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(WeightsFormatError, match="damaged or of another kind"):
        ExpressionEncoder.from_pretrained(tmp_path)
