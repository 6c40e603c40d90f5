"""Tables read from files."""

from pathlib import Path

import pytest

from emoji_adapter.errors import InputError
from emoji_adapter.evaluation.drawing import Drawing, drawings_of
from emoji_adapter.evaluation.plan import DEFAULT, WAYS, RowPlan, load_plan


def written(folder: Path, text: str) -> Path:
    file = folder / "rows.yaml"
    file.write_text(text)
    return file


def test_yaml_and_json_are_read(tmp_path: Path):
    plan = load_plan(
        written(tmp_path, "adapter: a\nrows:\n- {name: plain, draw: plain}\n- {name: base, adapter: b}")
    )
    assert plan.adapter == "a"
    assert plan.rows == (RowPlan("plain", "plain"), RowPlan("base", "both", "b"))
    assert load_plan(written(tmp_path, '{"rows": [{"name": "x"}]}')).rows == (RowPlan("x"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: []", "no rows"),
        ("rows: [{name: a, draw: sketch}]", "'sketch'. Known: plain"),
        ("rows: [{name: a, draw: plain, expression_guidance_scale: 2}]", "draw one of expression, both"),
        ("rows: [{name: a}, {name: a}]", "Two rows are named 'a'"),
        ("rows: [{name: a, against: b}, {name: b}]", "'b', which is not above it"),
        ("rows: [{name: a, adaptor: b}]", "unknown key 'adaptor'. Did you mean 'adapter'"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message):
        load_plan(written(tmp_path, text))


def test_rows_share_what_does_not_depend_on_them():
    base, better = RowPlan("a", adapter="x"), RowPlan("b", adapter="x", expression_scale=0.5)
    assert drawings_of(base)["own"] == drawings_of(better)["own"] == Drawing("identity", None, "x")
    assert drawings_of(base)["row"] != drawings_of(better)["row"]
    guided = RowPlan("c", adapter="x", expression_guidance_scale=3.0)
    assert drawings_of(guided)["own"] == drawings_of(base)["own"]
    assert drawings_of(guided)["row"] != drawings_of(base)["row"]
    assert drawings_of(guided)["identity_off"].expression_guidance_scale == 3.0
    assert drawings_of(RowPlan("p", "plain", adapter="x"))["row"] == Drawing("plain")


def test_companions_are_known_ways_without_template_or_person():
    for way in WAYS.values():
        if way.own is not None:
            assert not WAYS[way.own].expression
        if way.identity_off is not None:
            assert not WAYS[way.identity_off].identity
    assert DEFAULT[-1].draw == "both"
