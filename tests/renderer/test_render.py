"""The drawing: left is left, pictures do not depend on their neighbours, landmarks lie where they should."""

import pytest
import torch

from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.blendshapes import ARKIT, DRAWN, DRAWN_INDEX
from emoji_adapter.renderer.parameters import IDENTITY_DIM, FaceParameters, sample
from emoji_adapter.renderer.render import render
from emoji_adapter.renderer.vocabulary import BACKGROUND_RGB, BACKGROUNDS, STYLES


def face(style: str = "photo", background: str = "gray", **expression: float) -> FaceParameters:
    """One frontal face of mean features."""
    values = torch.tensor([[expression.get(name, 0.0) for name in DRAWN]])
    pose = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    return FaceParameters(
        identity=torch.zeros(1, IDENTITY_DIM), expression=values, pose=pose, light=torch.zeros(1, 3),
        style=torch.tensor([STYLES.index(style)]), background=torch.tensor([BACKGROUNDS.index(background)]),
        accessory=torch.tensor([0]), variation=torch.zeros(1, 8),
    )  # fmt: skip


def test_names_are_arkits() -> None:
    assert len(ARKIT) == len(set(ARKIT)) == 52
    assert len(DRAWN) == len(set(DRAWN)) == 33
    assert [ARKIT[i] for i in DRAWN_INDEX] == list(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_every_drawn_blendshape_shows(name: str) -> None:
    needs = {"jawOpen": 0.5} if name == "tongueOut" else {}
    before, after = render(face(**needs), 64).image, render(face(**needs | {name: 1.0}), 64).image
    assert (before - after).abs().amax() > 0.15


@pytest.mark.parametrize(
    "name", [n for n in DRAWN if n.endswith("Left") and not n.startswith(("jaw", "eyeLook"))]
)
def test_left_is_the_subjects_left(name: str) -> None:
    change = (render(face(), 64).image - render(face(**{name: 1.0}), 64).image).abs().sum((0, 1, 2))
    viewers_left, viewers_right = change[:32].sum(), change[32:].sum()
    assert viewers_right > 1.4 * viewers_left  # a lopsided mouth moves a little as a whole


def test_left_and_right_mirror_each_other() -> None:
    left = render(face(eyeBlinkLeft=1.0, mouthSmileLeft=0.8), 64).image
    right = render(face(eyeBlinkRight=1.0, mouthSmileRight=0.8), 64).image
    assert (left - right.flip(-1)).abs().mean() < 0.01


def test_a_picture_does_not_depend_on_its_batch() -> None:
    parameters = sample(5, torch.Generator().manual_seed(3))
    together, alone = render(parameters, 64).image[2:3], render(parameters.index(slice(2, 3)), 64).image
    assert torch.allclose(together, alone, atol=1e-5)


def test_values_and_shapes() -> None:
    drawn = render(sample(7, torch.Generator().manual_seed(0)), 48)
    assert drawn.image.shape == (7, 3, 48, 48)
    assert drawn.image.min() >= 0
    assert drawn.image.max() <= 1
    assert torch.isfinite(drawn.image).all()
    centre = (drawn.box[:, :2] + drawn.box[:, 2:]) / 2
    assert (drawn.landmarks.mean(1) - centre).abs().max() < 10
    assert (drawn.landmarks[:, 1, 0] > drawn.landmarks[:, 0, 0]).all()


def test_landmarks_follow_the_pose() -> None:
    straight, turned = face(), face()
    turned = turned.replace(pose=torch.tensor([[0.3, 0.0, 0.0, 1.0, 0.0, 0.0]]))
    nose = [render(p, 64).landmarks[0, 2, 0] for p in (straight, turned)]
    assert nose[0] == pytest.approx(32, abs=0.5)
    assert nose[1] > nose[0] + 2


def test_eyes_are_white_at_their_landmarks_when_they_look_away() -> None:
    drawn = render(face(eyeLookOutLeft=1.0, eyeLookInRight=1.0), 128)
    x, y = drawn.landmarks[0, 1].round().long().tolist()
    assert drawn.image[0, :, y, x - 6].min() > 0.75


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_backgrounds_have_their_colour(background: str) -> None:
    corner = render(face(background=background), 64).image[0, :, 8, 4]
    wanted = torch.tensor(BACKGROUND_RGB)
    nearest = torch.nn.functional.cosine_similarity(wanted, corner[None]).argmax()
    assert BACKGROUNDS[int(nearest)] == background


def test_splits_do_not_share_people_or_depend_on_the_machine() -> None:
    train, test = pictures("train", 50, 0), pictures("test", 50, 0)
    assert torch.cdist(train.identity, test.identity).min() > 0.5
    assert torch.equal(pictures("test", 50, 0).identity, test.identity)
    assert not torch.equal(pictures("test", 50, 1).identity, test.identity)
