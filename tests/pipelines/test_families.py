"""Every family and task: control, exact neutrality, batches, windows, saving and sharing."""

import inspect
import operator

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.callbacks import SDXLCFGCutoffCallback

import tiny
import tiny_families as families
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models.attention import CARRIER
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from tiny_families import KINDS, NAMES, both, draw

every = pytest.mark.parametrize("kind", KINDS, ids=NAMES)
partial = pytest.mark.parametrize("kind", [k for k in KINDS if k.task in ("image-to-image", "inpaint")])


@pytest.fixture
def stock(kind):
    return families.pipeline(kind.stock, kind.family, kind.task)


@pytest.fixture
def pipe(kind):
    """Ours, with an adapter that acts."""
    made = families.pipeline(kind.ours, kind.family, kind.task)
    made.load_emoji_adapter(tiny.adapter(made.unet))
    return made


@every
def test_control_acts_and_at_scale_zero_it_is_the_stock_pipeline(kind, stock, pipe):
    assert isinstance(pipe, EmojiDiffPipeline)
    assert isinstance(pipe, kind.stock)
    plain = draw(stock, kind.task)
    assert torch.equal(draw(pipe, kind.task), plain)
    controlled = draw(pipe, kind.task, **both())
    assert (controlled - plain).abs().max() > 1e-3
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(pipe, kind.task, **both()), plain)
    pipe.unload_emoji_adapter()
    assert torch.equal(draw(pipe, kind.task), plain)


@every
def test_a_batch_keeps_its_people_apart(kind, pipe):
    prompts, faces = ["a", "b"], both(2)
    noise = [torch.Generator().manual_seed(i) for i in range(4)]

    def batch(**changed):
        generators = [generator.clone_state() for generator in noise]
        arguments = {**families.inputs(kind.task, 2), **faces, **changed}
        return pipe(
            prompts, generator=generators, num_images_per_prompt=2, num_inference_steps=2, output_type="pt",
            **arguments,
        ).images  # fmt: skip

    first = batch()
    assert len(first) == 4
    other = torch.stack([faces["identity_embeds"][0], -faces["identity_embeds"][1]])
    changed = (batch(identity_embeds=other) - first).abs().amax((1, 2, 3)) > 1e-5
    assert changed.tolist() == [False, False, True, True]
    other = torch.stack([-faces["expression_embeds"][0], faces["expression_embeds"][1]])
    changed = (batch(expression_embeds=other) - first).abs().amax((1, 2, 3)) > 1e-5
    assert changed.tolist() == [True, True, False, False]


@every
def test_saving_and_loading(kind, pipe, tmp_path):
    wanted = draw(pipe, kind.task, **both())
    pipe.save_pretrained(tmp_path)
    made = EmojiDiffPipeline.from_pretrained(tmp_path, task=kind.task)
    assert type(made) is kind.ours
    assert made.emoji_adapter.is_attached(made.unet)
    made.set_progress_bar_config(disable=True)
    assert torch.equal(draw(made, kind.task, **both()), wanted)
    stock = kind.stock.from_pretrained(tmp_path)
    assert torch.equal(draw(stock, kind.task), draw(pipe, kind.task))


@every
def test_stock_arguments_and_components_stay_visible(kind, stock, pipe):
    names = list(inspect.signature(stock.__call__).parameters)
    shown = list(inspect.signature(pipe.__call__).parameters)
    assert [name for name in shown if name in names] == names
    assert {"identity_image", "control_start", "expression_guidance_scale"} <= set(shown)
    assert pipe.components.keys() == {*stock.components, "emoji_adapter"}
    assert pipe.parameters == stock.parameters
    assert type(pipe)(**pipe.components).emoji_adapter is pipe.emoji_adapter


@every
def test_from_pipe_between_tasks_shares_parts_adapter_and_scales(kind, stock):
    source = families.pipeline(
        families.kind_of(kind.family, "text-to-image").ours, kind.family, "text-to-image"
    )
    source.load_emoji_adapter(tiny.adapter(source.unet))
    source.set_emoji_adapter_scale(expression=0.5)
    extra = {"controlnet": stock.controlnet} if kind.task == "controlnet" else {}
    made = EmojiDiffPipeline.from_pipe(source, task=kind.task, **extra)
    assert type(made) is kind.ours
    assert made.unet is source.unet
    assert made.emoji_adapter is source.emoji_adapter
    controlled = draw(made, kind.task, **both())
    ours = EmojiDiffPipeline.from_pipe(stock, task=kind.task)
    ours.load_emoji_adapter(source.emoji_adapter)
    ours.set_emoji_adapter_scale(expression=0.5)
    assert torch.equal(draw(ours, kind.task, **both()), controlled)
    back = EmojiDiffPipeline.from_pipe(made)
    assert back.task == "text-to-image"
    assert back.emoji_adapter is source.emoji_adapter


@partial
def test_the_window_counts_the_steps_that_are_run(kind, pipe):
    """Of ten steps, strength 0.5 runs five; the window is a share of these."""
    seen = []

    def record(pipeline, step, _t, tensors):
        seen.append((step, CARRIER in (pipeline.cross_attention_kwargs or {})))
        return tensors

    window = {"control_start": 0.4, "control_end": 0.8, "callback_on_step_end": record}
    draw(pipe, kind.task, num_inference_steps=10, strength=0.5, **window, **both())
    assert seen == [(0, False), (1, False), (2, True), (3, True), (4, False)]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.task == "controlnet"])
def test_expression_guidance_at_the_guidance_of_the_text_is_stock_guidance(kind, pipe):
    wanted = draw(pipe, kind.task, guidance_scale=4.0, **both())
    guided = draw(pipe, kind.task, guidance_scale=4.0, expression_guidance_scale=4.0, **both())
    torch.testing.assert_close(guided, wanted, atol=1e-3, rtol=1e-3)
    stronger = draw(pipe, kind.task, guidance_scale=4.0, expression_guidance_scale=8.0, **both())
    assert (stronger - wanted).abs().max() > 1e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {"original_size": (8, 8), "crops_coords_top_left": (4, 0), "target_size": (32, 32)},
        {"prompt_2": "another", "negative_prompt_2": "not this"},
        {"negative_original_size": (64, 64), "negative_target_size": (8, 8)},
        {"guidance_scale": 0.0},
    ],
    ids=["size", "second text", "negative size", "no guidance"],
)
@pytest.mark.parametrize("kind", [families.kind_of("SDXL", "text-to-image")])
def test_micro_conditions_both_texts_and_guidance_keep_working(kind, stock, pipe, arguments):
    """What is special in SDXL acts under control too, and is the stock pipeline's at scale 0."""
    short = {"num_inference_steps": 1}
    controlled = draw(pipe, kind.task, **short, **both())
    assert (draw(pipe, kind.task, **short, **arguments, **both()) - controlled).abs().max() > 1e-4
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    wanted = draw(stock, kind.task, **short, **arguments)
    assert torch.equal(draw(pipe, kind.task, **short, **arguments, **both()), wanted)


@pytest.mark.parametrize("kind", [families.kind_of("SDXL", "text-to-image")])
def test_the_window_of_a_call_that_ends_early(kind, pipe):
    """`denoising_end` leaves steps to a refiner; the window is a share of those that are run."""
    seen = []

    def record(pipeline, _step, _t, tensors):
        seen.append(CARRIER in (pipeline.cross_attention_kwargs or {}))
        return tensors

    arguments = {"denoising_end": 0.5, "num_inference_steps": 8, "output_type": "latent"}
    draw(pipe, kind.task, control_end=0.5, callback_on_step_end=record, **arguments, **both())
    assert seen == [True, True, False, False]


@pytest.mark.parametrize("kind", [families.kind_of("SD", "inpaint"), families.kind_of("SDXL", "inpaint")])
def test_inpainting_unets_with_nine_channels(kind, tmp_path):
    unet = (tiny.unet if kind.family == "SD" else families.xl_unet)(in_channels=9)
    stock = families.pipeline(kind.stock, kind.family, kind.task, unet=unet)
    plain = draw(stock, kind.task)
    stock.save_pretrained(tmp_path)
    pipe = EmojiDiffPipeline.from_pretrained(tmp_path, task="inpaint")
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert torch.equal(draw(pipe, kind.task), plain)
    assert not torch.equal(draw(pipe, kind.task, **both()), plain)
    with pytest.raises(InputError, match=r"takes 9 channels.*Pass task='inpaint'"):
        EmojiDiffPipeline.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="takes 9 channels"):
        EmojiDiffPipeline.from_pipe(stock, task="image-to-image")


@pytest.mark.parametrize(
    ("width", "family"), [(768, "SD1.5"), (1024, "SD2"), ("xl", "SDXL")], ids=["SD1.5", "SD2", "SDXL"]
)
def test_an_adapter_of_another_family_is_refused_before_the_unet_is_touched(width, family):
    unets = {768: tiny.unet(cross_attention_dim=768), 1024: tiny.unet(cross_attention_dim=1024),
             "xl": families.xl_unet(cross_attention_dim=2048)}  # fmt: skip
    pipe = families.pipeline(families.kind_of("SD", "text-to-image").ours, "SD", "", unet=unets[width])
    before = repr(pipe.unet)
    for other, unet in unets.items():
        if other == width:
            continue
        with pytest.raises(AdapterMismatchError, match=f"the U-Net is {family} "):
            pipe.load_emoji_adapter(tiny.adapter(unet))
        assert repr(pipe.unet) == before
        assert pipe.emoji_adapter is None
    with pytest.raises(AdapterMismatchError, match=f"the U-Net is {family} "):
        type(pipe)(**pipe.components | {"emoji_adapter": tiny.adapter(tiny.unet())})
    pipe.load_emoji_adapter(tiny.adapter(unets[width]))


def test_classes_families_and_tasks_that_do_not_fit_are_refused(tmp_path):
    sd, xl_inpaint = families.kind_of("SD", "text-to-image"), families.kind_of("SDXL", "inpaint")
    stock = families.pipeline(sd.stock, "SD", sd.task)
    with pytest.raises(InputError, match="Use EmojiDiffSDInpaintPipeline"):
        xl_inpaint.ours.from_pipe(stock)
    with pytest.raises(InputError, match="Use EmojiDiffSDControlNetPipeline"):
        sd.ours.from_pipe(stock, task="controlnet")
    with pytest.raises(InputError, match="needs a ControlNet"):
        EmojiDiffPipeline.from_pipe(stock, task="controlnet")
    families.pipeline(xl_inpaint.stock, "SDXL", "inpaint").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="Use EmojiDiffSDXLPipeline"):
        sd.ours.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="needs a ControlNet"):
        EmojiDiffPipeline.from_pretrained(tmp_path, task="controlnet")
    assert type(EmojiDiffPipeline.from_pretrained(tmp_path)).__name__ == "EmojiDiffSDXLPipeline"
    assert type(xl_inpaint.ours.from_pretrained(tmp_path)) is xl_inpaint.ours


def test_a_class_of_the_users_own_is_told_by_its_bases(tmp_path):
    sd = families.kind_of("SD", "image-to-image")

    class Mine(sd.stock):
        pass

    class MineToo(sd.ours):
        pass

    stock = families.pipeline(Mine, "SD", sd.task)
    assert type(EmojiDiffPipeline.from_pipe(stock, task=sd.task)) is sd.ours
    made = MineToo.from_pipe(stock)
    made.load_emoji_adapter(tiny.adapter(made.unet))
    made.save_pretrained(tmp_path, safe_serialization=False)  # the adapter is never a pickle
    assert type(MineToo.from_pretrained(tmp_path)) is MineToo
    assert sd.ours.from_pretrained(tmp_path).emoji_adapter is not None
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(InputError, match="no emoji pipeline for FluxPipeline"):
        MineToo.from_pretrained(tmp_path)


def test_v_prediction_as_in_sd2():
    """SD2 at 768 predicts v and has linear projections in its attention blocks."""
    parts = {
        "unet": tiny.unet(use_linear_projection=True, attention_head_dim=(4, 8)),
        "scheduler": DDIMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False),
    }
    kind = families.kind_of("SD", "text-to-image")
    plain = draw(families.pipeline(kind.stock, "SD", kind.task, **parts), kind.task)
    pipe = families.pipeline(kind.ours, "SD", kind.task, **parts)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert not torch.equal(draw(pipe, kind.task, **both()), plain)
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(pipe, kind.task, **both()), plain)


@pytest.mark.parametrize(
    "switch", ["enable_attention_slicing", "fuse_qkv_projections", "unet.set_default_attn_processor"]
)
@pytest.mark.parametrize("kind", [families.kind_of("SDXL", "controlnet")])
def test_slicing_and_fusing_after_loading(kind, pipe, switch):
    wanted = draw(pipe, kind.task, **both())
    operator.attrgetter(switch)(pipe)()
    torch.testing.assert_close(draw(pipe, kind.task, **both()), wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", [families.kind_of("SDXL", "text-to-image")])
def test_guidance_given_up_in_mid_call(kind, stock, pipe):
    cut = {"callback_on_step_end": SDXLCFGCutoffCallback(cutoff_step_ratio=0.5), "num_inference_steps": 4}
    plain = draw(stock, kind.task, **cut)
    assert not torch.equal(draw(pipe, kind.task, **cut, **both()), plain)
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(pipe, kind.task, **cut, **both()), plain)
