"""Guidance of the expression alone: the formula, what it leaves as it was, and what it costs."""

import pytest
import torch

import tiny
from emoji_adapter.errors import InputError

GUIDANCE = 4.0
FACES = {"identity_embeds": tiny.identities(2), "expression_embeds": tiny.expressions(2)}


@pytest.fixture
def latents(pipe, draw):
    """Latents of two prompts, two pictures each, after one step: linear in what the U-Net says."""

    def call(scale=None, **changes):
        arguments = {
            "num_inference_steps": 1,
            "guidance_scale": GUIDANCE,
            "num_images_per_prompt": 2,
            "output_type": "latent",
            **FACES,
        }
        return draw(pipe, ["a", "b"], expression_guidance_scale=scale, **(arguments | changes))

    return call


def test_the_scale_of_the_text_is_stock_guidance(latents):
    torch.testing.assert_close(latents(GUIDANCE), latents(), atol=1e-5, rtol=1e-4)


def test_zero_leaves_the_expression_out_and_the_identity_in(latents):
    without = latents(expression_embeds=None)
    torch.testing.assert_close(latents(0.0), without, atol=1e-5, rtol=1e-4)
    assert (without - latents()).abs().max() > 1e-3
    assert (without - latents(expression_embeds=None, identity_embeds=None)).abs().max() > 1e-3


@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
def test_the_step_is_linear_in_the_scale_between_without_and_stock(latents, guidance):
    without, stock = (
        latents(expression_embeds=None, guidance_scale=guidance),
        latents(guidance_scale=guidance),
    )
    for scale in (1.5, 7.0):
        expected = without + scale / guidance * (stock - without)
        found = latents(scale, guidance_scale=guidance)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        assert (found - stock).abs().max() > 1e-3


def counted(pipe, monkeypatch):
    """Rows of every call of the U-Net's forward."""
    rows, forward = [], pipe.unet.forward

    def count(sample, *arguments, **keywords):
        rows.append(len(sample))
        return forward(sample, *arguments, **keywords)

    monkeypatch.setattr(pipe.unet, "forward", count)
    return rows


def test_only_controlled_steps_ask_once_more(pipe, latents, monkeypatch):
    rows = counted(pipe, monkeypatch)
    latents(3.0, num_inference_steps=4, control_start=0.25, control_end=0.75)
    assert rows == [8, 8, 4, 8, 4, 8]
    rows.clear()
    latents(num_inference_steps=2)
    assert rows == [8, 8]


def test_nothing_is_left_on_the_unet_even_after_a_fault(pipe, latents):
    before = latents()
    latents(3.0)
    with pytest.raises(RuntimeError, match="on purpose"):
        latents(3.0, callback_on_step_end=fault)
    assert not pipe.unet._forward_hooks
    assert torch.equal(latents(), before)


def fault(*_):
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("scale", [-1.0, float("nan")])
def test_a_scale_that_is_no_strength_is_refused(latents, scale):
    with pytest.raises(InputError, match="expression_guidance_scale must be a number from 0"):
        latents(scale)


def test_guidance_of_no_expression_is_refused(latents):
    with pytest.raises(InputError, match="guides an expression"):
        latents(3.0, expression_embeds=None)
