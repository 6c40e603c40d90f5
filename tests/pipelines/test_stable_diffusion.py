"""The text-to-image pipeline: control, exact neutrality, batches, and the life of an adapter."""

import inspect

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.callbacks import SDCFGCutoffCallback
from diffusers.models.attention_processor import SlicedAttnProcessor

import tiny
from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.errors import AdapterFormatError, AdapterMismatchError, InputError, WeightsNotFoundError
from emoji_adapter.models import attention
from emoji_adapter.models.attention import CARRIER, DualAttnProcessor
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline


def both(n=1):
    """Identity and expression of n people."""
    return {"identity_embeds": tiny.identities(n), "expression_embeds": tiny.expressions(n)}


def test_without_faces_it_is_the_stock_pipeline(stock, bare, pipe, draw):
    plain = draw(stock)
    assert torch.equal(draw(bare), plain)
    assert torch.equal(draw(pipe), plain)


def test_scales_of_zero_are_the_stock_pipeline(stock, pipe, draw):
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(pipe, **both()), draw(stock))
    pipe.set_emoji_adapter_scale(identity=0.0, expression={"mid_block": 0.0, "up_blocks": 0})
    assert torch.equal(draw(pipe, **both()), draw(stock))


def test_each_branch_acts_alone_and_both_act_together(stock, pipe, draw):
    faces = both()
    pictures = [draw(stock), draw(pipe, **faces), *(draw(pipe, **{k: v}) for k, v in faces.items())]
    pictures.append(draw(pipe, expression_embeds=torch.rand(1, 52)))
    for i, a in enumerate(pictures):
        assert all((a - b).abs().max() > 1e-3 for b in pictures[:i])


def test_a_scale_left_out_stays_as_it_is(pipe, draw):
    pipe.set_emoji_adapter_scale(identity=0.5)
    pipe.set_emoji_adapter_scale(expression=0.25)
    first = draw(pipe, **both())
    pipe.set_emoji_adapter_scale(identity={"all": 0.5}, expression={"*": 0.25})
    assert torch.equal(draw(pipe, **both()), first)
    pipe.set_emoji_adapter_scale(identity=1.0)
    assert not torch.equal(draw(pipe, **both()), first)


def test_a_batch_keeps_its_people_apart(pipe, draw):
    prompts, noise = ["a", "b", "c"], torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    faces = both(3)
    batch = draw(pipe, prompts, latents=noise, num_images_per_prompt=2, **faces)
    for i, prompt in enumerate(prompts):
        alone = draw(
            pipe,
            prompt,
            latents=noise[2 * i : 2 * i + 2],
            num_images_per_prompt=2,
            **{k: v[i] for k, v in faces.items()},
        )
        torch.testing.assert_close(batch[2 * i : 2 * i + 2], alone, atol=1e-4, rtol=1e-3)
    faces["identity_embeds"][1] *= -1
    changed = (
        (draw(pipe, prompts, latents=noise, num_images_per_prompt=2, **faces) - batch).abs().amax((1, 2, 3))
    )
    assert (changed > 1e-4).tolist() == [False, False, True, True, False, False]


def give_up_guidance(pipeline, step, _timestep, tensors):
    """What `SDCFGCutoffCallback` does, for batches too (the stock one keeps a single row of text)."""
    if step == 1:
        pipeline._guidance_scale = 0.0
        tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
    return tensors


def test_guidance_given_up_in_mid_call_keeps_people_apart(pipe, draw):
    prompts, noise = ["a", "b"], torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    faces = both(2)
    cut = {
        "callback_on_step_end": give_up_guidance,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
        "num_inference_steps": 4,
        "num_images_per_prompt": 2,
    }
    batch = draw(pipe, prompts, latents=noise, **cut, **faces)
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        alone = draw(pipe, prompt, latents=noise[rows], **cut, **{k: v[i] for k, v in faces.items()})
        torch.testing.assert_close(batch[rows], alone, atol=1e-4, rtol=1e-3)


def test_one_person_serves_all_prompts(pipe, draw):
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    one = draw(pipe, ["a", "b"], latents=noise, **both(1))
    two = draw(pipe, ["a", "b"], latents=noise, **{k: v.expand(2, *v.shape[1:]) for k, v in both(1).items()})
    assert torch.equal(one, two)


def test_no_guidance_and_prompt_embeddings(pipe, stock, draw):
    for scale in (0.0, 1.0):
        assert not torch.equal(draw(pipe, guidance_scale=scale, **both()), draw(stock, guidance_scale=scale))
    embeds, negative = pipe.encode_prompt("a person", "cpu", 1, True)
    given = draw(pipe, None, prompt_embeds=embeds, negative_prompt_embeds=negative, **both())
    assert torch.equal(given, draw(pipe, **both()))
    two = draw(pipe, None, prompt_embeds=embeds.repeat(2, 1, 1), guidance_scale=1.0, **both(2))
    assert len(two) == 2


def test_control_acts_in_its_window_only(stock, pipe, draw):
    seen = {}

    def latents_of(pipeline, **kwargs):
        steps = []

        def record(_pipe, step, _t, tensors):
            carried = _pipe.cross_attention_kwargs or {}
            steps.append((CARRIER in carried, tensors["latents"].clone()))
            return tensors

        draw(pipeline, num_inference_steps=10, callback_on_step_end=record, **kwargs)
        seen[pipeline] = [active for active, _ in steps]
        return [latents for _, latents in steps]

    plain = latents_of(stock)
    late = latents_of(pipe, control_start=0.3, **both())
    equal = [torch.equal(a, b) for a, b in zip(plain, late, strict=True)]
    assert equal == [True] * 3 + [False] * 7
    assert seen[pipe] == [False] * 3 + [True] * 7
    early = latents_of(pipe, control_end=0.6, **both())
    full = latents_of(pipe, **both())
    equal = [torch.equal(a, b) for a, b in zip(full, early, strict=True)]
    assert equal == [True] * 6 + [False] * 4
    assert seen[pipe] == [True] * 10


def test_the_window_works_with_a_callback_object(pipe, draw):
    cut = SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    picture = draw(pipe, num_inference_steps=4, callback_on_step_end=cut, control_end=0.75, **both())
    assert not torch.equal(picture, draw(pipe, num_inference_steps=4, control_end=0.75, **both()))


def test_the_users_own_attention_arguments_are_kept(pipe, draw):
    own = {"scale": 0.5}
    pictures = draw(pipe, cross_attention_kwargs=own, **both())
    assert torch.equal(pictures, draw(pipe, **both()))
    assert own == {"scale": 0.5}
    assert pipe.cross_attention_kwargs is not None
    draw(pipe, cross_attention_kwargs=own, **both())
    assert pipe.cross_attention_kwargs.keys() == {"scale", CARRIER}
    with pytest.raises(InputError, match="travels there"):
        draw(pipe, cross_attention_kwargs={CARRIER: {}}, **both())


def test_stock_arguments_stay_visible_and_usable(stock, pipe):
    stock_names = list(inspect.signature(stock.__call__).parameters)
    names = list(inspect.signature(pipe.__call__).parameters)
    assert names[: len(stock_names) - 1] == stock_names[:-1]
    assert {"identity_image", "expression", "control_start"} <= set(names)
    assert "guidance_scale" in pipe.__call__.__doc__
    assert "identity_image: who" in pipe.__call__.__doc__
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    output = pipe(
        "a",
        16,
        16,
        2,
        guidance_rescale=0.5,
        negative_prompt="b",
        num_images_per_prompt=2,
        eta=0.1,
        generator=generators,
        output_type="latent",
        return_dict=False,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
        callback_on_step_end=lambda _p, _s, _t, tensors: tensors,
        **both(),
    )
    assert output[0].shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="Cannot forward both"):
        pipe("a", prompt_embeds=torch.zeros(1, 16, tiny.CROSS_DIM), **both())
    assert pipe("a", num_inference_steps=1, **both()).images[0].size == (16, 16)


@pytest.mark.parametrize("switch", ["enable_attention_slicing", "fuse_qkv_projections"])
def test_stock_switches_after_loading_do_not_lose_the_adapter(pipe, draw, switch):
    wanted = draw(pipe, **both())
    getattr(pipe, switch)()
    assert not pipe.emoji_adapter.is_attached(pipe.unet)
    torch.testing.assert_close(draw(pipe, **both()), wanted, atol=1e-4, rtol=1e-3)
    pipe.unload_emoji_adapter()
    kinds = {type(p) for p in pipe.unet.attn_processors.values()}
    assert len(kinds) == 1
    assert DualAttnProcessor not in kinds
    assert (kinds == {SlicedAttnProcessor}) == (switch == "enable_attention_slicing")


def test_unload_gives_the_stock_pipeline_back(stock, pipe, draw):
    pipe.unload_emoji_adapter()
    assert pipe.emoji_adapter is None
    assert repr(pipe.unet) == repr(stock.unet)
    assert list(pipe.unet.state_dict()) == list(stock.unet.state_dict())
    assert torch.equal(draw(pipe), draw(stock))
    with pytest.raises(InputError, match=r"Call load_emoji_adapter\(\) first"):
        draw(pipe, **both())
    with pytest.raises(InputError, match=r"Call load_emoji_adapter\(\) first"):
        pipe.set_emoji_adapter_scale(identity=1.0)
    pipe.unload_emoji_adapter()


def test_a_second_adapter_replaces_the_first(pipe, draw, tmp_path):
    first = draw(pipe, **both())
    save_adapter(tiny.adapter(pipe.unet, seed=9, identity_layers="up_blocks"), tmp_path / "other")
    pipe.set_emoji_adapter_scale(identity=0.0)
    pipe.load_emoji_adapter(tmp_path / "other")
    second = draw(pipe, **both())
    assert not torch.equal(second, first)
    pipe.unload_emoji_adapter()
    pipe.load_emoji_adapter(str(tmp_path), subfolder="other")
    assert torch.equal(draw(pipe, **both()), second)


def test_an_adapter_that_cannot_be_used_leaves_the_old_one(pipe, draw, tmp_path):
    wanted = draw(pipe, **both())
    save_adapter(tiny.adapter(tiny.xl_unet()), tmp_path / "xl")
    (tmp_path / "pickle.bin").write_bytes(b"x")
    for name, error in {
        tmp_path / "xl": AdapterMismatchError,
        tmp_path / "pickle.bin": AdapterFormatError,
        tmp_path / "nothing": WeightsNotFoundError,
        tiny.adapter(tiny.xl_unet()): AdapterMismatchError,
    }.items():
        with pytest.raises(error):
            pipe.load_emoji_adapter(name)
        assert torch.equal(draw(pipe, **both()), wanted)


def test_a_foreign_processor_is_refused(bare):
    class Foreign:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
            return hidden_states

    adapter = tiny.adapter(bare.unet)
    bare.unet.get_submodule(adapter.layers[0]).set_processor(Foreign())
    with pytest.raises(AdapterMismatchError, match="Foreign"):
        bare.load_emoji_adapter(adapter)
    assert bare.emoji_adapter is None


def test_an_ip_adapter_is_refused_while_ours_is_loaded(pipe, draw):
    with pytest.raises(InputError, match="one of the two"):
        pipe.load_ip_adapter("somebody/ip-adapter", subfolder="models", weight_name="x.safetensors")
    pipe.unload_ip_adapter()
    assert pipe.emoji_adapter.is_attached(pipe.unet)
    draw(pipe, **both())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_a_scale_that_is_no_strength_is_refused(pipe, value):
    with pytest.raises(InputError, match="expression scale must be a number from 0"):
        pipe.set_emoji_adapter_scale(expression={"mid_block": value})
    with pytest.raises(InputError, match="identity scale must be a number from 0"):
        pipe.set_emoji_adapter_scale(identity=value)
    with pytest.raises(InputError, match="'nose'"):
        pipe.set_emoji_adapter_scale(identity={"nose": 1.0})


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ({"identity_embeds": tiny.identities(3)}, "identity_embeds has 3 entries for 2 prompts"),
        ({"expression_embeds": tiny.expressions(3)}, "expression_embeds has 3 entries"),
        ({"identity_embeds": torch.zeros(2, 511)}, r"identity embeddings? of shape \[batch, 512\]"),
        ({"expression_embeds": torch.zeros(2, 6, 21)}, r"shape \[batch, any, 20\]"),
        ({"identity_embeds": tiny.identities(1) * float("nan")}, "not finite"),
        ({"identity_embeds": tiny.identities(1), "identity_image": "x.png"}, "not both"),
        ({"expression_embeds": tiny.expressions(1), "expression": "x.png"}, "not both"),
        ({"identity_image": ["a", "b", "c"]}, "identity_image has 3 entries for 2 prompts"),
        ({"expression": ["a", "b", "c"]}, "expression has 3 entries for 2 prompts"),
        ({"identity_images": "x.png"}, "did you mean 'identity_image'"),
        ({"expresion": "x.png"}, "did you mean 'expression'"),
        ({"identity_embeds": tiny.identities(1), "control_start": 2.0}, "shares of the steps"),
    ],
)
def test_bad_input_is_refused_in_words(pipe, draw, faces, message):
    with pytest.raises((InputError, AdapterMismatchError), match=message):
        draw(pipe, ["a", "b"], **faces)


def test_save_and_load_with_and_without_an_adapter(pipe, draw, tmp_path):
    wanted = draw(pipe, **both())
    pipe.save_pretrained(tmp_path / "with")
    for made in (
        EmojiDiffPipeline.from_pretrained(tmp_path / "with"),
        EmojiDiffSDPipeline.from_pretrained(tmp_path / "with"),
    ):
        assert isinstance(made, EmojiDiffSDPipeline)
        assert isinstance(made, EmojiDiffPipeline)
        assert made.emoji_adapter.is_attached(made.unet)
        assert torch.equal(draw(made, **both()), wanted)
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "with")
    plain.save_pretrained(tmp_path / "without")
    assert EmojiDiffPipeline.from_pretrained(tmp_path / "without").emoji_adapter is None
    given = EmojiDiffPipeline.from_pretrained(tmp_path / "without", emoji_adapter=pipe.emoji_adapter)
    assert torch.equal(draw(given, **both()), wanted)


def test_from_pipe_shares_parts_and_keeps_the_adapter(stock, pipe, draw):
    pipe.set_emoji_adapter_scale(identity=0.5)
    other = EmojiDiffPipeline.from_pipe(pipe)
    assert type(other) is EmojiDiffSDPipeline
    assert other.unet is pipe.unet
    assert torch.equal(draw(other, **both()), draw(pipe, **both()))
    pipe.unload_emoji_adapter()
    assert torch.equal(draw(pipe), draw(stock))
    draw(other, **both())
    ours = EmojiDiffPipeline.from_pipe(stock)
    assert ours.emoji_adapter is None
    assert torch.equal(draw(ours), draw(stock))
    plain = StableDiffusionPipeline.from_pipe(other)
    assert torch.equal(draw(plain), draw(stock))


def test_from_pipe_keeps_the_number_format(pipe):
    assert EmojiDiffPipeline.from_pipe(pipe.to(torch.bfloat16)).dtype == torch.bfloat16


def test_what_has_no_pipeline_is_refused(tmp_path, stock):
    with pytest.raises(InputError, match=r"no emoji pipeline .* task 'upscale'"):
        EmojiDiffPipeline.from_pipe(stock, task="upscale")
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    with pytest.raises(InputError, match=r"StableDiffusion3Pipeline .* there is: SD, SDXL for text-to-image"):
        EmojiDiffPipeline.from_pretrained(tmp_path)
    with pytest.raises(WeightsNotFoundError, match="neither 'micro'"):
        EmojiDiffPipeline.from_pretrained("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsNotFoundError, match="no checkpoint in diffusers' layout"):
        EmojiDiffPipeline.from_pretrained(tmp_path / "empty")


def test_micro_is_loaded_in_single_precision(pipe, tmp_path, monkeypatch):
    adapter = pipe.emoji_adapter
    pipe.unload_emoji_adapter()
    pipe.to(torch.float16).save_pretrained(tmp_path / "micro" / "checkpoint")
    save_adapter(adapter, tmp_path / "micro" / "adapter", torch.float16)
    monkeypatch.setenv("EMOJI_ADAPTER_WEIGHTS", str(tmp_path))
    made = EmojiDiffPipeline.from_pretrained("micro")
    made.load_emoji_adapter("micro")
    assert {x.dtype for x in (made.unet, made.vae, made.text_encoder, made.emoji_adapter)} == {torch.float32}


def test_the_adapter_follows_the_pipeline(pipe, draw):
    wanted = draw(pipe, **both())
    pipe.to(torch.bfloat16)
    assert pipe.emoji_adapter.dtype == torch.bfloat16
    torch.testing.assert_close(draw(pipe, **both()).float(), wanted, atol=0.2, rtol=0.2)
    adapter = tiny.adapter(pipe.unet.float())
    pipe.unet.to(torch.bfloat16)
    pipe.load_emoji_adapter(adapter)
    assert torch.isfinite(draw(pipe, **both())).all()


def test_a_compiled_unet_goes_on_working(pipe, draw, monkeypatch):
    tiny.without_shape_checks(monkeypatch, attention)
    torch._dynamo.reset()
    wanted = draw(pipe, **both())
    pipe.unet.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(draw(pipe, **both()), wanted, atol=1e-4, rtol=1e-3)
