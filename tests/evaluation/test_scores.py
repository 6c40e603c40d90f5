import json

import pytest
from tests.evaluation import planted

from emoji_adapter.evaluation.comparison import assemble


@pytest.fixture(scope="module")
def result() -> dict:
    return assemble(planted.judged(), {"seed": 7}, {"exp": 0.01}, draws=200)


def test_planted_figures_are_found(result: dict) -> None:
    row = result["rows"][-1]
    assert row["name"] == "emoji adapter"
    assert row["n"] == 24
    assert row["id"]["mean"] == pytest.approx(planted.ID_ADAPTER, abs=1e-5)
    assert (row["id"]["floor"], row["id"]["oracle"]) == (0.0, 1.0)
    assert row["id"]["position"] == pytest.approx(0.8, abs=1e-5)
    assert row["exp"]["mean"] == pytest.approx(0.10)
    assert row["exp"]["without"] == pytest.approx(0.25)
    assert row["exp"]["oracle"] == pytest.approx(0.05)
    assert row["exp"]["normalised"] == pytest.approx(0.75)
    assert row["leak"]["mean"] == pytest.approx(planted.LEAK_ADAPTER)
    assert row["leak"]["identity_off"]["mean"] == pytest.approx(1.0)
    assert row["skin_leak"]["mean"] == pytest.approx(planted.SKIN_FOLLOWED)
    assert row["pose_following"]["mean"] == pytest.approx(planted.POSE_FOLLOWED)
    assert row["found"]["mean"] == pytest.approx(0.75)
    assert row["background"]["mean"] == 1.0


def test_constant_figures_have_no_width(result: dict) -> None:
    row = result["rows"][-1]
    assert row["id"]["ci95"] == pytest.approx([0.8, 0.8], abs=1e-5)
    assert row["exp"]["normalised_ci95"] == pytest.approx([0.75, 0.75])
    assert row["found"]["ci95"][0] < 0.75 < row["found"]["ci95"][1]


def test_accessory_counts_only_cells_that_ask_for_one(result: dict) -> None:
    """The planted judge always sees a hat; cells that ask for none must not count as errors."""
    assert result["rows"][-1]["accessory"]["mean"] == 1.0


def test_cells_are_split_by_style_template_and_prompt(result: dict) -> None:
    row = result["rows"][-1]
    assert {name: block["n"] for name, block in row["by_style"].items()} == {"noir": 12, "neon": 12}
    assert row["by_template"]["same style"]["style"]["mean"] == 1.0
    assert row["by_template"]["other style"]["style"]["mean"] == 0.0
    assert row["by_prompt"]["contradicting"]["n"] == 6


def test_oracle_bounds_every_row(result: dict) -> None:
    oracle = next(row for row in result["rows"] if row["name"] == "oracle")
    assert oracle["id"]["position"] == 1.0
    assert oracle["exp"]["normalised"] == 1.0
    assert oracle["leak"]["mean"] == 0.0
    assert "skin_leak" not in oracle


def test_result_has_the_form_of_the_design_and_is_json(result: dict) -> None:
    assert result["protocol"] == {"seed": 7, "cells": 24, "refused": 2}
    for row in json.loads(json.dumps(result, allow_nan=False))["rows"]:
        assert {"mean", "ci95", "floor", "oracle", "position"} <= row["id"].keys()
        assert {"mean", "ci95", "without", "oracle", "normalised"} <= row["exp"].keys()
        for name in ("leak", "style", "background", "accessory", "found"):
            assert {"mean", "ci95"} <= row[name].keys()
