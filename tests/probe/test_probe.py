"""The probe finds planted answers: a layer that alone matters in a real pipeline, and layers with known
figures.
"""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.evaluation import planted

import tiny
from emoji_adapter.errors import DataError, InputError, NoFaceError
from emoji_adapter.metrics.records import Readings
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline
from emoji_adapter.probe.heat_map import COLUMNS, GAIN, heat_map
from emoji_adapter.probe.rule import Rule, as_json, carried, choose
from emoji_adapter.probe.runner import LayerEffect, Measures, Probed, Settings, measures, pictures_of, probe

CELLS = planted.cells()[:4]
PICTURE = Image.new("RGB", (16, 16), "teal")
QUICK = Settings(steps=1, guidance=1.0, batch=3)


class ColourJudges:
    """Read colours: the mean of 33 places is the expression, which style it is the brightness decides."""

    name = "colours"
    fingerprint = "colours"

    def read(self, images, *, count_faces=True):
        pixels = np.stack([np.asarray(image, np.float64) / 255 for image in images])
        n = len(pixels)
        return Readings(
            embedding=pixels.mean((1, 2)),
            blendshapes=pixels.reshape(n, -1)[:, : 33 * 23].reshape(n, 33, 23).mean(2),
            style=np.array(["noir" if value < 0.5 else "neon" for value in pixels.mean((1, 2, 3))]),
            background=np.array(["red"] * n),
            accessory=np.array(["none"] * n),
            skin=np.zeros((n, 2)),
            pose=np.zeros((n, 3)),
            faces=np.ones(n, int),
        )

    def texts(self, prompts):
        return None

    def errors(self, seed):
        return {}


@dataclasses.dataclass
class Asks:
    """A benchmark of pictures that nobody looks at: the pipeline below reads cells by their pictures."""

    cells: list
    name: str = "asks"

    def photo(self, number):
        return PICTURE

    def template(self, number):
        return PICTURE

    oracle = photo


def make_pipe(monkeypatch, adapter_of):
    pipe = EmojiDiffSDPipeline(**tiny.components())
    pipe.load_emoji_adapter(adapter_of(pipe.unet))
    monkeypatch.setattr(pipe, "encode_identity", lambda picture: tiny.identities(1)[0])
    monkeypatch.setattr(pipe, "encode_expression", lambda picture: tiny.expressions(1)[0])
    return pipe


def only(layer):
    """An adapter whose expression values are 0 but in one layer, where they are large."""

    def make(unet):
        adapter = tiny.adapter(unet)
        for name in adapter.to_v_expression.dims:
            matrix = adapter.to_v_expression[name]
            matrix.weight.data.mul_(20.0) if name == layer else matrix.weight.data.zero_()
        return adapter

    return make


def answered(pipe):
    """Cells whose truth is what full control draws: Exp is then 0 everywhere, and above elsewhere."""
    pipe.set_emoji_adapter_scale(expression=1.0)
    pictures = pipe(
        [cell.prompt for cell in CELLS],
        identity_embeds=tiny.identities(1),
        expression_embeds=tiny.expressions(1),
        generator=[torch.Generator().manual_seed(cell.seed) for cell in CELLS],
        num_inference_steps=QUICK.steps,
        guidance_scale=QUICK.guidance,
    ).images
    truth = ColourJudges().read(pictures).blendshapes
    return Asks([dataclasses.replace(cell, blendshapes=row) for cell, row in zip(CELLS, truth, strict=True)])


LAYERS = list(tiny.adapter(tiny.unet()).config["expression_layers"])


@pytest.mark.parametrize("layer", LAYERS)
def test_the_only_layer_that_matters_is_found(monkeypatch, layer):
    pipe = make_pipe(monkeypatch, only(layer))
    benchmark = answered(pipe)
    told = []
    probed = probe(pipe, benchmark, ColourJudges(), QUICK, lambda name, count: told.append((name, count)))
    assert probed.everywhere.expression == pytest.approx(0, abs=1e-9)
    assert probed.nowhere.expression > 1e-4
    shares = {effect.layer: carried(probed, effect).expression for effect in probed.effects}
    assert shares == pytest.approx({name: float(name == layer) for name in LAYERS}, abs=1e-6)
    assert choose(probed) == [layer]
    assert sum(count for _, count in told) == pictures_of(pipe, benchmark) == 4 * (2 + 2 * len(LAYERS))
    assert {name for name, _ in told} == {"nowhere", "everywhere", *LAYERS}
    assert pipe._emoji_scales["expression"] == 1.0


def test_the_weights_of_a_layer_are_counted(monkeypatch):
    pipe = make_pipe(monkeypatch, only(LAYERS[0]))
    probed = probe(pipe, answered(pipe), ColourJudges(), QUICK)
    branch = pipe.emoji_adapter
    total = sum(p.numel() for m in (branch.to_k_expression, branch.to_v_expression) for p in m.parameters())
    assert sum(effect.parameters for effect in probed.effects) == total


def test_cells_without_a_face_are_left_out_and_none_at_all_is_refused(monkeypatch):
    pipe = make_pipe(monkeypatch, only(LAYERS[0]))
    benchmark = answered(pipe)
    seen = []

    def some(picture):
        seen.append(picture)
        if len(seen) % 2:
            raise NoFaceError("none")
        return tiny.expressions(1)[0]

    monkeypatch.setattr(pipe, "encode_expression", some)
    assert probe(pipe, benchmark, ColourJudges(), QUICK).cells == 2

    def none(picture):
        raise NoFaceError("none")

    monkeypatch.setattr(pipe, "encode_expression", none)
    with pytest.raises(DataError, match="None of the 4 cells of the asks benchmark"):
        probe(pipe, benchmark, ColourJudges(), QUICK)


def test_an_adapter_without_an_expression_branch_is_refused():
    pipe = SimpleNamespace(emoji_adapter=tiny.adapter(tiny.unet(), expression_layers=[]))
    with pytest.raises(InputError, match="no expression branch"):
        probe(pipe, Asks(CELLS), ColourJudges(), QUICK)


def test_measures_are_the_means_of_what_judges_read():
    read = ColourJudges().read([Image.new("RGB", (16, 16), "white")] * len(CELLS))
    found = measures(read, read, CELLS)
    assert found.expression == pytest.approx(np.mean([1 - cell.blendshapes.mean() for cell in CELLS]))
    assert found.identity == pytest.approx(1)
    assert found.style == pytest.approx(np.mean([cell.style == "neon" for cell in CELLS]))
    assert found.background == 1.0


def effect(layer, alone, without, parameters=100):
    """A layer with (Exp, style accuracy) where the expression is there alone, and everywhere but there."""
    return LayerEffect(
        layer,
        parameters,
        alone=Measures(alone[0], 0.8, alone[1], 0.9),
        without=Measures(without[0], 0.8, without[1], 0.9),
    )


PROBED = Probed(
    nowhere=Measures(0.20, 0.8, 0.99, 0.9),
    everywhere=Measures(0.10, 0.8, 0.85, 0.9),
    effects=(
        effect("down", (0.19, 0.99), (0.105, 0.85)),  # a little expression
        effect("mid", (0.20, 0.99), (0.10, 0.85)),  # nothing
        effect("style", (0.14, 0.89), (0.15, 0.95)),  # half of the control, ten points of style
        effect("up", (0.15, 0.98), (0.14, 0.85)),  # nearly half of the control, no style
    ),
    cells=72,
)


def test_layers_that_carry_expression_and_not_style_are_chosen():
    figures = {item.layer: carried(PROBED, item) for item in PROBED.effects}
    assert figures["up"].expression == pytest.approx((0.5 + 0.4) / 2)
    assert figures["style"].style == pytest.approx((0.10 + 0.10) / 2)
    assert choose(PROBED) == ["down", "up"]
    assert choose(PROBED, Rule(least=0.5)) == ["up"]
    assert choose(PROBED, Rule(style=0.2)) == ["style", "up"]  # in the order of the U-Net
    assert choose(PROBED, Rule(budget=0.25)) == ["up"]


def test_when_every_layer_costs_style_the_strongest_is_taken():
    spoiled = dataclasses.replace(PROBED, effects=(PROBED.effects[1], PROBED.effects[2]))
    assert choose(spoiled) == ["style"]


def test_an_adapter_that_controls_nothing_is_refused():
    idle = dataclasses.replace(PROBED, everywhere=PROBED.nowhere)
    with pytest.raises(InputError, match="does not bring pictures nearer to their templates"):
        choose(idle)


def test_the_result_is_json_with_the_choice_and_its_reasons():
    result = json.loads(json.dumps(as_json(PROBED, choose(PROBED), Rule(), {"seed": 3})))
    assert result["chosen"] == ["down", "up"]
    assert result["protocol"] == {"seed": 3, "cells": 72}
    assert result["rule"] == {"least": 0.1, "style": 0.05, "budget": 0.5}
    up = result["layers"][3]
    assert (up["layer"], up["alone"]["expression"], up["without"]["style"]) == ("up", 0.15, 0.85)
    assert up["carries"]["expression"] == pytest.approx(0.45)


def test_the_heat_map_is_darkest_where_the_most_is_carried():
    picture = np.asarray(heat_map(PROBED, ["up"]).convert("RGB")).astype(int)
    exact = (np.abs(picture - np.array(GAIN)).sum(-1) < 3).sum(axis=1)
    row = np.flatnonzero(exact > 40)
    assert len(row) > 10
    assert row.max() - row.min() < 24
    height = (picture.shape[0] - 28 - 8) / len(PROBED.effects)
    assert int((row.mean() - 28) // height) == 2  # "style" has the largest share of the control
    assert len(COLUMNS) == 4
