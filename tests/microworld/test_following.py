"""The base model's last lesson: it draws as a pipeline does, and who looks can tell right from wrong."""

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from emoji_adapter.config import packaged_part
from emoji_adapter.microworld.fit import Workshop
from emoji_adapter.microworld.splits import stream
from emoji_adapter.microworld.stages.denoiser import Album, make_scheduler
from emoji_adapter.microworld.stages.following import STEPS, Sitters, draw
from emoji_adapter.renderer.parameters import sample

COUNT = 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    state = tmp_path_factory.mktemp("state")
    return Workshop(packaged_part("card.json").parent, Path(state), torch.device("cpu"), 0, 64, {})


@pytest.fixture(scope="module")
def sitters(shop: Workshop) -> Sitters:
    return Sitters(shop, Album(shop, 2), COUNT)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 8), layers_per_block=1,
        cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()  # fmt: skip


def sampler():
    scheduler = make_scheduler()
    scheduler.set_timesteps(STEPS)
    return scheduler


def test_drawings_are_those_of_the_stock_pipeline() -> None:
    pipe = StableDiffusionPipeline.from_pretrained(packaged_part("checkpoint"), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    text, _ = pipe.encode_prompt("a cartoon portrait, smiling", torch.device("cpu"), 1, False)
    noise = torch.randn(
        1, pipe.unet.config["in_channels"], 16, 16, generator=torch.Generator().manual_seed(3)
    )
    stock = pipe(
        prompt_embeds=text, latents=noise, guidance_scale=1.0, num_inference_steps=STEPS, output_type="latent"
    ).images
    torch.testing.assert_close(draw(pipe.unet, sampler(), noise, text, set()), stock, atol=1e-4, rtol=1e-4)


def test_gradients_come_from_graded_steps_alone(unet: UNet2DConditionModel) -> None:
    noise, text = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8)
    assert not draw(unet, sampler(), noise, text, set()).requires_grad
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = unet.conv_out.register_full_backward_hook(count)
    draw(unet, sampler(), noise, text, {1, STEPS - 1}).sum().backward()
    handle.remove()
    assert calls == 2


def test_the_right_picture_pleases_more(shop: Workshop, sitters: Sitters) -> None:
    pictures = shop.render(sample(COUNT, stream("train", "sitters", shop.seed, shop.device))).image.float()
    rows = torch.arange(COUNT)
    right, wrong = sitters.look(pictures, rows), sitters.look(pictures, rows.roll(1))
    assert float(right) < 0.5 * float(wrong)


def test_pictures_without_a_face_teach_nothing(sitters: Sitters) -> None:
    grey = torch.full((2, 3, 64, 64), 0.5, requires_grad=True)
    loss = sitters.look(grey, torch.arange(2))
    loss.backward()
    assert loss.item() == 0
    assert not grey.grad.any()
