"""Other things that a pipeline can do, beside an adapter: each works, or is refused in words."""

import types

import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, StableDiffusionPipeline
from diffusers.models import attention_processor
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict

import tiny
import tiny_families as families
import tiny_ip_adapters as files
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models import attention
from emoji_adapter.models.attention import DualAttnProcessor
from emoji_adapter.models.layers import cross_attention_layers
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline

FEW_BLOCKS = {
    "down_block_types": ("DownBlock2D",) * 2,
    "up_block_types": ("UpBlock2D",) * 2,
    "transformer_layers_per_block": 2,
}
"""A U-Net in which two equal blocks listen."""

FACES = {"identity_embeds": tiny.identities(1), "expression_embeds": tiny.expressions(1)}


def silence(pipe):
    pipe.set_emoji_adapter_scale(identity=0.0, expression=0.0)


def ours(adapter=True, **parts):
    made = EmojiDiffSDPipeline(**(tiny.components() | parts))
    made.set_progress_bar_config(disable=True)
    if adapter:
        made.load_emoji_adapter(tiny.adapter(made.unet))
    return made


def plain(**parts):
    made = StableDiffusionPipeline(**(tiny.components() | parts))
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA in diffusers' file format, on all projections of all attention layers."""
    torch.manual_seed(0)
    unet = tiny.unet()
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=2, target_modules=targets, init_lora_weights=False), "mine")
    weights = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet, adapter_name="mine"))
    folder = tmp_path_factory.mktemp("lora")
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    return folder


def test_a_lora_loaded_before_or_after(lora, draw):
    alone = draw(ours(), **FACES)
    before, after, stock = ours(adapter=False), ours(), plain()
    before.load_lora_weights(lora, adapter_name="mine")
    before.load_emoji_adapter(tiny.adapter(tiny.unet()))
    after.load_lora_weights(lora, adapter_name="mine")
    stock.load_lora_weights(lora, adapter_name="mine")
    wanted = draw(before, **FACES)
    assert torch.equal(draw(after, **FACES), wanted)
    assert all((wanted - other).abs().max() > 1e-3 for other in (alone, draw(stock)))
    silence(after)
    assert torch.equal(draw(after, **FACES), draw(stock))
    before.set_adapters(["mine"], [0.0])
    torch.testing.assert_close(draw(before, **FACES), alone, atol=1e-5, rtol=1e-4)
    before.set_adapters(["mine"], [1.0])
    before.fuse_lora()
    torch.testing.assert_close(draw(before, **FACES), wanted, atol=1e-4, rtol=1e-3)
    before.unfuse_lora()
    before.unload_lora_weights()
    torch.testing.assert_close(draw(before, **FACES), alone, atol=1e-5, rtol=1e-4)
    after.unload_emoji_adapter()
    assert torch.equal(draw(after), draw(stock))


def test_textual_inversion(draw):
    embedding = torch.randn(2, tiny.CROSS_DIM, generator=torch.Generator().manual_seed(0))
    ours_, stock = ours(), plain()
    without = draw(ours_, "a <thing>", **FACES)
    for pipe in (ours_, stock):
        pipe.load_textual_inversion({"<thing>": embedding})
    found = draw(ours_, "a <thing>", **FACES)
    assert (found - without).abs().max() > 1e-4
    assert (found - draw(stock, "a <thing>")).abs().max() > 1e-3
    silence(ours_)
    assert torch.equal(draw(ours_, "a <thing>", **FACES), draw(stock, "a <thing>"))


def exact_attention(query, key, value, attn_bias=None, op=None, scale=None):
    """What `xformers.ops.memory_efficient_attention` computes, for `[rows, positions, width]`."""
    return torch.softmax(query @ key.transpose(1, 2) * scale, -1) @ value


@pytest.mark.parametrize("first", [True, False], ids=["before loading", "after loading"])
def test_xformers(draw, monkeypatch, first):
    """Its processors, with a stand-in for its kernel: xformers itself needs an accelerator."""
    kernel = types.SimpleNamespace(ops=types.SimpleNamespace(memory_efficient_attention=exact_attention))
    monkeypatch.setattr(attention_processor, "xformers", kernel)
    pipe = ours()
    wanted = draw(pipe, **FACES)
    if first:
        pipe.unload_emoji_adapter()
    pipe.unet.set_attn_processor(attention_processor.XFormersAttnProcessor())
    if first:
        pipe.load_emoji_adapter(tiny.adapter(tiny.unet()))
    torch.testing.assert_close(draw(pipe, **FACES), wanted, atol=1e-4, rtol=1e-3)
    kinds = {type(getattr(p, "inner", p)) for p in pipe.unet.attn_processors.values()}
    assert kinds == {attention_processor.XFormersAttnProcessor}


def test_blocks_compiled_one_by_one(draw, monkeypatch):
    """One graph a block, however low dynamo's limit is, none for another scale or face, one without faces."""
    tiny.without_shape_checks(monkeypatch, attention)
    graphs, count = tiny.counted_graphs()
    pipe = ours(unet=tiny.unet(**FEW_BLOCKS))
    wanted = draw(pipe, num_inference_steps=1, **FACES)
    pipe.unet.compile_repeated_blocks(fullgraph=True, backend=count)
    with torch._dynamo.config.patch(recompile_limit=1):
        found = draw(pipe, num_inference_steps=1, **FACES)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
        made = len(graphs)
        assert made == len(pipe.emoji_adapter.layers) == 2
        pipe.set_emoji_adapter_scale(identity=0.3, expression=0.0)
        other = {"identity_embeds": tiny.identities(1, 7), "expression_embeds": tiny.expressions(1, 8)}
        assert not torch.equal(draw(pipe, num_inference_steps=1, **other), found)
        assert len(graphs) == made
        for _ in range(2):
            draw(pipe, num_inference_steps=1)
            assert len(graphs) == 2 * made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # inductor's own
@pytest.mark.parametrize("whole", [True, False], ids=["whole U-Net", "repeated blocks"])
def test_inductor(draw, monkeypatch, whole):
    tiny.without_shape_checks(monkeypatch, attention)
    torch._dynamo.reset()
    pipe = ours(unet=tiny.unet(**FEW_BLOCKS))
    wanted = draw(pipe, num_inference_steps=1, **FACES)
    pipe.unet.compile(fullgraph=True) if whole else pipe.unet.compile_repeated_blocks(fullgraph=True)
    torch.testing.assert_close(draw(pipe, num_inference_steps=1, **FACES), wanted, atol=1e-3, rtol=1e-2)
    with torch._dynamo.config.patch(error_on_recompile=True):
        pipe.set_emoji_adapter_scale(identity=0.3, expression=0.0)
        draw(pipe, num_inference_steps=1, identity_embeds=tiny.identities(1, 7),
             expression_embeds=tiny.expressions(1, 8))  # fmt: skip


@pytest.mark.parametrize("first", [True, False], ids=["before loading", "after loading"])
def test_layerwise_casting(draw, first):
    casting = {"storage_dtype": torch.float8_e4m3fn, "compute_dtype": torch.float32}
    pipe, stock = ours(), plain()
    wanted = draw(pipe, **FACES)
    if first:
        pipe.unload_emoji_adapter()
    for made in (pipe, stock):
        made.unet.enable_layerwise_casting(**casting)
    if first:
        pipe.load_emoji_adapter(tiny.adapter(tiny.unet()))
    torch.testing.assert_close(draw(pipe, **FACES), wanted, atol=0.2, rtol=0.2)
    assert pipe.emoji_adapter.dtype == torch.float32
    assert (draw(pipe, **FACES) - draw(stock)).abs().max() > 1e-3
    silence(pipe)
    assert torch.equal(draw(pipe, **FACES), draw(stock))


def test_the_users_own_ip_adapter_before_is_refused_and_stays(draw):
    pipe, stock = ours(adapter=False), plain()
    own = files.groups(files.face_id(cross_attention_layers(pipe.unet), tiny.CROSS_DIM))
    person = {"ip_adapter_image_embeds": [torch.randn(2, 1, 512)]}
    for made in (pipe, stock):
        made.load_ip_adapter(own, subfolder="", weight_name="", image_encoder_folder=None)
    with pytest.raises(AdapterMismatchError, match=r"IPAdapterAttnProcessor2_0.*an IP-Adapter\?"):
        pipe.load_emoji_adapter(tiny.adapter(tiny.unet()))
    assert pipe.emoji_adapter is None
    assert torch.equal(draw(pipe, **person), draw(stock, **person))
    pipe.unload_ip_adapter()
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert torch.equal(draw(pipe, **FACES), draw(ours(), **FACES))


FEW_STEPS = {
    "LCM": (LCMScheduler, {"time_cond_proj_dim": 8}, {}, {"guidance_scale": 8.0, "num_inference_steps": 4}),
    "Lightning": (EulerDiscreteScheduler, {}, {"timestep_spacing": "trailing"}, {"guidance_scale": 0.0}),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers and numpy 2.4
@pytest.mark.parametrize("name", FEW_STEPS)
def test_models_of_few_steps_without_guidance(draw, name):
    scheduler, unet, settings, call = FEW_STEPS[name]
    pipe, stock = ours(unet=tiny.unet(**unet)), plain(unet=tiny.unet(**unet))
    for made in (pipe, stock):
        made.scheduler = scheduler.from_config(made.scheduler.config, **settings)
    assert (draw(pipe, **call, **FACES) - draw(stock, **call)).abs().max() > 1e-3
    silence(pipe)
    assert torch.equal(draw(pipe, **call, **FACES), draw(stock, **call))


def test_clip_skip_is_the_stock_one_or_refused(stock, pipe, draw):
    try:
        wanted = draw(stock, clip_skip=1)
    except AttributeError:  # transformers 5.6 and later, with diffusers 0.42
        for faces in (FACES, {}):
            with pytest.raises(InputError, match=r"clip_skip=1 does not work .* Leave clip_skip out"):
                draw(pipe, clip_skip=1, **faces)
        return
    silence(pipe)
    assert torch.equal(draw(pipe, clip_skip=1, **FACES), wanted)


def test_clip_skip_of_sdxl():
    kind = families.kind_of("SDXL", "text-to-image")
    stock = families.pipeline(kind.stock, kind.family, kind.task)
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    wanted = families.draw(stock, kind.task, clip_skip=1)
    assert not torch.equal(wanted, families.draw(stock, kind.task))
    silence(pipe)
    assert torch.equal(families.draw(pipe, kind.task, clip_skip=1, **FACES), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(stock, pipe, draw, dtype):
    wanted = draw(pipe, **FACES)
    found = draw(pipe.to(dtype), **FACES).float()
    torch.testing.assert_close(found, wanted, atol=0.1, rtol=0.1)
    silence(pipe)
    assert torch.equal(draw(pipe, **FACES), draw(stock.to(dtype)))


def test_swapping_one_adapter_for_another_leaves_no_trace(pipe, draw):
    first, text, keys = draw(pipe, **FACES), repr(pipe.unet), list(pipe.unet.state_dict())
    settings = {"seed": 9, "identity_layers": "up_blocks", "expression_layers": "mid_block"}
    others = [tiny.adapter(tiny.unet(), **settings, identity_lora_rank=rank) for rank in (None, 2)]
    with torch.no_grad():
        for name, parameter in others[1].named_parameters():
            if name.endswith(".up"):
                parameter.fill_(0.1)
    original = pipe.emoji_adapter
    for other in others:
        pipe.set_emoji_adapter_scale(identity=0.3, expression=0.1)
        pipe.load_emoji_adapter(other)
        fresh = ours(adapter=False)
        fresh.load_emoji_adapter(other)
        assert torch.equal(draw(pipe, **FACES), draw(fresh, **FACES))
        assert repr(pipe.unet) == repr(fresh.unet)
        assert list(pipe.unet.state_dict()) == list(fresh.unet.state_dict())
        listening = {n for n, p in pipe.unet.attn_processors.items() if isinstance(p, DualAttnProcessor)}
        assert listening == {f"{layer}.processor" for layer in other.layers}
    pipe.load_emoji_adapter(original)
    assert (repr(pipe.unet), list(pipe.unet.state_dict())) == (text, keys)
    assert torch.equal(draw(pipe, **FACES), first)
