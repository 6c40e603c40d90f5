from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tests import tiny
from tests.evaluation import planted

from emoji_adapter.errors import DataError, NoFaceError
from emoji_adapter.evaluation.drawing import through_autoencoder
from emoji_adapter.evaluation.judged import Judged
from emoji_adapter.evaluation.plan import DEFAULT, RowPlan
from emoji_adapter.evaluation.runner import Settings, evaluate, work
from emoji_adapter.metrics.records import Readings
from emoji_adapter.pipelines.faces import FaceEncoders
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline

SIDE = 16
FACELESS = 3


class PaintedBenchmark:
    """Flat colours; the red channel tells the person, the green one the cell."""

    name = "painted"

    def __init__(self, faceless: int | None = None):
        self.cells, self.faceless = planted.cells()[:8], faceless

    def photo(self, number: int) -> Image.Image:
        return Image.new("RGB", (SIDE, SIDE), (40 * self.cells[number].identity, 0, 0))

    def template(self, number: int) -> Image.Image:
        return Image.new("RGB", (SIDE, SIDE), (255 if number == self.faceless else 0, number, 0))

    def oracle(self, number: int) -> Image.Image:
        return Image.new("RGB", (SIDE, SIDE), (0, 0, number))


class PixelJudges:
    """Read the mean colour."""

    name = fingerprint = "pixels"

    def texts(self, prompts: Sequence[str]) -> None:
        return None

    def read(self, images: Sequence[Image.Image], *, count_faces: bool = True) -> Readings:
        n = len(images)
        words = np.array(["red"] * n)
        colours = np.stack([np.asarray(image).mean(axis=(0, 1)) for image in images])
        return Readings(colours, np.ones(n), np.zeros((n, 33)), words, words, words, colours, colours)

    def errors(self, seed: int) -> dict:
        return {}


class ColourEncoders(FaceEncoders):
    """Embeddings that depend on the picture's colour; a template with red in it has no face."""

    def identity(self, pictures: Sequence[Any], policy: str | int) -> torch.Tensor:
        return tiny.identities(1, seed=pictures[0].getpixel((0, 0))[0])[0]

    def expression(self, picture: Any, policy: str | int, device: torch.device) -> torch.Tensor:
        red, green, _ = picture.getpixel((0, 0))
        if red:
            raise NoFaceError("none")
        return tiny.expressions(1, seed=100 + green)[0]


@pytest.fixture(scope="module")
def pipe() -> EmojiDiffSDPipeline:
    made = EmojiDiffSDPipeline(**tiny.components())
    made.load_emoji_adapter(tiny.adapter(made.unet))
    made.face_encoders = ColourEncoders({})
    return made


SETTINGS = Settings(steps=2, guidance=2.0, batch=3)


ROWS = tuple(plan for plan in DEFAULT if plan.draw != "swap")


@pytest.fixture(scope="module")
def told() -> list[int]:
    return []


def run(pipe: EmojiDiffSDPipeline, benchmark: PaintedBenchmark | None = None, plans=ROWS, **given) -> Judged:
    given = {"settings": SETTINGS} | given
    return evaluate(lambda *names: pipe, benchmark or PaintedBenchmark(), PixelJudges(), plans, **given)


@pytest.fixture(scope="module")
def judged(pipe: EmojiDiffSDPipeline, told: list[int]) -> Judged:
    return run(pipe, advance=lambda name, count: told.append(count))


def distance(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).max())


def test_rows_come_in_order_with_the_adapter_last(judged: Judged, told: list[int]) -> None:
    assert [row.name for row in judged.rows] == [
        "plain",
        "words only",
        "identity only",
        "identity and words",
        "expression only",
        "oracle",
        "oracle through autoencoder",
        "emoji adapter",
    ]
    assert {len(row.images) for row in judged.rows} == {8}
    assert sum(told) == work(ROWS, 8) == 8 * (1 + 6)
    assert judged.refused == 0
    assert judged.row("oracle").readings.embedding[:, 2] == pytest.approx(np.arange(8))


def test_plain_is_the_stock_pipeline(judged: Judged) -> None:
    stock = StableDiffusionPipeline(**tiny.components())
    stock.set_progress_bar_config(disable=True)
    cell = judged.cells[4]
    generator = torch.Generator().manual_seed(cell.seed)
    drawn: Any = stock(cell.plain_prompt, num_inference_steps=2, guidance_scale=2.0, generator=generator)
    assert distance(judged.row("plain").images[4], drawn.images[0]) <= 1


def test_each_branch_acts_where_it_should(judged: Judged) -> None:
    images = {row.name: row.images[4] for row in judged.rows}
    drawn = ("plain", "identity only", "expression only", "emoji adapter")
    for number, name in enumerate(drawn):
        for other in drawn[number + 1 :]:
            assert distance(images[name], images[other]) > 1, (name, other)


def test_a_guided_row_is_guided(pipe: EmojiDiffSDPipeline, judged: Judged) -> None:
    plans = [RowPlan(str(scale), expression_guidance_scale=scale) for scale in (2.0, 0.0, 6.0)]
    as_text, none, more = (row.images[4] for row in run(pipe, plans=plans).rows)
    assert distance(as_text, judged.row("emoji adapter").images[4]) <= 1
    assert distance(none, judged.row("emoji adapter").images[4]) > 1
    assert distance(more, as_text) > 1


def test_batches_do_not_matter(pipe: EmojiDiffSDPipeline, judged: Judged) -> None:
    many = run(pipe, plans=ROWS[-1:], settings=Settings(2, 2.0, batch=8))
    for one, other in zip(judged.rows[-1].images, many.rows[-1].images, strict=True):
        assert distance(one, other) <= 1


def test_cells_without_a_face_leave_every_row_and_are_counted(pipe: EmojiDiffSDPipeline) -> None:
    judged = run(pipe, PaintedBenchmark(FACELESS), ROWS[-1:])
    assert judged.refused == 1
    assert [cell.seed for cell in judged.cells] == [0, 1, 2, 4, 5, 6, 7]
    assert {len(row.images) for row in judged.rows} == {len(judged.inputs)} == {7}


def test_a_benchmark_without_faces_is_refused(pipe: EmojiDiffSDPipeline) -> None:
    benchmark = PaintedBenchmark(0)
    benchmark.cells = benchmark.cells[:1]
    with pytest.raises(DataError, match="None of the 1 cells"):
        run(pipe, benchmark)


def test_the_autoencoder_row_is_encode_and_decode(pipe: EmojiDiffSDPipeline) -> None:
    picture = PaintedBenchmark().photo(7)
    (decoded,) = through_autoencoder(pipe, [picture])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        latents = pipe.vae.encode(pixels).latent_dist.mode()
        expected = ((pipe.vae.decode(latents).sample[0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0)
    assert np.abs(np.asarray(decoded) - expected.numpy()).max() <= 1
