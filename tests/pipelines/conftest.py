"""Tiny pipelines, plain and with an adapter, that make pictures of 16x16 in two steps."""

import pytest
import torch
from diffusers import StableDiffusionPipeline

import tiny
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline


@pytest.fixture
def stock():
    """A stock pipeline."""
    pipe = StableDiffusionPipeline(**tiny.components())
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def bare(stock):
    """Our pipeline around copies of the same weights, without an adapter."""
    pipe = EmojiDiffSDPipeline(**tiny.components())
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(bare):
    """Our pipeline with an adapter that acts."""
    bare.load_emoji_adapter(tiny.adapter(bare.unet))
    return bare


@pytest.fixture
def draw():
    """Calls a pipeline with fixed noise: pictures `[n, 3, 16, 16]`."""

    def call(pipeline, prompt="a person", seed=0, **kwargs):
        kwargs = {"num_inference_steps": 2, "output_type": "pt"} | kwargs
        return pipeline(prompt, generator=torch.Generator().manual_seed(seed), **kwargs).images

    return call
