"""Where the networks lie: offloading of every kind, with the adapter among what is moved."""

from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor2_0

import tiny
import tiny_families as families
import tiny_lora
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models.identity_lora import LORA_NAME
from emoji_adapter.pipelines.conditions import Conditions
from emoji_adapter.pipelines.placement import at_work
from tiny_families import both, draw

WAYS = {
    "enable_model_cpu_offload": {"device": "cpu"},
    "enable_group_offload": {"onload_device": torch.device("cpu"), "offload_type": "leaf_level"},
    "enable_sequential_cpu_offload": {"device": "cpu"},
}
KINDS = [families.kind_of("SD", "image-to-image"), families.kind_of("SDXL", "text-to-image")]


def controlled(kind, adapter=tiny.adapter):
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    pipe.load_emoji_adapter(adapter(pipe.unet))
    return pipe


def offload(pipe, way, **arguments):
    """Offloads to the CPU; in sequence, its hooks call it "cpu:0", and accelerate does not know it again."""
    getattr(pipe, way)(**arguments)
    for part in pipe.components.values():
        for module in part.modules() if isinstance(part, torch.nn.Module) else ():
            if getattr(module, "_hf_hook", None) is not None and "sequential" in way:
                module._hf_hook.execution_device = torch.device("cpu")


def lora_without_hooks(unet):
    """Parts of an adapter's LoRA that would stay on the CPU: no hook of their own, and not fetched by one."""
    return [
        name
        for name, part in unet.named_modules()
        if name.endswith(f".{LORA_NAME}") and any(p.device.type == "cpu" for p in part.parameters())
        and not hasattr(part, "_diffusers_hook")
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=["SD", "SDXL"])
def test_offloading_changes_no_picture(kind, way):
    """The hooks run on the CPU too."""
    pipe = controlled(kind)
    wanted, plain = draw(pipe, kind.task, **both()), draw(pipe, kind.task)
    names = pipe.components.keys()
    offload(pipe, way, **WAYS[way])
    for _ in range(2):
        assert torch.equal(draw(pipe, kind.task, **both()), wanted)
        assert not hasattr(pipe.emoji_adapter, "_hf_hook")
        assert pipe.emoji_adapter.device == torch.device("cpu")
    assert torch.equal(draw(pipe, kind.task), plain)
    assert pipe.components.keys() == names
    assert pipe.config["emoji_adapter"][1] == "EmojiAdapter"


@pytest.mark.parametrize("way", [None, *list(WAYS)[:2]])
@pytest.mark.parametrize("kind", KINDS, ids=["SD", "SDXL"])
def test_faces_make_no_pipeline_look_for_its_device_more_often(kind, way, monkeypatch):
    """Stock takes milliseconds for that; what it finds is not kept beyond the call."""
    pipe, asked = controlled(kind), []
    look: Any = DiffusionPipeline._execution_device.fget
    counted = property(lambda pipe: asked.append(pipe) or look(pipe))
    monkeypatch.setattr(DiffusionPipeline, "_execution_device", counted)
    if way is not None:
        getattr(pipe, way)(**WAYS[way])
    draw(pipe, kind.task)
    plain = len(asked)
    draw(pipe, kind.task, **both())
    assert 1 <= len(asked) - plain <= plain
    before = len(asked)
    assert pipe._execution_device.type == "cpu"
    assert len(asked) == before + 1


def test_offloading_in_sequence_leaves_the_adapter_its_weights():
    """The hooks take those of the U-Net away, to the device "meta"."""
    pipe = controlled(KINDS[0])
    given = Conditions(**both(), identity_features=None, prompts=1, images_per_prompt=1)
    wanted = pipe._keys_and_values(given)
    pipe.enable_sequential_cpu_offload(device="cpu")
    assert pipe.unet.device.type == "meta"
    made = pipe._keys_and_values(given)
    for layer, parts in wanted.items():
        assert all(torch.equal(a, b) for a, b in zip(made[layer][:4], parts[:4], strict=True))


LORA_WAYS = {
    "model": ("enable_model_cpu_offload", {"device": "cpu"}),
    "leaves": ("enable_group_offload", WAYS["enable_group_offload"]),
    "blocks": ("enable_group_offload", {**WAYS["enable_group_offload"], "offload_type": "block_level",
                                        "num_blocks_per_group": 1}),
    "sequence": ("enable_sequential_cpu_offload", {"device": "cpu"}),
}  # fmt: skip
ORDERS = pytest.mark.parametrize("first", [True, False], ids=["loaded before", "loaded after"])
EACH_HOOKED = ("leaves", "sequence")


@pytest.fixture(scope="module")
def pictures():
    """SDXL's with and without faces, by an adapter with a LoRA that is not offloaded."""
    kind = KINDS[1]
    pipe = controlled(kind, tiny_lora.adapter)
    wanted, plain = draw(pipe, kind.task, **both()), draw(pipe, kind.task)
    assert (wanted - draw(controlled(kind), kind.task, **both())).abs().max() > 1e-3
    return wanted, plain


@ORDERS
@pytest.mark.parametrize("name", LORA_WAYS)
def test_offloading_changes_no_picture_of_an_adapter_with_a_lora(pictures, name, first):
    kind, (way, arguments), (wanted, plain) = KINDS[1], LORA_WAYS[name], pictures
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    if first:
        pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet))
    offload(pipe, way, **arguments)
    if not first:
        pipe.load_emoji_adapter(tiny_lora.adapter(families.xl_unet()))
    for change in (None, pipe.unload_lora_weights, lambda: pipe.unet.set_attn_processor(AttnProcessor2_0())):
        if change is not None:
            change()
        assert torch.equal(draw(pipe, kind.task, **both()), wanted)
        assert torch.equal(draw(pipe, kind.task), plain)
        assert pipe.emoji_adapter.device.type == "cpu"
        assert name not in EACH_HOOKED or lora_without_hooks(pipe.unet) == []
    pipe.load_emoji_adapter(tiny_lora.adapter(families.xl_unet(), 9))
    other = draw(pipe, kind.task, **both())
    assert (other - wanted).abs().max() > 1e-3
    assert torch.equal(draw(pipe, kind.task, **both()), other)
    pipe.unload_emoji_adapter()
    assert torch.equal(draw(pipe, kind.task), plain)
    assert not any(LORA_NAME in key for key in pipe.unet.state_dict())
    assert way != "enable_sequential_cpu_offload" or {p.device.type for p in pipe.unet.parameters()} == {
        "meta"
    }


def test_in_sequence_a_lora_follows_its_adapter():
    """Its weights in the U-Net are others then: cast or changed in the adapter, they are put there anew."""
    kind = KINDS[0]
    wanted, pipe = (controlled(kind, tiny_lora.adapter).to(torch.bfloat16) for _ in range(2))
    changed = torch.nn.Module.to(tiny_lora.adapter(pipe.unet, 9), torch.bfloat16).state_dict()
    pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet))
    assert pipe.emoji_adapter.dtype == torch.float32
    offload(pipe, "enable_sequential_cpu_offload", device="cpu")
    assert torch.equal(draw(pipe, kind.task, **both()), draw(wanted, kind.task, **both()))
    for made in (pipe, wanted):
        made.emoji_adapter.load_state_dict(changed)
    assert torch.equal(draw(pipe, kind.task, **both()), draw(wanted, kind.task, **both()))
    assert {p.device.type for p in pipe.unet.parameters()} == {"meta"}


def test_a_lora_goes_from_one_way_of_offloading_to_another():
    kind = KINDS[0]
    pipe = controlled(kind, tiny_lora.adapter)
    wanted = draw(pipe, kind.task, **both())
    for way in ("enable_sequential_cpu_offload", "enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        offload(pipe, way, device="cpu")
        assert torch.equal(draw(pipe, kind.task, **both()), wanted)
    pipe.remove_all_hooks()
    assert torch.equal(draw(pipe, kind.task, **both()), wanted)
    shared = {id(p) for p in pipe.emoji_adapter.identity_lora.parameters()}
    assert shared == {id(p) for n, p in pipe.unet.named_parameters() if LORA_NAME in n}


def test_a_lora_on_disk_is_refused_before_anything_is_done(tmp_path):
    """diffusers would keep a file that is there: the LoRA of another adapter."""
    kind, disk = KINDS[0], {**WAYS["enable_group_offload"], "offload_to_disk_path": str(tmp_path / "groups")}
    pipe = controlled(kind, tiny_lora.adapter)
    wanted = draw(pipe, kind.task, **both())
    with pytest.raises(InputError, match=r"offload_to_disk_path='.*groups'.*Leave it out"):
        pipe.enable_group_offload(**disk)
    assert not (tmp_path / "groups").exists()
    assert torch.equal(draw(pipe, kind.task, **both()), wanted)
    pipe.unet.enable_group_offload(**disk)
    for action in (lambda: draw(pipe, kind.task, **both()), pipe.unload_emoji_adapter):
        with pytest.raises(AdapterMismatchError, match="offloaded to files"):
            action()
    late = controlled(kind)
    wanted = draw(late, kind.task, **both())
    late.enable_group_offload(**disk)
    with pytest.raises(AdapterMismatchError, match="Leave offload_to_disk_path out"):
        late.load_emoji_adapter(tiny_lora.adapter(late.unet))
    assert torch.equal(draw(late, kind.task, **both()), wanted)


class Traveller:
    """Something with a device, which writes down where it was sent."""

    def __init__(self, device):
        self.device, self.seen = torch.device(device), []

    def to(self, device):
        self.device = device
        self.seen.append(device.type)


def test_a_network_goes_home_after_work_even_after_an_error():
    network, accelerator = Traveller("cpu"), torch.device("cuda")
    with pytest.raises(KeyError), at_work(network, accelerator, leave=True):
        raise KeyError
    assert network.seen == ["cuda", "cpu"]
    with at_work(network, torch.device("cpu"), leave=True):
        pass
    assert network.seen == ["cuda", "cpu"]
    with at_work(network, accelerator, leave=False):
        pass
    assert network.seen == ["cuda", "cpu", "cuda"]


def test_from_pipe_takes_the_number_format_of_the_unet_not_that_of_a_fresh_adapter():
    kind = KINDS[1]
    pipe = families.pipeline(kind.ours, kind.family, kind.task).to(torch.bfloat16)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    assert type(pipe).from_pipe(pipe).unet.dtype == torch.bfloat16


def on_cuda(arguments):
    """The same way of offloading, from the CPU to the accelerator."""
    return {key: torch.device("cuda") if "device" in key else value for key, value in arguments.items()}


@pytest.mark.gpu
@ORDERS
@pytest.mark.parametrize("name", [*LORA_WAYS, "streams"])
def test_a_lora_is_where_it_acts_on_the_accelerator(pictures, name, first):
    kind, (wanted, plain) = KINDS[1], pictures
    way, arguments = LORA_WAYS.get(name, LORA_WAYS["leaves"])
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    if first:
        pipe.load_emoji_adapter(tiny_lora.adapter(pipe.unet))
    getattr(pipe, way)(**on_cuda(arguments), **({"use_stream": True} if name == "streams" else {}))
    if not first:
        pipe.load_emoji_adapter(tiny_lora.adapter(families.xl_unet()))
    for change in (None, pipe.unload_lora_weights):
        if change is not None:
            change()
        for faces, picture in 2 * [({}, plain), (both(), wanted)]:
            torch.testing.assert_close(draw(pipe, kind.task, **faces).cpu(), picture, atol=1e-2, rtol=1e-2)
        assert pipe.emoji_adapter.device.type == "cpu"
    pipe.unload_emoji_adapter()
    torch.testing.assert_close(draw(pipe, kind.task).cpu(), plain, atol=1e-2, rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("way", WAYS)
def test_the_adapter_and_the_encoder_leave_the_accelerator(way):
    kind = KINDS[1]
    pipe = controlled(kind)
    wanted = draw(pipe, kind.task, **both())
    getattr(pipe, way)(**on_cuda(WAYS[way]))
    torch.testing.assert_close(draw(pipe, kind.task, **both()).cpu(), wanted, atol=1e-2, rtol=1e-2)
    assert pipe.emoji_adapter.device.type == "cpu"
    encoder = ExpressionEncoder.from_pretrained("micro")
    with at_work(encoder, torch.device("cuda"), leave=True):
        assert encoder.device.type == "cuda"
    assert encoder.device.type == "cpu"
