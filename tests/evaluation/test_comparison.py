"""Rows against each other, and the faults of a base adapter, where all figures are known."""

from dataclasses import replace

import pytest
from tests.evaluation import planted

from emoji_adapter.errors import InputError
from emoji_adapter.evaluation.comparison import assemble, comparison
from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.preflight import preflight
from emoji_adapter.evaluation.scores import Scorer


def with_rows(*rows: Row) -> Judged:
    judged = planted.judged()
    return replace(judged, rows=[*judged.rows, *rows])


def healed() -> Row:
    """As the adapter of the planted table, without any of its faults."""
    judged = planted.judged()
    perfect, free = judged.row("oracle").readings, judged.row("identity only").readings
    return Row("healed", judged.rows[-1].images, perfect, own=free, identity_off=perfect)


def test_each_row_is_compared_with_the_one_above_it():
    result = assemble(with_rows(healed()), {}, {}, draws=50)
    told = [row["versus"] and row["versus"]["row"] for row in result["rows"]]
    assert told == [None, *(row["name"] for row in result["rows"][:-1])]
    versus = result["rows"][-1]["versus"]
    assert versus["position"]["mean"] == pytest.approx(0.2, abs=1e-5)
    assert versus["exp"]["mean"] == pytest.approx(-0.05, abs=1e-5)
    assert versus["normalised"]["mean"] == pytest.approx(0.25, abs=1e-5)
    assert versus["leak"]["mean"] == pytest.approx(-0.6, abs=1e-5)
    assert versus["leak_ratio"]["mean"] == pytest.approx(0, abs=1e-5)
    assert versus["identity_off"]["mean"] == pytest.approx(-1, abs=1e-5)
    assert versus["skin_leak"]["mean"] == pytest.approx(-0.2, abs=1e-5)
    assert versus["style_off"] == {"mean": 1.0, "ci95": [1.0, 1.0]}
    assert versus["style"]["mean"] == 0.5
    assert versus["gap_closed"]["mean"] == pytest.approx(1.0, abs=1e-4)
    assert versus["leak"]["ci95"] == pytest.approx([-0.6, -0.6], abs=1e-5)


def test_another_row_may_be_named():
    result = assemble(with_rows(replace(healed(), against="identity only")), {}, {}, draws=50)
    versus = result["rows"][-1]["versus"]
    assert versus["row"] == "identity only"
    assert versus["position"]["mean"] == pytest.approx(0, abs=1e-5)
    assert "gap_closed" not in versus
    assert "skin_leak" not in versus


def test_a_quotient_by_nothing_is_null():
    judged = planted.judged()
    told = comparison(Scorer(judged, 50), judged.rows[-1], judged.row("oracle"))
    assert told["leak_ratio"] == {"mean": None, "ci95": [None, None]}


def test_contradicted_prompts_are_set_beside_the_others():
    row = assemble(planted.judged(), {}, {}, draws=50)["rows"][-1]
    assert row["exp"]["contradicted_share"]["mean"] == pytest.approx(1.0)


def test_an_adapter_with_all_three_faults():
    found = preflight(planted.judged(), draws=50)
    assert found["row"] == "emoji adapter"
    assert (found["leaks"], found["drags_style"], found["costs_identity"]) == (True, True, True)
    leak, skin, style, identity = found["symptoms"]
    assert leak["mean"] == pytest.approx(0.6)
    assert skin["mean"] == pytest.approx(0.2)
    assert style["mean"] == -1.0
    assert identity["mean"] == pytest.approx(-0.2, abs=1e-5)


def test_an_adapter_without_any():
    found = preflight(with_rows(healed()), "healed", draws=50)
    assert (found["leaks"], found["drags_style"], found["costs_identity"]) == (False, False, False)
    assert not any(symptom["holds"] for symptom in found["symptoms"])


def test_a_row_that_sees_no_template_has_no_preflight():
    with pytest.raises(InputError, match="sees a template"):
        preflight(planted.judged(), "oracle", draws=50)
