"""The opponents draw what they claim, and a table that was interrupted goes on where it stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests import tiny
from tests.evaluation.test_runner import SETTINGS, ColourEncoders, PaintedBenchmark, PixelJudges, distance

from emoji_adapter.errors import DataError, InputError, WeightsNotFoundError
from emoji_adapter.evaluation.opponents import StockAdapters, swap_people
from emoji_adapter.evaluation.plan import RowPlan
from emoji_adapter.evaluation.runner import evaluate
from emoji_adapter.evaluation.store import Store
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.swap import FaceSwapper
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline
from emoji_adapter.types import Face

LANDMARKS = np.array([[46, 56], [82, 56], [64, 76], [50, 94], [78, 94]], np.float32) / 8
FACE = Face(np.array([4, 4, 12, 14], np.float32), LANDMARKS, 1.0)


class Analyzer(FaceAnalyzer):
    """Sees a face in every picture that is not black."""

    def detect(self, image):
        return [FACE] if np.asarray(image).any() else []


@pytest.fixture(scope="module")
def swapper():
    return FaceSwapper(providers=("CPUExecutionProvider",), threads=1)


def make_pipe(**changes) -> EmojiDiffSDPipeline:
    made = EmojiDiffSDPipeline(**tiny.components())
    made.load_emoji_adapter(tiny.adapter(made.unet, **changes))
    made.face_encoders = ColourEncoders({})
    made.face_encoders._analyzer = Analyzer()
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def pipe() -> EmojiDiffSDPipeline:
    return make_pipe()


def test_each_picture_gets_its_own_person_and_one_without_a_face_stays(swapper):
    noise = np.random.default_rng(0).integers(1, 256, (16, 16, 3), dtype=np.uint8)
    pictures = [Image.fromarray(noise), Image.fromarray(noise), Image.new("RGB", (16, 16))]
    people = tiny.identities(3)
    first, second, black = swap_people(pictures, people, Analyzer(), swapper)
    assert distance(first, pictures[0]) > 3
    assert distance(first, second) > 1
    assert black is pictures[2]
    again = swap_people(pictures[:1], people[1:2], Analyzer(), swapper)
    assert distance(again[0], second) == 0


def test_stock_adapters_draw_what_ours_draw_without_guidance(pipe):
    stock = StockAdapters(pipe)
    told = tiny.identities(2), tiny.expressions(2)

    def arguments():
        noise = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        return {"num_inference_steps": 2, "guidance_scale": 1.0, "generator": noise}

    ours = pipe(["p", "q"], identity_embeds=told[0], expression_embeds=told[1], **arguments()).images
    theirs = stock(["p", "q"], *told, (1.0, 1.0), **arguments())
    alone = stock(["p", "q"], *told, (1.0, 0.0), **arguments())
    for one, other, without in zip(ours, theirs, alone, strict=True):
        assert distance(one, other) <= 1
        assert distance(one, without) > 1


TABLE = (
    RowPlan("plain", "plain"),
    RowPlan("generate-then-swap", "swap", identity_off=False),
    RowPlan("stock two adapters", "stock", identity_off=False),
    RowPlan("identity only", "identity"),
    RowPlan("base", "both", adapter="base", identity_off=False),
    RowPlan("gone", "both", adapter="gone"),
    RowPlan("better", "both", adapter="better", against="base", identity_off=False),
)


class Table:
    """Runs `TABLE` and remembers which ways were drawn afresh."""

    def __init__(self, swapper, folder: Path):
        self.swapper, self.store = swapper, Store(folder)
        self.pipes = {None: make_pipe(), "base": make_pipe(), "better": make_pipe()}
        with torch.no_grad():  # the better one differs in its expression branch only
            self.pipes["better"].emoji_adapter.expression_resampler.norm_out.bias.add_(1)

    def run(self, stop: str = "", plans=TABLE):
        drawn = []

        def load(checkpoint, adapter):
            if adapter == "gone":
                raise WeightsNotFoundError("gone is not there")
            return self.pipes[adapter]

        def advance(name, count):
            if name == stop:
                raise KeyboardInterrupt
            if name != "encoding" and count:
                drawn.append(name)

        settings = {"settings": SETTINGS, "swapper": self.swapper, "store": self.store, "advance": advance}
        try:
            return evaluate(load, Four(), PixelJudges(), plans, **settings), drawn
        except KeyboardInterrupt:
            return None, drawn


class Four(PaintedBenchmark):
    """One batch a drawing."""

    def __init__(self):
        super().__init__()
        self.cells = self.cells[2:5]


@pytest.fixture(scope="module")
def table(swapper, tmp_path_factory) -> Table:
    made = Table(swapper, tmp_path_factory.mktemp("store"))
    made.first = made.run(stop="identity only")
    made.second = made.run()
    return made


def test_rows_of_opponents_and_adapters_stand_in_one_table(table):
    judged, _ = table.second
    assert [row.name for row in judged.rows] == [plan.name for plan in TABLE if plan.name != "gone"]
    assert judged.missing == {"gone": "gone is not there"}
    images = {row.name: row.images[0] for row in judged.rows}
    for name, other in (("base", "better"), ("base", "stock two adapters"), ("plain", "generate-then-swap")):
        assert distance(images[name], images[other]) > 1
    better, stock = judged.row("better"), judged.row("stock two adapters")
    assert judged.above(better).name == "base"
    assert judged.above(stock).name == "generate-then-swap"
    assert np.array_equal(better.own.embedding, judged.row("identity only").readings.embedding)
    assert stock.own is not None
    assert better.identity_off is None


def test_what_was_drawn_before_the_kill_is_not_drawn_again(table):
    killed, before = table.first
    assert killed is None
    assert sorted(before) == ["expression", "identity", "plain", "stock", "stock identity"]
    _, after = table.second
    assert after == ["both", "both"]
    judged, none = table.run()
    assert none == []
    for row, kept in zip(table.second[0].rows, judged.rows, strict=True):
        assert all(distance(*pair) == 0 for pair in zip(row.images, kept.images, strict=True))
        assert np.array_equal(row.readings.style, kept.readings.style)
        assert np.array_equal(row.readings.embedding, kept.readings.embedding)
    assert not list(table.store.folder.glob(".*"))


def test_a_changed_branch_is_drawn_again_and_no_other(table):
    table.run()
    with torch.no_grad():
        table.pipes["base"].emoji_adapter.expression_resampler.norm_out.bias.sub_(1)
    assert table.run()[1] == ["both"]


def test_a_damaged_drawing_is_told(table):
    table.run()
    for file in table.store.folder.iterdir():
        file.write_bytes(b"short")
    with pytest.raises(DataError, match="Remove it"):
        table.run()


def test_a_table_that_cannot_be_drawn_is_refused(pipe):
    def run(*plans):
        evaluate(lambda *names: pipe, Four(), PixelJudges(), plans, SETTINGS)

    with pytest.raises(InputError, match="needs a face swapper"):
        run(RowPlan("swap", "swap"))
    with pytest.raises(InputError, match="Two rows are named 'a'"):
        run(RowPlan("a"), RowPlan("a", "plain"))
