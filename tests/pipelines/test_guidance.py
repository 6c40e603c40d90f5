"""Where nobody names a guidance: 1.4 belongs to the embedded checkpoint, all others have diffusers' own."""

import pytest

import tiny_families as families
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.pipelines.guidance import guidance_of


@pytest.mark.parametrize(("family", "stock"), [("SD", 7.5), ("SDXL", 5.0)])
def test_only_the_embedded_checkpoint_has_the_guidance_that_was_chosen_for_it(family, stock):
    kind = families.kind_of(family, "text-to-image")
    pipe = families.pipeline(kind.ours, family, kind.task)
    assert guidance_of(pipe, "micro") == 1.4
    assert guidance_of(pipe, "/data/checkpoint") == stock


def test_a_round_of_idi_records_the_guidance_of_the_micro_world_alone():
    assert IdiConfig().guidance == 1.4
    assert IdiConfig(guidance=2.0).guidance == 2.0
    assert IdiConfig(checkpoint="/data/checkpoint").guidance is None
