"""Several people in one picture: who acts where, and how masks come to the latents."""

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import tiny_families as families
from emoji_adapter.errors import AdapterMismatchError, InputError, NoFaceError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.regions import masks_of_faces
from emoji_adapter.models.attention import DualAttnProcessor
from emoji_adapter.pipelines.people import Person
from emoji_adapter.types import Face

LEFT = torch.zeros(16, 16)
LEFT[:, :8] = 1.0
RIGHT = 1.0 - LEFT
WHITE = torch.ones(16, 16)
ID, EX = tiny.identities(4), tiny.expressions(4)


def person(number, mask=WHITE, **changes):
    return Person(mask, **({"identity_embeds": ID[number], "expression_embeds": EX[number]} | changes))


def one(number):
    """The same as arguments of a call with one person."""
    return {"identity_embeds": ID[number], "expression_embeds": EX[number]}


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_one_person_everywhere_is_the_ordinary_call(pipe, draw):
    close(draw(pipe, people=[person(0)]), draw(pipe, **one(0)))
    plain = draw(pipe)
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(pipe, people=[person(0, LEFT), person(1, RIGHT)]), plain)


def test_masks_weigh_and_add_and_the_order_of_people_does_not_matter(pipe, draw):
    both = draw(pipe, people=[person(0, LEFT), person(1, RIGHT)])
    close(draw(pipe, people=[person(1, RIGHT), person(0, LEFT)]), both)
    close(draw(pipe, people=[person(0, LEFT), person(0, RIGHT)]), draw(pipe, **one(0)))
    for other in ([person(0, RIGHT), person(1, LEFT)], [person(0, LEFT)], [person(0)], [person(1)]):
        assert (draw(pipe, people=other) - both).abs().max() > 1e-3
    pipe.set_emoji_adapter_scale(identity=0.5, expression=0.5)
    halves = draw(pipe, **one(0))
    pipe.set_emoji_adapter_scale(identity=1.0, expression=1.0)
    close(draw(pipe, people=[person(0, WHITE / 2)]), halves)


def test_a_person_acts_at_the_places_of_its_mask_only(pipe):
    """In one layer at half the resolution of the latents, where 8x8 become 4x4 positions."""
    adapter, layer = pipe.emoji_adapter, pipe.emoji_adapter.layers[0]
    block = pipe.unet.get_submodule(layer)
    processor = DualAttnProcessor(layer, block.processor.inner)
    hidden, text = torch.randn(2, 16, block.inner_dim), torch.randn(2, 7, tiny.CROSS_DIM)

    def outputs(numbers):
        kv = adapter(adapter.identity_tokens_of(ID[numbers]), adapter.expression_tokens_of(EX[numbers]))
        parts = [part.reshape(1, -1, part.shape[-1]) for part in kv[layer][:4]]
        masks = torch.nn.functional.adaptive_avg_pool2d(torch.stack([LEFT, RIGHT])[None], 8)
        carried = {layer: type(kv[layer])(*parts, masks)}
        return processor(block, hidden, text, ip_hidden_states=carried)

    with torch.no_grad():
        changed = (outputs([0, 1]) - outputs([0, 2])).abs().amax(-1) > 1e-6
    assert changed.view(2, 4, 4).tolist() == [[[False] * 4] * 4, [[False, False, True, True]] * 4]


def test_a_person_without_identity_or_expression(pipe, draw):
    """Where one person lacks a branch it acts for the others alone."""
    pair = [person(0, LEFT, expression_embeds=None), person(1, RIGHT, identity_embeds=None)]
    wanted = draw(pipe, people=pair)
    stranger = person(2, LEFT, identity_embeds=None)
    assert (draw(pipe, people=[*pair, stranger]) - wanted).abs().max() > 1e-3
    pipe.set_emoji_adapter_scale(expression=0.0)
    identity_only = draw(pipe, people=[person(0, LEFT), person(1, RIGHT, identity_embeds=None)])
    close(identity_only, draw(pipe, people=[person(0, LEFT, expression_embeds=None)]))


def test_people_of_two_recognisers(bare, draw):
    bare.load_emoji_adapter(tiny.adapter(bare.unet, second_recogniser="micro"))
    two = [{"identity_embeds": torch.cat([ID[k], ID[k + 2]]), "expression_embeds": EX[k]} for k in (0, 1)]
    close(draw(bare, people=[Person(LEFT, **two[0]), Person(RIGHT, **two[0])]), draw(bare, **two[0]))
    both = draw(bare, people=[Person(LEFT, **two[0]), Person(RIGHT, **two[1])])
    close(draw(bare, people=[Person(RIGHT, **two[1]), Person(LEFT, **two[0])]), both)
    assert (draw(bare, people=[Person(WHITE, **two[0])]) - both).abs().max() > 1e-3


def test_every_prompt_may_have_its_own_people(pipe, draw):
    prompts, noise = ["a", "b"], torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    groups = [[person(0, LEFT), person(1, RIGHT)], [person(2, LEFT), person(3, WHITE)]]
    batch = draw(pipe, prompts, latents=noise, num_images_per_prompt=2, people=groups)
    same = draw(pipe, prompts, latents=noise, num_images_per_prompt=2, people=groups[0])
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        for pictures, group in ((batch, groups[i]), (same, groups[0])):
            alone = draw(pipe, prompt, latents=noise[rows], num_images_per_prompt=2, people=group)
            torch.testing.assert_close(pictures[rows], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("guidance", [7.5, 0.0])
def test_negative_rows_that_see_something(bare, draw, guidance):
    negatives = {"identity_negative": "zeros", "expression_negative": "zeros"}
    bare.load_emoji_adapter(tiny.adapter(bare.unet, **negatives))
    close(
        draw(bare, people=[person(0, LEFT), person(0, RIGHT)], guidance_scale=guidance),
        draw(bare, guidance_scale=guidance, **one(0)),
    )


def test_the_guidance_of_the_expression_and_the_window_act_as_ever(pipe, draw):
    arguments = {"expression_guidance_scale": 3.0, "control_start": 0.5}
    close(draw(pipe, people=[person(0)], **arguments), draw(pipe, **one(0), **arguments))


@pytest.mark.parametrize(
    "kind",
    [
        families.kind_of(*name)
        for name in (("SD", "image-to-image"), ("SD", "controlnet"), ("SDXL", "inpaint"))
    ],
)
def test_in_other_tasks_and_families(kind):
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    wanted = families.draw(pipe, kind.task, **one(0))
    close(families.draw(pipe, kind.task, people=[person(0)]), wanted)
    halves = families.draw(pipe, kind.task, people=[person(0, LEFT), person(1, RIGHT)])
    assert (halves - wanted).abs().max() > 1e-4
    if kind.task == "inpaint":
        with pytest.raises(InputError, match="together with padding_mask_crop"):
            families.draw(pipe, kind.task, people=[person(0)], padding_mask_crop=4)


def test_pictures_that_are_not_square_and_masks_of_any_size_and_kind(pipe, draw):
    """40x24 pixels are 20x12 latents, 10x6 in the layers; masks of other sizes fit by their proportions."""
    sizes = {"height": 40, "width": 24}
    wanted = draw(pipe, people=[person(0, torch.ones(40, 24))], **sizes)
    close(wanted, draw(pipe, **one(0), **sizes))
    left = torch.zeros(40, 24)
    left[:, :12] = 1.0
    wanted = draw(pipe, people=[person(0, left), person(1, 1 - left)], **sizes)
    for kind in (
        lambda mask: Image.fromarray((mask * 255).byte().numpy()),
        lambda mask: (mask[None] * 255).byte(),
        lambda mask: np.repeat(np.repeat(mask.numpy(), 3, 0), 3, 1),
    ):
        close(draw(pipe, people=[person(0, kind(left)), person(1, kind(1 - left))], **sizes), wanted)
    with pytest.raises(InputError, match=r"measure 40x24 \(width x height\), the latents 12x20"):
        draw(pipe, people=[person(0, left.T)], **sizes)
    assert pipe._kv_of_people is None


@pytest.mark.parametrize(
    ("people", "message"),
    [
        (lambda: [], "a list that is not empty"),
        (lambda: person(0), "a list that is not empty"),
        (lambda: [person(0), "me.png"], "people holds str"),
        (lambda: [[person(0)], [person(0), person(1)]], "1 or 2 entries for 1 prompt"),
        (lambda: [[person(0)], [person(1)]], "people has 2 lists"),
        (lambda: [person(0, torch.zeros(16, 16))], "person 0 is 0 everywhere"),
        (lambda: [person(0), person(1, 2 * WHITE)], r"person 1 .* numbers in \[0, 1\]"),
        (lambda: [person(0), person(1, torch.ones(8, 8))], "differ in size"),
        (lambda: [Person(WHITE)], "needs an identity or an expression"),
        (lambda: [person(0, identity_image="me.png")], "either identity_image or identity_embeds"),
        (lambda: [person(0, expression_embeds=torch.zeros(52)), person(1)], "different shapes"),
        (lambda: [person(0, identity_embeds=torch.zeros(2, 512))], "must have 1 axes"),
        (lambda: [person(0, identity_embeds=torch.zeros(511))], r"shape \[batch, 512\]"),
        (lambda: [person(0, identity_features=torch.zeros(2, 3, 4)), person(1)], "needs identity_features"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_words(pipe, draw, people, message):
    with pytest.raises((InputError, AdapterMismatchError), match=message):
        draw(pipe, people=people())


def test_people_are_given_alone_and_need_an_adapter(pipe, draw):
    with pytest.raises(InputError, match="people cannot be given together with identity_embeds"):
        draw(pipe, people=[person(0)], identity_embeds=ID[0])
    pipe.unload_emoji_adapter()
    with pytest.raises(InputError, match=r"Call load_emoji_adapter\(\) first"):
        draw(pipe, people=[person(0)])


def face(left, top, right, bottom):
    return Face(np.array([left, top, right, bottom], np.float32), np.zeros((5, 2), np.float32), 0.9)


def test_masks_of_faces_go_from_left_to_right_and_do_not_overlap():
    masks = masks_of_faces((32, 16), [face(18, 4, 26, 12), face(6, 4, 14, 12)], margin=0.5)
    assert masks.shape == (2, 16, 32)
    assert masks.sum(0).max() == 1
    columns = [np.flatnonzero(mask.any(0)) for mask in masks]
    assert (columns[0][0], columns[0][-1], columns[1][0], columns[1][-1]) == (2, 15, 16, 29)
    assert masks[:, 0].any()
    assert not masks_of_faces((32, 16), [face(6, 4, 14, 12)], margin=0.0)[0, :4].any()
    larger = masks_of_faces((32, 16), [face(2, 0, 18, 16), face(20, 6, 24, 10)], margin=1.0)
    assert larger[0].sum() > 4 * larger[1].sum()
    with pytest.raises(InputError, match="margin must be a number from 0"):
        masks_of_faces((32, 16), [], margin=-1)
    with pytest.raises(InputError, match="no place of its own"):
        masks_of_faces((32, 16), [face(100, 4, 110, 12)])


def test_masks_from_a_first_pass(pipe, draw, monkeypatch):
    found = [face(8, 2, 14, 10), face(1, 2, 7, 10)]
    monkeypatch.setattr(FaceAnalyzer, "detect", lambda _self, _image: list(found))
    first = pipe("two", num_inference_steps=1).images[0]
    masks = pipe.face_masks(first)
    assert masks.shape == (2, 16, 16)
    assert masks[0, :, :7].any()
    assert not masks[0, :, 8:].any()
    pictures = draw(pipe, people=[person(i, mask) for i, mask in enumerate(masks)])
    assert (pictures - draw(pipe)).abs().max() > 1e-3
    found.clear()
    with pytest.raises(NoFaceError, match="no place for a person"):
        pipe.face_masks(first)
