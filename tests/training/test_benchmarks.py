"""What benchmarks of training work out, on the tiny world; and the figures that the guide quotes."""

import argparse
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
import tiny_prepared
from emoji_adapter.training.config import AdapterConfig, ICAConfig
from emoji_adapter.training.session import open_session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def estimators(monkeypatch):
    """`benchmarks/estimators.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("estimators")


@pytest.fixture
def session(settings, data, tmp_path):
    adapter = tiny.adapter(tiny.unet())
    adapter.register_to_config(expression_crop=tiny_prepared.CROP.to_dict())
    adapter.save_pretrained(tmp_path)
    looks = ICAConfig(expression_weight=0.0)
    config = settings(
        stage="ica", start=str(tmp_path), ica=looks, adapter=AdapterConfig(), blendshape_share=0.0
    )
    return open_session(config, data, "cpu")


def test_estimates_are_measured_by_band_and_compared_row_by_row(estimators, session):
    options = argparse.Namespace(rows=5, bands=3, batch=4, seed=0)
    values, middles = estimators.measure(session, options)
    assert {value.shape for value in values.values()} == {(3, 3, 5)}
    assert middles == pytest.approx([1000 / 6, 500, 5000 / 6])
    assert np.all(values["target"][0] == 0)
    assert np.all(values["one_step"][0] > 0)
    found = estimators.summary(values, 0)
    over = found["midpoint"]["over_one_step"]["error"]
    means = [found[name]["error"]["mean"] for name in ("midpoint", "one_step")]
    assert over["mean"] == pytest.approx(np.subtract(*means))
    assert all(low <= mean <= high for mean, (low, high) in zip(over["mean"], over["ci95"], strict=True))
    picture = estimators.draw(estimators.panels({"early": found, "late": found}, middles))
    assert np.ptp(np.asarray(picture)) > 60


def test_sharpness_falls_with_blur(estimators):
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    assert torch.all(estimators.sharpness(blurred) < 0.5 * estimators.sharpness(images))


def test_a_step_on_sdxl_fits_a_card_of_24_gigabytes_and_the_guide_quotes_the_figures():
    figures = json.loads((ROOT / "benchmarks" / "results" / "memory.json").read_text())["figures"]
    assert figures["how"].startswith("computed")
    assert figures["sdxl"]["recipe"]["gradient_checkpointing"]
    assert figures["sdxl"]["recipe"]["gigabytes"] <= 24
    guide = (ROOT / "docs" / "own_base.md").read_text()
    for family in ("sd15", "sdxl"):
        found = figures[family]
        rows = [
            f"{gigabytes:.1f}"
            for way in found["gigabytes"]["in_all_by_rows"].values()
            for gigabytes in way.values()
        ]
        hours = [f"{value:.1f}" for name in ("hours_a_stage", "hours_to_draw_10000_pictures")
                 for value in found["recipe"][name].values()]  # fmt: skip
        for cells in (rows, hours):
            assert " | ".join(cells) in guide
