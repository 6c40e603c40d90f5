"""Who somebody is: length 1, the mean of several pictures, refusals that name the picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from emoji_adapter.encoders.identity import IdentityEncoder
from emoji_adapter.errors import InputError, NoFaceError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render


@pytest.fixture(scope="module")
def encoder(face_pack):
    return IdentityEncoder(FaceAnalyzer(threads=1))


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(3)
    parameters = sample(3, generator)
    parameters = parameters.replace(
        identity=parameters.identity[:1].expand(3, -1), style=torch.zeros(3).long()
    )
    images = render(parameters, size=128).image
    return [Image.fromarray((x.permute(1, 2, 0) * 255).round().byte().numpy()) for x in images]


def test_one_picture_gives_its_embedding_at_length_1(encoder, pictures):
    embedding = encoder.encode(pictures[:1])
    raw = torch.from_numpy(encoder.analyzer.face(pictures[0]).embedding)
    assert embedding.shape == (512,)
    assert embedding.dtype == torch.float32
    assert torch.allclose(embedding, raw / raw.norm(), atol=1e-6)
    assert encoder.id == "micro"


def test_several_pictures_give_the_mean_direction_in_any_order(encoder, pictures):
    each = torch.stack([encoder.encode([picture]) for picture in pictures])
    mean = each.mean(0)
    assert torch.allclose(encoder.encode(pictures), mean / mean.norm(), atol=1e-6)
    assert torch.allclose(encoder.encode(pictures[::-1]), encoder.encode(pictures), atol=1e-6)


def test_the_picture_at_fault_is_named(encoder, pictures):
    blank = np.full((64, 64, 3), 90, np.uint8)
    with pytest.raises(NoFaceError, match=r"in identity_image\[1\] \(64x64"):
        encoder.encode([pictures[0], blank])
    with pytest.raises(NoFaceError, match=r"in photo \(64x64"):
        encoder.encode([blank], name="photo")


def test_no_pictures_are_refused():
    with pytest.raises(InputError, match="identity_image is an empty list"):
        IdentityEncoder(FaceAnalyzer()).encode([])
