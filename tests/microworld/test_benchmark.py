import numpy as np
import pytest

from emoji_adapter.errors import InputError
from emoji_adapter.microworld.benchmark import MicroBenchmark
from emoji_adapter.microworld.splits import expressions, people
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.vocabulary import STYLES


@pytest.fixture(scope="module")
def benchmark_() -> MicroBenchmark:
    return MicroBenchmark(3, identities=4, expressions=4, styles=2, size=48)


def test_every_person_meets_every_expression_in_every_style(benchmark_: MicroBenchmark) -> None:
    cells = benchmark_.cells
    assert len({(c.identity, c.expression, c.style) for c in cells}) == len(cells) == 4 * 4 * 2
    assert len({c.seed for c in cells}) == len(cells)
    assert {c.style for c in cells} == set(benchmark_.styles) <= set(STYLES)


def test_half_of_the_templates_of_each_style_are_off_style(benchmark_: MicroBenchmark) -> None:
    for style in benchmark_.styles:
        same = [c.same_style for c in benchmark_.cells if c.style == style]
        assert sum(same) * 2 == len(same)


def test_words(benchmark_: MicroBenchmark) -> None:
    cells = benchmark_.cells
    assert sum(c.contradicted for c in cells) == len(cells) // 8
    for cell in cells:
        assert cell.plain_prompt.startswith(f"a {cell.style} portrait, {cell.background} background")
        assert (cell.prompt != cell.plain_prompt) == cell.contradicted
        assert cell.words_prompt is not None
        words = cell.words_prompt.removeprefix(cell.plain_prompt + ", ").split(", ")
        assert words[0] not in cell.prompt.split(", ")
        assert cell.accessory is not None
        assert cell.accessory == "none" or cell.accessory in cell.plain_prompt
    assert any(c.accessory != "none" for c in cells)


def test_template_people_are_others_and_photos_are_shared(benchmark_: MicroBenchmark) -> None:
    cells = benchmark_.cells
    owners = {tuple(c.skin) for c in cells}
    strangers = {tuple(c.template_skin) for c in cells}
    assert len(owners) == 4
    assert len(strangers) == 16
    assert not owners & strangers
    first, second = (n for n, c in enumerate(cells) if c.identity == 1 and c.expression < 1)
    assert benchmark_.photo(first).tobytes() == benchmark_.photo(second).tobytes()
    assert benchmark_.template(0).size == benchmark_.oracle(0).size == (48, 48)


def test_cells_show_the_test_expressions(benchmark_: MicroBenchmark) -> None:
    drawn = expressions("test", 4, 3).numpy()
    for cell in benchmark_.cells:
        assert np.array_equal(cell.blendshapes, drawn[cell.expression])


def test_plan_keeps_the_splits_apart(benchmark_: MicroBenchmark) -> None:
    plan = benchmark_._plan()
    tested = {tuple(row) for row in people("test", 4 * 5, 3).tolist()}
    trained = {tuple(row) for seed in range(4) for row in people("train", 500, seed).tolist()}
    for parameters in (plan.photos, plan.templates, plan.oracles):
        who = {tuple(row) for row in parameters.identity.tolist()}
        assert who <= tested
        assert not who & trained
    assert _people(plan.oracles) == _people(plan.photos)
    assert not _people(plan.templates) & _people(plan.photos)
    learned = {tuple(row) for seed in range(4) for row in expressions("train", 500, seed).tolist()}
    assert not learned & {tuple(row) for row in plan.templates.expression.tolist()}


def test_oracle_faces_the_viewer_with_the_templates_expression(benchmark_: MicroBenchmark) -> None:
    plan = benchmark_._plan()
    assert plan.oracles.pose[:, [0, 1, 2, 4, 5]].abs().max() == 0
    assert plan.oracles.expression.equal(plan.templates.expression)
    assert plan.templates.pose[:, 0].std() > 0.1


def test_same_seed_same_cells_other_seed_other_people(benchmark_: MicroBenchmark) -> None:
    again = MicroBenchmark(3, identities=4, expressions=4, styles=2, size=48)
    assert [c.prompt for c in again.cells] == [c.prompt for c in benchmark_.cells]
    assert again.template(5).tobytes() == benchmark_.template(5).tobytes()
    other = MicroBenchmark(4, identities=4, expressions=4, styles=2, size=48)
    assert not {tuple(c.skin) for c in other.cells} & {tuple(c.skin) for c in benchmark_.cells}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"identities": 1}, "at least 2 identities"),
        ({"expressions": 0}, "1 expression"),
        ({"styles": 7}, "between 1 and 6"),
        ({"styles": ("noir", "baroque")}, "baroque"),
    ],
)
def test_impossible_sizes_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MicroBenchmark(0, **arguments)


def _people(parameters: FaceParameters) -> set[tuple[float, ...]]:
    return {tuple(row) for row in parameters.identity.tolist()}
