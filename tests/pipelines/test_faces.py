"""Pictures instead of embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import tiny
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.geometry import align
from emoji_adapter.faces.images import load_image
from emoji_adapter.pipelines.faces import FaceEncoders

PEOPLE = dict(zip("abc", tiny.identities(3), strict=True))
FACES = dict(zip("xyz", tiny.expressions(3), strict=True))


class Album(FaceEncoders):
    """Knows the pictures "a" to "c" (people) and "x" to "z" (expressions), and remembers what was asked."""

    def __init__(self, config):
        super().__init__(config)
        self.asked = []

    def identity(self, pictures, policy):
        self.asked.append((tuple(pictures), policy))
        return torch.stack([PEOPLE[picture] for picture in pictures]).mean(0)

    def expression(self, picture, policy, device):
        self.asked.append((picture, policy))
        return FACES[picture].to(device)


@pytest.fixture
def album(pipe):
    pipe.face_encoders = Album(pipe.emoji_adapter.config)
    return pipe.face_encoders


def test_pictures_give_what_their_embeddings_give(pipe, album, draw):
    wanted = draw(pipe, identity_embeds=PEOPLE["a"], expression_embeds=FACES["x"])
    assert torch.equal(draw(pipe, identity_image="a", expression="x"), wanted)
    assert album.asked == [(("a",), "largest"), ("x", "largest")]
    embeds = {"identity_embeds": pipe.encode_identity("a"), "expression_embeds": pipe.encode_expression("x")}
    assert torch.equal(draw(pipe, **embeds), wanted)


def test_several_pictures_of_one_person_and_one_of_each(pipe, album, draw):
    draw(pipe, identity_image=["a", "b"], face_policy="raise")
    assert album.asked == [(("a", "b"), "raise")]
    mean = torch.stack([PEOPLE["a"], PEOPLE["b"]]).mean(0)
    assert torch.equal(pipe.encode_identity(["a", "b"]), mean)
    prompts = ["p", "q", "r"]
    wanted = draw(pipe, prompts, identity_embeds=torch.stack(list(PEOPLE.values())))
    assert torch.equal(draw(pipe, prompts, identity_image=["a", "b", "c"]), wanted)
    mixed = torch.stack([mean, PEOPLE["b"], PEOPLE["c"]])
    wanted = draw(pipe, prompts, identity_embeds=mixed, expression_embeds=FACES["y"])
    given = draw(pipe, prompts, identity_image=[["a", "b"], "b", "c"], expression="y")
    assert torch.equal(given, wanted)


def test_pictures_need_an_adapter(bare, draw):
    with pytest.raises(InputError, match=r"Call load_emoji_adapter\(\) first"):
        draw(bare, identity_image="a")


def test_encoders_are_shared_by_from_pipe_and_renewed_by_loading(pipe, album):
    assert type(pipe).from_pipe(pipe).face_encoders is album
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert pipe.face_encoders is not album


def test_a_pack_that_the_adapter_does_not_name_is_refused():
    config = tiny.adapter(tiny.unet(), identity_encoder="buffalo_l").config
    with pytest.raises(AdapterMismatchError, match="trained with the face pack 'buffalo_l', got 'micro'"):
        FaceEncoders(config, analyzer=FaceAnalyzer("micro"))
    assert FaceEncoders(config).analyzer.pack_id == "buffalo_l"


def tower(folder):
    """Writes a CLIP vision tower of four patches of 20 numbers."""
    vision = CLIPVisionConfig(
        hidden_size=20,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder)
    return str(folder)


def test_identity_features_are_those_of_nothing_and_of_the_aligned_face(tmp_path, face_pack):
    config = dict(tiny.adapter(tiny.unet()).config) | {"identity_features_encoder": tower(tmp_path)}
    picture = load_image(Path(__file__).parents[2] / "examples" / "assets" / "identity_1.png")
    encoders = FaceEncoders(config)
    features = encoders.identity_features(picture, "largest", torch.device("cpu"))
    aligned = align(np.asarray(picture), encoders.analyzer.face(picture).landmarks, 32)
    pixels = encoders.features_encoder.preprocess(torch.from_numpy(aligned).permute(2, 0, 1)[None] / 255)
    for found, given in zip(features, (torch.zeros_like(pixels), pixels), strict=True):
        assert found.shape == (5, 20)
        torch.testing.assert_close(found[None], encoders.features_encoder.hidden(given), atol=1e-5, rtol=1e-4)


def test_pictures_of_expressions_are_refused_by_an_adapter_that_reads_codes():
    adapter = tiny.adapter(tiny.unet(), expression_dim=None, blendshapes=55, blendshape_set="flame")
    with pytest.raises(AdapterMismatchError, match=r"codes of 55 numbers \(flame\)"):
        FaceEncoders(adapter.config).expression(nobody(), "largest", torch.device("cpu"))


def nobody():
    return np.zeros((64, 64, 3), dtype=np.uint8)


def test_the_encoder_is_loaded_by_its_name_with_the_crop_of_the_adapter(tmp_path):
    tower(tmp_path)
    crop = {"size": 64, "zoom": 0.8, "rise": 0.1, "mask": False}
    adapter = tiny.adapter(tiny.unet(), expression_encoder=str(tmp_path), expression_crop=crop)
    encoder = FaceEncoders(adapter.config).expression_encoder
    assert isinstance(encoder, ExpressionEncoder)
    assert encoder.crop.to_dict() == crop
    features = encoder.encode(torch.rand(2, 3, 64, 64))
    assert adapter.expression_tokens_of(features).shape == (
        2,
        tiny.SIZES["expression_tokens"],
        tiny.CROSS_DIM,
    )


def test_the_teacher_that_the_adapter_names_reads_the_picture_too():
    """With the embedded encoders, which are loaded by their names."""
    config = dict(tiny.adapter(tiny.unet(), expression_dim=128, expression_teacher="micro").config)
    picture = Path(__file__).parents[2] / "examples" / "assets" / "expression_1.png"
    cpu = torch.device("cpu")
    embeds = FaceEncoders(config).expression(picture, "largest", cpu)
    alone = FaceEncoders(config | {"expression_teacher": None}).expression(picture, "largest", cpu)
    assert torch.equal(embeds[:-1], alone)
    assert 0.3 < embeds[-1, :52].max() <= 1
    assert not embeds[-1, 52:].any()


HERE, THERE = torch.device("cpu"), torch.device("cpu", 0)
"""Two names of the CPU: unlike for what moves networks, alike for what computes."""


class Recorded(ExpressionEncoder):
    """Writes down where it was sent, and where it was when it worked."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.place, self.seen = HERE, []

    @property
    def device(self):
        return self.place

    def to(self, device):
        self.place = device
        self.seen.append(("sent", device))
        return super().to(device)

    def hidden(self, pixels):
        self.seen.append(("works", self.place))
        return super().hidden(pixels)


@pytest.mark.parametrize(
    ("ask", "role"),
    [("encode_expression", "expression_encoder"), ("encode_identity_features", "features_encoder")],
)
def test_an_image_encoder_is_on_the_device_of_the_call_only_while_it_encodes(pipe, tmp_path, ask, role):
    encoder = Recorded.from_pretrained(tower(tmp_path))
    encoders = FaceEncoders(
        dict(pipe.emoji_adapter.config), analyzer=FaceAnalyzer("micro"), **{role: encoder}
    )
    pipe.face_encoders = encoders
    picture = Path(__file__).parents[2] / "examples" / "assets" / "expression_1.png"
    with pipe._on_device(THERE):
        getattr(pipe, ask)(picture)
    assert encoder.seen == [("sent", THERE), ("works", THERE), ("sent", HERE)]
