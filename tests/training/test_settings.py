"""Recipes and overrides; what may change on resumption."""

import pytest

from emoji_adapter.config import to_mapping
from emoji_adapter.errors import InputError
from emoji_adapter.training.config import (
    DropConfig,
    TrainingConfig,
    load_recipe,
    recipe_names,
)
from emoji_adapter.training.resumption import changed_settings


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_loads_and_carries_its_name(name):
    assert load_recipe(name).recipe == name


def test_overrides_reach_into_nested_settings():
    config = load_recipe("micro_identity", ["steps=7", "drops.text=0.25", "learning_rate=1e-3"])
    assert (config.steps, config.drops.text, config.learning_rate) == (7, 0.25, 1e-3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("step=7", "unknown key 'step'.*'steps'"),
        ("drops.identiy=0.1", "unknown key 'identiy'.*'identity'"),
        ("steps=0", "steps must be above 0, got 0"),
        ("learning_rate=-1", "learning_rate must be above 0"),
        ("drops.text=1.5", "add up to at most 1"),
        ("blendshape_share=2", "blendshape_share and compound_share must be at least 0"),
        ("ema=1", "ema must lie in"),
        ("stage=swap", "one of 'identity', 'expression'"),
    ],
)
def test_bad_settings_are_refused_in_words(override, message):
    with pytest.raises(InputError, match=message):
        load_recipe("micro_identity", [override])


def test_the_expression_stage_needs_an_adapter_to_start_from():
    with pytest.raises(InputError, match="set start to the adapter of the identity stage"):
        TrainingConfig(stage="expression")


def test_the_ica_stage_needs_an_adapter_to_start_from():
    with pytest.raises(InputError, match="set start to the adapter of the expression stage"):
        TrainingConfig(stage="ica")


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match=r"no recipe 'micro_identty'.*micro_identity"):
        load_recipe("micro_identty")


def test_drops_above_one_in_sum_are_refused():
    with pytest.raises(InputError, match="add up to at most 1"):
        DropConfig(text=0.6, everything=0.5)


def test_only_settings_that_touch_the_weights_block_a_resumption():
    config = TrainingConfig(stage="identity")
    before = to_mapping(config)
    assert changed_settings(before, TrainingConfig(stage="identity", log_every=1, keep=9, compile=True)) == []
    changed = TrainingConfig(stage="identity", learning_rate=1e-3, drops=DropConfig(text=0.2))
    assert changed_settings(before, changed) == ["drops", "learning_rate"]
