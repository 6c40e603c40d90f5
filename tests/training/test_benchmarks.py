"""What benchmarks of training work out, on the tiny world; and the figures that the guide quotes."""

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

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


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Imports a module of `benchmarks/`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def results(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["figures"]


def test_every_stage_on_sdxl_fits_a_card_of_24_gigabytes_and_the_guide_quotes_the_figures():
    figures, guide = results("memory"), (ROOT / "docs" / "own_base.md").read_text()
    assert figures["how"].startswith("computed")
    assert figures["sdxl"]["recipe"]["gradient_checkpointing"]
    for family in ("sd15", "sdxl"):
        found, gigabytes = figures[family], figures[family]["gigabytes"]
        assert set(gigabytes["stages"]) == {"identity", "expression", "takes", "ica", "feedback"}
        least = [ways["gradient_checkpointing"] for ways in gigabytes["stages"].values()]
        assert max(*least, gigabytes["previews"]) <= figures["limit_gigabytes"] == 24
        rows = [value for way in gigabytes["in_all_by_rows"].values() for value in way.values()]
        hours = [value for name in ("hours_a_stage", "hours_to_draw_10000_pictures")
                 for value in found["recipe"][name].values()]  # fmt: skip
        ways = [[stage[way] for stage in gigabytes["stages"].values()] for way in gigabytes["stages"]["ica"]]
        for cells in (rows, hours, *ways):
            assert " | ".join(f"{value:.1f}" for value in cells) in guide


def test_a_measured_step_takes_what_is_computed():
    for case in results("memory_check")["cases"].values():
        assert case["measured_gigabytes"] == pytest.approx(case["computed_gigabytes"], rel=0.1)


COMPUTE = "import memory, sys; print(memory.highest('sdxl', memory.recipe_of('sdxl', sys.argv[1])))"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["identity", "expression", "takes", "ica", "feedback"])
def test_a_step_of_each_stage_on_sdxl_fits_a_card_of_24_gigabytes(stage):
    run = [sys.executable, "-c", COMPUTE, stage]  # a process of its own: tests check types at every call
    done = subprocess.run(run, cwd=ROOT / "benchmarks", check=True, capture_output=True, text=True)
    needed = int(done.stdout.split()[-1]) / 1e9
    published = results("memory")["sdxl"]["gigabytes"]["stages"][stage]["gradient_checkpointing"]
    assert needed <= 24
    assert needed == pytest.approx(published, rel=0.02)


def squares(checkpointed):
    """A chain whose backward pass holds more than its forward pass; all of the same size."""
    x = torch.ones(1 << 16, requires_grad=True)
    for _ in range(4):
        x = checkpoint(lambda y: (y * y) * (y * y), x, use_reentrant=False) if checkpointed else x * x * x
    x.sum().backward()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_bytes_are_counted_alike_on_fake_tensors(benchmark_modules, checkpointed):
    live, found = benchmark_modules("live"), []
    for world in (contextlib.nullcontext(), FakeTensorMode()):
        with world, live.Live(stride=0) as counted:
            squares(checkpointed)
            found.append(counted.highest)
    assert found[0] == found[1] > 4 << 18


def test_bytes_are_counted_until_they_are_freed(benchmark_modules):
    with benchmark_modules("live").Live(stride=0) as counted:
        kept = torch.ones(1000)
        view = kept[:10]
        torch.ones(1000)
        assert (counted.now, counted.highest) == (4000, 8000)
        circle = [torch.ones(5000)]
        circle.append(circle)
        del circle
        more = torch.ones(3000)
        assert counted.highest == 24000  # in use until the circle was left to the collector
        del kept, more
        counted.forget_highest()
        assert counted.now == 4000
        del view
        assert counted.now == 0


def test_a_card_copies_for_group_norm_and_convolution(benchmark_modules):
    live, size = benchmark_modules("live"), 4 * 8 * 16
    last = torch.rand(1, 8, 4, 4).to(memory_format=torch.channels_last)
    conv = torch.nn.Conv2d(8, 8, 1, bias=False).to(memory_format=torch.channels_last)
    with torch.no_grad(), live.AsOnACard():
        assert torch.nn.functional.group_norm(last, 2).is_contiguous()
        for given, copied in ((last, 0), (last.contiguous(), size)):
            with live.Live(card=True, stride=0) as counted:
                conv(given)
            assert counted.highest == size + copied  # the result, and for the moment a copy
