"""How far a base follows its captions: a planted base that hears all, and one that is deaf."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from emoji_adapter.metrics.records import Readings
from emoji_adapter.microworld.following import correlation, descriptions, drawn_expressions, explained_share
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.denoiser import make_scheduler

SIZE, COUNT = 32, 6


def test_descriptions_tell_takes_of_a_sitting_apart_and_nothing_else():
    first, second = descriptions(pictures("test", 2, 0).as_takes(2))
    assert first != second
    assert first.split(", ")[:2] == second.split(", ")[:2]
    assert first.split(", ")[-1] == second.split(", ")[-1]


def test_correlation_is_of_what_varies():
    true = np.random.default_rng(0).uniform(size=(50, 3))
    true[:, 2] = 0.5
    read = np.stack([true[:, 0], -true[:, 1], np.zeros(50)], axis=1)
    assert correlation(read[:, :1], true[:, :1]) == pytest.approx(1)
    assert correlation(read, true) == pytest.approx(0)


class Base(StableDiffusionPipeline):
    """Latents are the pictures themselves; the U-Net knows `heard` of each."""

    device = torch.device("cpu")  # pyright: ignore
    scheduler = make_scheduler()

    def __init__(self, heard: float):
        self.heard, self.pictures = heard, []
        mode = SimpleNamespace(mode=lambda: self.pictures[-1])
        coded = SimpleNamespace(latent_dist=mode)
        self.vae = SimpleNamespace(
            device="cpu",
            dtype=torch.float32,
            config=SimpleNamespace(scaling_factor=1.0),
            encode=self._encode(coded),
        )

    def _encode(self, coded):
        def encode(pixels):
            self.pictures.append(pixels)
            return coded

        return encode

    def encode_prompt(self, texts, device, count, do_classifier_free_guidance):  # pyright: ignore
        return (self.pictures[-1],)

    def unet(self, x_t, t, encoder_hidden_states):
        abar = self.scheduler.alphas_cumprod[t]
        return SimpleNamespace(sample=-self.heard * encoder_hidden_states / (1 - abar).sqrt())


@pytest.mark.parametrize(("heard", "share"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.75)])
def test_share_of_a_base_that_hears(heard, share):
    found = explained_share(Base(heard), size=SIZE, pairs=COUNT)
    assert found == dict.fromkeys(("850", "700", "550"), pytest.approx(share, abs=1e-3))


class Reader(MicroJudges):
    """Reads the truth in pictures, and the opposite where there is none; half of those hold no face."""

    def __init__(self):
        self.device = torch.device("cpu")

    def read(self, images, *, count_faces=True):
        true = pictures("test", COUNT, 20).expression.numpy()
        ours = images[0].width == SIZE
        faces = np.ones(COUNT) if ours else np.arange(COUNT) % 2
        return Readings(np.zeros((COUNT, 3)), faces, true if ours else 1 - true)


def test_pictures_are_drawn_from_descriptions_and_read():
    asked = []

    class Draws(Base):
        def __call__(self, texts, *, num_inference_steps, guidance_scale, generator):  # pyright: ignore
            seeds = [noise.initial_seed() for noise in generator]
            asked.extend(zip(texts, [guidance_scale] * len(texts), seeds, strict=True))
            return SimpleNamespace(images=[Image.new("RGB", (8, 8))] * len(texts))

    found = drawn_expressions(Draws(1.0), Reader(), size=SIZE, count=COUNT, guidance=(1.5, 3.0))
    assert found["truth"] == {"correlation": 1.0, "exp": 0.0, "found": 1.0, "n": COUNT}
    assert found["1.5"] == found["3.0"]
    assert found["3.0"]["correlation"] == -1.0
    assert found["3.0"]["found"] == 0.5
    texts = descriptions(pictures("test", COUNT, 20))
    plain = [text.split(", ")[0] for text in texts]
    assert [text.split(", ")[0] for text, scale, _ in asked if scale == 1.5] == plain
    assert [noise for _, scale, noise in asked if scale == 3.0] == list(range(COUNT))
