"""The base model's last lesson: it draws what captions say, is looked at, and learns from what is wrong.

The loss of a diffusion model hardly knows what a face does: of the squared error, an expression is a per cent
or two. After 570 000 pictures our small U-Net followed whole descriptions with a correlation of 0.34 (0.94 is
perfect). So captions are drawn from noise and the finished pictures read by recogniser and teacher, and what
they find flows straight back to a few steps of the drawing; the usual loss on other pictures keeps the rest
(our choice, after ReFL, Xu et al. 2023, arXiv 2304.05977, and DRTune, Wu et al. 2024, arXiv 2405.00760).
"""

from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from emoji_adapter.encoders.twins import BlendshapeTwin, RecogniserTwin
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.captions import captions
from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.splits import stream
from emoji_adapter.microworld.stages.denoiser import Album, diffusion_loss, make_scheduler
from emoji_adapter.microworld.stages.language import save_half
from emoji_adapter.renderer.blendshapes import DRAWN_INDEX
from emoji_adapter.renderer.parameters import sample

PICTURES, SITTERS = 20_000, 10_000
"""Distinct pictures of the usual loss, and captions to draw, at the most; fewer in a short training."""
SHARE = 2 / 3
"""Share of the rows that are drawn."""
STEPS, GRADED = 8, 2
"""Steps of a drawing, without guidance, and how many of them gradients flow to."""
IDENTITY_WEIGHT, EXPRESSION_WEIGHT, BETA = 1.5, 16.0, 0.1
"""Weights of 1 - cosine and of the mean difference of the drawn blendshapes, squared below BETA."""


class Sitters:
    """People and what they do, as captions and as what recogniser and teacher should find.

    Args:
        shop: where the finished face pack and teacher lie.
        album: knows the text encoder.
        count: how many.
    """

    @torch.no_grad()
    def __init__(self, shop: Workshop, album: Album, count: int):
        self.analyzer = FaceAnalyzer(shop.out / "faces", det_thresh=0.1, det_size=(128, 128), threads=1)
        self.recogniser = RecogniserTwin(self.analyzer).to(shop.device)
        self.teacher = BlendshapeTwin(shop.out / "teacher" / "blendshapes.onnx").to(shop.device)
        generator, embeds, texts, expressions = stream("train", "sitters", shop.seed, shop.device), [], [], []
        for start in range(0, count, 500):
            parameters = sample(min(500, count - start), generator)
            drawn = shop.render(parameters)
            embeds.append(self.recogniser(drawn.image.float(), drawn.landmarks.float()))
            expressions.append(parameters.expression)
            texts += captions(parameters.to("cpu"), shop.seed + start, describe=1.0)
        self.embeds, self.expressions = torch.cat(embeds), torch.cat(expressions).float()
        self.states = album.encode(texts)

    def look(self, images: Float[Tensor, "b 3 H W"], rows: Tensor) -> Tensor:
        """How far pictures are from what was asked: the mean of the weighted terms over the faces found."""
        pictures = (images.detach() * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        faces = [self.analyzer.detect(picture) for picture in pictures]
        found = torch.tensor([n for n, some in enumerate(faces) if some], device=images.device)
        if not len(found):
            return images.sum() * 0
        points = np.stack([np.asarray(some[0].landmarks, np.float32) for some in faces if some])
        landmarks = torch.from_numpy(points).to(images.device)
        seen, rows = images[found], rows[found]
        identity = 1 - (self.recogniser(seen, landmarks) * self.embeds[rows]).sum(1)
        read = self.teacher(crop_batch(seen, landmarks, ExpressionCrop()))[:, list(DRAWN_INDEX)]
        expression = smooth_l1_loss(read, self.expressions[rows], beta=BETA)
        return IDENTITY_WEIGHT * identity.mean() + EXPRESSION_WEIGHT * expression


def draw(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    noise: Float[Tensor, "b C h w"],
    text: Float[Tensor, "b L D"],
    graded: set[int],
) -> Float[Tensor, "b C h w"]:
    """Draw clean latents; gradients flow from them straight to the predictions of the graded steps."""
    x = noise
    for step, t in enumerate(scheduler.timesteps):
        given = x.detach().to(unet.dtype)
        with torch.set_grad_enabled(step in graded):
            predicted = unet(given, t, text.to(unet.dtype)).sample.float()
        x = scheduler.step(predicted, int(t), x).prev_sample
    return x


def build(shop: Workshop) -> None:
    """Train the finished U-Net on, on pictures and on what it draws."""
    folder = shop.out / "checkpoint"
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    if shop.device.type == "cpu" and shop.half:
        unet.to(torch.bfloat16).set_attn_processor(AttnProcessor())
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32)
    vae.to(shop.device).eval().requires_grad_(False)
    recipe = shop.recipes["following"]
    album = Album(shop, min(PICTURES, recipe.steps * recipe.batch // 4))
    sitters = Sitters(shop, album, min(SITTERS, recipe.steps * recipe.batch // 4))
    scheduler, sampler = make_scheduler(), make_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(shop.device)
    sampler.alphas_cumprod = sampler.alphas_cumprod.to(shop.device)
    sampler.set_timesteps(STEPS, device=shop.device)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        count, device = round(SHARE * batch), generator.device
        usual = diffusion_loss(unet, scheduler, *album.batch(batch - count, generator), generator)
        rows = torch.randint(len(sitters.states), (count,), generator=generator, device=device)
        noise = torch.randn(len(rows), *album.latents.shape[1:], generator=generator, device=device)
        graded = set(torch.randperm(STEPS, generator=generator, device=device)[:GRADED].tolist())
        latents = draw(unet, sampler, noise, sitters.states[rows].float(), graded)
        with torch.autocast(device.type, enabled=False):
            images = vae.decode(latents).sample / 2 + 0.5
        return usual + sitters.look(images.clamp(0, 1), rows)

    save_half(fit(shop, "following", unet, loss), folder / "unet")
