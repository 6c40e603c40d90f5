"""Training on SDXL: two text encoders, pooled text and sizes, as its pipeline tells its U-Net."""

import pytest
import torch

import tiny_families as families
import tiny_prepared
from emoji_adapter.data.captions import encode_captions, text_hash
from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.data.prepare import PrepareConfig, PrepareModels
from emoji_adapter.training.config import DropConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.loop import train
from emoji_adapter.training.session import open_session

KIND = families.kind_of("SDXL", "text-to-image")


@pytest.fixture
def stock():
    return families.pipeline(KIND.stock, KIND.family, KIND.task)


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    """Folder with `checkpoint` and `set`."""
    folder = tmp_path_factory.mktemp("xl")
    stock = families.pipeline(KIND.stock, KIND.family, KIND.task)
    stock.save_pretrained(folder / "checkpoint")
    tiny_prepared.prepared(folder / "set", pipe=stock)
    return folder


@pytest.fixture(scope="module")
def rows(xl):
    return PreparedSet.load(xl / "set")


def told(unet, call):
    """Keyword arguments of the first call of a U-Net while something runs."""
    seen = []
    with unet.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    ):
        call()
    args, kwargs = seen[0]
    return {"text": kwargs.get("encoder_hidden_states", args[2] if len(args) > 2 else None)} | kwargs[
        "added_cond_kwargs"
    ]


def test_the_unet_is_told_in_training_what_the_pipeline_tells_it(settings, xl, rows, stock):
    config = settings(checkpoint=str(xl / "checkpoint"), drops=DropConfig(text=0.0))
    session = open_session(config, rows, "cpu")
    red = torch.nonzero(rows.captions.index == 0).flatten()[:2]

    def loss():
        draw = StepDraw(seeded(torch.Generator(), 6), (5,))
        return session.stage.loss(session.models, rows.rows(red, red), draw)

    trained = told(session.models.unet, loss)
    drawn = told(stock.unet, lambda: families.draw(stock, KIND.task, "red", guidance_scale=1.0))
    for name in ("text", "text_embeds", "time_ids"):
        assert torch.allclose(trained[name][:1], drawn[name], atol=2e-3), name
    assert trained["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 2
    loss().mean().backward()
    assert any(parameter.grad is not None for parameter in session.state.parameters.values())


@pytest.mark.parametrize("zeros", [True, False])
def test_a_dropped_text_is_what_the_negative_rows_see(stock, zeros):
    stock.register_to_config(force_zeros_for_empty_prompt=zeros)
    made = encode_captions(["red", "blue", "red"], stock)
    assert made.index.tolist() == [0, 1, 0]
    negative, pooled = stock.encode_prompt("red", device="cpu", do_classifier_free_guidance=True)[1::2]
    assert torch.allclose(made.empty.float(), negative[0], atol=2e-3)
    assert made.pooled is not None
    assert made.empty_pooled is not None
    assert torch.allclose(made.empty_pooled.float(), pooled[0], atol=2e-3)
    assert not torch.equal(made.pooled[0], made.pooled[1])


def test_a_run_on_sdxl_ends_with_an_adapter_and_knows_both_encoders(settings, xl, rows, stock, tmp_path):
    config = settings(checkpoint=str(xl / "checkpoint"), steps=2, gradient_checkpointing=True)
    assert (train(config, rows, tmp_path / "run", device="cpu") / "config.json").is_file()
    before = text_hash(stock)
    with torch.no_grad():
        next(stock.text_encoder_2.parameters()).add_(1.0)
    assert text_hash(stock) != before


def test_prepare_reads_both_text_encoders(xl, stock):
    models = PrepareModels.load(PrepareConfig(checkpoint=str(xl / "checkpoint")))
    assert models.meta.text_hash == text_hash(stock)
    assert models.meta.latent_shape == (4, 8, 8)
    made = encode_captions(["red"], models.pipe)
    assert made.pooled is not None
    assert made.embeds.shape[2] == sum(families.XL_WIDTHS)
