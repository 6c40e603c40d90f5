"""Pictures that the base model learns from: latents, text states and the numbers behind them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from emoji_adapter.faces.weight import face_weight
from emoji_adapter.microworld.captions import captions
from emoji_adapter.microworld.fit import Workshop
from emoji_adapter.microworld.splits import stream
from emoji_adapter.microworld.stages.language import DESCRIBE, tokenize
from emoji_adapter.renderer.parameters import FaceParameters, sample

FACE_WEIGHT = 6.0
"""Eyes and mouth weigh more, since all that an expression changes lies there (our choice, see ADR 9)."""
PLAIN = 0.3
"""How often the captions of every other sitting describe what they show; those of the rest do as for the
towers. What captions leave unsaid, numbers may tell (`stages.numbers`)."""


class Shots(NamedTuple):
    """Some pictures of an album, pairs one after the other.

    Attributes:
        latents: (size, channels, 16, 16).
        weight: (size, 1, 16, 16), of the loss by place.
        text: (size, 77, width), text states.
        faces: what the pictures show, on the device.
    """

    latents: Tensor
    weight: Tensor
    text: Tensor
    faces: FaceParameters


class Album:
    """Latents of many pictures and the text states of their captions, ready on the device.

    Pictures come in pairs that differ in the expression alone, see `stages.denoiser.difference_loss`. Heads
    turn less than the renderer's bounds allow, most of them much less, as in albums of aligned portraits.

    Args:
        shop: where the finished autoencoder and text encoder lie.
        count: how many pictures, rounded up to pairs.
        look: changes each picture before it is encoded.
    """

    @torch.no_grad()
    def __init__(self, shop: Workshop, count: int, look: Callable[[Tensor], Tensor] | None = None):
        self.encoder = CLIPTextModel.from_pretrained(
            shop.out / "checkpoint" / "text_encoder", dtype=torch.float32
        )
        self.encoder.to(shop.device).eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(shop.out / "checkpoint" / "tokenizer")
        vae = (
            AutoencoderKL.from_pretrained(shop.out / "checkpoint" / "vae", torch_dtype=torch.float32)
            .to(shop.device)
            .eval()
        )
        generator = stream("train", "album", shop.seed, shop.device)
        latents, texts, weights, faces = [], [], [], []
        count += count % 2
        for start in range(0, count, 500):
            parameters = sample(min(500, count - start), generator).turned_back(generator).as_takes(2)
            texts += _captions(parameters.to("cpu"), start)
            with shop.autocast():
                drawn = shop.render(parameters)
                picture = look(drawn.image) if look else drawn.image
                latents.append(vae.encode(picture * 2 - 1).latent_dist.mean.half())
            side = latents[-1].shape[-1]
            pixels = shop.size / side
            faces.append(parameters)
            weights.append(face_weight(drawn.landmarks.float(), side, side, pixels, FACE_WEIGHT).half())
        self.latents, self.weights = torch.cat(latents), torch.cat(weights)
        self.faces = FaceParameters.cat(faces)
        self.states, self.nothing = self.encode(texts), self.encode([""])

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """Text states, (texts, 77, width), in half precision."""
        parts = tokenize(self.tokenizer, texts).split(512)
        device = self.encoder.device
        return torch.cat([self.encoder(part.to(device)).last_hidden_state.half() for part in parts])

    def batch(self, size: int, generator: torch.Generator, drop: float = 0.1) -> Shots:
        """Draw pairs, `size` an even number; the caption is dropped from both or from none."""
        device, pairs = generator.device, size // 2
        first = 2 * torch.randint(len(self.latents) // 2, (pairs,), generator=generator, device=device)
        rows = torch.stack([first, first + 1], dim=1).flatten()
        dropped = torch.rand(pairs, generator=generator, device=device) < drop
        dropped = dropped.repeat_interleave(2)[:, None, None]
        text = torch.where(dropped, self.nothing, self.states[rows])
        return Shots(
            self.latents[rows].float(), self.weights[rows].float(), text.float(), self.faces.index(rows)
        )


def _captions(faces: FaceParameters, seed: int) -> list[str]:
    """Captions of takes of two, both worded alike; every other sitting's describe little."""
    said: list[str] = [""] * len(faces)
    for first, share in ((0, PLAIN), (2, DESCRIBE)):
        for take in (0, 1):
            rows = slice(first + take, None, 4)
            said[rows] = captions(faces.index(rows), seed + first, describe=share)
    return said
