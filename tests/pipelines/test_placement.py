"""Where the networks lie: offloading of every kind, with the adapter among what is moved."""

from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

import tiny
import tiny_families as families
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.pipelines.conditions import Conditions
from emoji_adapter.pipelines.placement import at_work
from tiny_families import both, draw

WAYS = {
    "enable_model_cpu_offload": {"device": "cpu"},
    "enable_group_offload": {"onload_device": torch.device("cpu"), "offload_type": "leaf_level"},
    "enable_sequential_cpu_offload": {"device": "cpu"},
}
KINDS = [families.kind_of("SD", "image-to-image"), families.kind_of("SDXL", "text-to-image")]


def controlled(kind):
    pipe = families.pipeline(kind.ours, kind.family, kind.task)
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    return pipe


@pytest.mark.parametrize("way", list(WAYS)[:2])
@pytest.mark.parametrize("kind", KINDS, ids=["SD", "SDXL"])
def test_offloading_changes_no_picture(kind, way):
    """The hooks run on the CPU too."""
    pipe = controlled(kind)
    wanted, plain = draw(pipe, kind.task, **both()), draw(pipe, kind.task)
    names = pipe.components.keys()
    getattr(pipe, way)(**WAYS[way])
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
    """On the CPU stock pipelines cannot draw so, but the hooks take weights away, to the device "meta"."""
    pipe = controlled(KINDS[0])
    given = Conditions(**both(), identity_features=None, prompts=1, images_per_prompt=1)
    wanted = pipe._keys_and_values(given)
    pipe.enable_sequential_cpu_offload(device="cpu")
    assert pipe.unet.device.type == "meta"
    made = pipe._keys_and_values(given)
    for layer, parts in wanted.items():
        assert all(torch.equal(a, b) for a, b in zip(made[layer][:4], parts[:4], strict=True))


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


@pytest.mark.gpu
@pytest.mark.parametrize("way", WAYS)
def test_the_adapter_and_the_encoder_leave_the_accelerator(way):
    kind = KINDS[1]
    pipe = controlled(kind)
    wanted = draw(pipe, kind.task, **both())
    getattr(pipe, way)(**{key: "cuda" if key == "device" else x for key, x in WAYS[way].items()}
                       | ({"onload_device": torch.device("cuda")} if "group" in way else {}))  # fmt: skip
    torch.testing.assert_close(draw(pipe, kind.task, **both()), wanted, atol=1e-2, rtol=1e-2)
    assert pipe.emoji_adapter.device.type == "cpu"
    encoder = ExpressionEncoder.from_pretrained("micro")
    with at_work(encoder, torch.device("cuda"), leave=True):
        assert encoder.device.type == "cuda"
    assert encoder.device.type == "cpu"
