"""The LoRA of an adapter beside the user's, whatever is done with these."""

import copy

import pytest
import torch
from accelerate import cpu_offload, dispatch_model

import tiny
import tiny_families as families
import tiny_lora
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models import attention
from emoji_adapter.models.identity_lora import LORA_NAME, lora_acting

KIND = families.kind_of("SD", "text-to-image")
FACES = families.both()
FEW_BLOCKS = {
    "down_block_types": ("DownBlock2D",) * 2,
    "up_block_types": ("UpBlock2D",) * 2,
    "transformer_layers_per_block": 2,
}


def draw(pipe, **arguments):
    return families.draw(pipe, KIND.task, **arguments)


def pipeline(*, adapter=True, mine=True, **unet):
    """Our pipeline with an adapter that has a LoRA, beside the user's LoRA "mine"."""
    pipe = families.pipeline(KIND.ours, KIND.family, KIND.task, unet=tiny.unet(**unet))
    if mine:
        tiny_lora.add_mine(pipe)
    if adapter:
        pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet))
    return pipe


def changed(change, first):
    """The same after a change of the user's LoRA, made before our adapter is loaded or afterwards."""
    pipe = pipeline(adapter=not first)
    getattr(pipe, change)()
    if first:
        pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet))
    return pipe


def close(got, wanted):
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def wanted():
    """Pictures: of all; with faces but without "mine"; with "mine" but without faces; of neither."""
    pipe = pipeline()
    pictures = {"all": draw(pipe, **FACES), "mine": draw(pipe)}
    pipe = pipeline(mine=False)
    pictures |= {"faces": draw(pipe, **FACES), "plain": draw(pipe)}
    plainest = pipeline(adapter=False)
    plainest.load_emoji_adapter(tiny.adapter(plainest.unet))
    pictures["without our LoRA"] = draw(plainest, **FACES)
    named = list(pictures.items())
    for place, (_, picture) in enumerate(named):
        assert all((picture - other).abs().max() > 1e-3 for _, other in named[:place])
    return pictures


@pytest.mark.filterwarnings("ignore:Already unmerged")  # peft's, of layers that have ours alone
@pytest.mark.parametrize("first", [True, False], ids=["before loading", "after loading"])
def test_it_acts_while_the_users_is_fused_and_after_it_is_unfused(wanted, first):
    pipe = changed("fuse_lora", first)
    fused = [layer for layer in pipe.unet.modules() if getattr(layer, "merged", False)]
    assert {name for layer in fused for name in layer.merged_adapters} == {"mine"}
    for _ in range(2):
        close(draw(pipe, **FACES), wanted["all"])
        close(draw(pipe), wanted["mine"])
        assert fused == [layer for layer in pipe.unet.modules() if getattr(layer, "merged", False)]
    assert pipe.get_active_adapters() == ["mine"]
    pipe.unfuse_lora()
    close(draw(pipe, **FACES), wanted["all"])
    pipe.set_adapters(["mine"], [0.0])
    close(draw(pipe, **FACES), wanted["faces"])


def test_taking_it_out_leaves_the_users_fused(wanted):
    pipe = pipeline()
    pipe.fuse_lora()
    pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet, 9))
    pipe.unload_emoji_adapter()
    close(draw(pipe), wanted["mine"])
    pipe.unload_lora_weights()
    assert not hasattr(pipe.unet, "peft_config")
    close(draw(pipe), wanted["mine"])


def test_it_comes_back_when_the_users_is_fused_for_good(wanted):
    """`unload_lora_weights` takes all LoRAs out."""
    pipe = pipeline()
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    close(draw(pipe, **FACES), wanted["all"])
    close(draw(pipe), wanted["mine"])


@pytest.mark.parametrize("first", [True, False], ids=["before loading", "after loading"])
def test_it_acts_while_the_users_is_disabled(wanted, first):
    pipe = changed("disable_lora", first)
    for _ in range(2):
        close(draw(pipe, **FACES), wanted["faces"])
        close(draw(pipe), wanted["plain"])
    pipe.enable_lora()
    close(draw(pipe, **FACES), wanted["all"])
    close(draw(pipe), wanted["mine"])


def test_fusing_ours_is_refused_until_it_is_undone(wanted):
    pipe = pipeline(mine=False)
    pipe.set_adapters([LORA_NAME])
    close(draw(pipe, **FACES), wanted["faces"])
    pipe.fuse_lora(adapter_names=[LORA_NAME])
    with pytest.raises(AdapterMismatchError, match=r"itself fused.*unfuse_lora\(\)"):
        draw(pipe, **FACES)
    pipe.unfuse_lora()
    close(draw(pipe, **FACES), wanted["faces"])
    pipe.fuse_lora(adapter_names=[LORA_NAME])
    pipe.unload_emoji_adapter()
    close(draw(pipe), wanted["plain"])


@pytest.mark.parametrize("change", ["disable_lora", "fuse_lora", "set_adapters"])
def test_a_change_in_mid_call_is_told(wanted, change):
    pipe = pipeline()
    arguments = {"set_adapters": ["mine"]}

    def at_the_end_of_a_step(pipe, step, *_):
        if step == 0:
            getattr(pipe, change)(*arguments.get(change, ()))
        return {}

    with pytest.raises(AdapterMismatchError, match="Change them between calls"):
        draw(pipe, callback_on_step_end=at_the_end_of_a_step, **FACES)
    pipe.enable_lora()
    if change == "fuse_lora":
        with pytest.raises(AdapterMismatchError, match="itself fused"):
            draw(pipe, **FACES)
        pipe.unfuse_lora()
    close(draw(pipe, **FACES), wanted["all"])
    close(draw(pipe), wanted["mine"])


def test_what_learns_and_what_acts_is_as_before_after_acting():
    pipe = pipeline()
    pipe.fuse_lora()
    pipe.disable_lora()

    def state():
        layers = [module for module in pipe.unet.modules() if hasattr(module, "merged_adapters")]
        says = [(list(x.active_adapters), list(x.merged_adapters), x.disable_adapters) for x in layers]
        return says, [p.requires_grad for p in pipe.unet.parameters()]

    before = state()
    with pytest.raises(KeyError), lora_acting(pipe.unet):
        raise KeyError
    assert state() == before


def test_a_copied_unet_does_not_pass_for_the_one_with_the_weights():
    pipe = pipeline(mine=False)
    adapter = pipe.emoji_adapter
    assert adapter.is_attached(pipe.unet)
    assert not adapter.is_attached(copy.deepcopy(pipe.unet))
    cpu_offload(pipe.unet, torch.device("cpu"))
    assert adapter.is_attached(pipe.unet)
    assert not adapter.is_attached(copy.deepcopy(pipe.unet))
    with torch.no_grad():
        adapter.identity_lora.get_parameter(f"{adapter.identity_lora.targets()[0]}.up").add_(1)
    assert not adapter.is_attached(pipe.unet)


def test_it_acts_in_inference_mode(wanted):
    with torch.inference_mode():
        pipe = pipeline()
        for _ in range(2):
            close(draw(pipe, **FACES), wanted["all"])
            close(draw(pipe), wanted["mine"])


@pytest.mark.parametrize("mapped", [True, False], ids=["device map", "offloaded"])
def test_weights_behind_hooks_are_refused_and_nothing_has_changed(mapped):
    """A pipeline takes off the hooks of sequential offloading; of a device map it does not."""
    pipe = pipeline(adapter=False, mine=False)
    unet, adapter = pipe.unet, tiny_lora.adapter(pipe.unet)
    if mapped:
        dispatch_model(unet, dict.fromkeys(dict(unet.named_children()), "cpu"), force_hooks=True)
    else:
        cpu_offload(unet, torch.device("cpu"))
    before, plain = dict(unet.attn_processors), draw(pipe)
    with pytest.raises(AdapterMismatchError, match=r"hook of accelerate.*replace a device map"):
        pipe.load_emoji_adapter(adapter) if mapped else adapter.attach(unet)
    assert unet.attn_processors == before
    assert not hasattr(unet, "peft_config")
    assert torch.equal(draw(pipe), plain)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["whole U-Net", "repeated blocks"])
def test_one_more_graph_for_a_scale_of_zero(monkeypatch, whole):
    """A LoRA that is switched off is another graph, made once; another scale or person is not."""
    tiny.without_shape_checks(monkeypatch, attention)
    graphs, count = tiny.counted_graphs()
    pipe = pipeline(mine=False, **FEW_BLOCKS)
    faces = {**FACES, "num_inference_steps": 1}
    wanted = draw(pipe, **faces)
    compiled = pipe.unet.compile if whole else pipe.unet.compile_repeated_blocks
    compiled(fullgraph=True, backend=count)
    each = 1 if whole else len(pipe.emoji_adapter.layers)
    with torch._dynamo.config.patch(recompile_limit=8 if whole else 1):
        close(draw(pipe, **faces), wanted)
        assert len(graphs) == each
        pipe.set_emoji_adapter_scale(identity=0.3)
        draw(pipe, **faces | {"identity_embeds": tiny.identities(1, 7)})
        assert len(graphs) == each
        for _ in range(2):
            pipe.set_emoji_adapter_scale(identity=0.0)
            draw(pipe, **faces)
            assert len(graphs) == 2 * each
            pipe.set_emoji_adapter_scale(identity=1.0)
            close(draw(pipe, **faces), wanted)
        for _ in range(2):
            draw(pipe, num_inference_steps=1)
            assert len(graphs) == 3 * each
        close(draw(pipe, **faces), wanted)
        assert len(graphs) == 3 * each
