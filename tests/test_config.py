"""Settings: unknown keys, types, YAML there and back, the packaged weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from emoji_adapter import config
from emoji_adapter.errors import InputError, WeightsNotFoundError


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Settings:
    steps: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    layers: tuple[str, ...] = ()
    precision: Literal["no", "bf16"] = "no"
    resume: Path | None = None
    ema: bool = True


def test_a_full_mapping_becomes_the_dataclass():
    made = config.from_mapping(
        Settings,
        {"steps": 3, "optimizer": {"learning_rate": 1, "betas": [0, 0.5]}, "layers": ["a"], "resume": "run"},
    )
    assert made == Settings(3, Optimizer(1.0, (0.0, 0.5)), ("a",), resume=Path("run"))
    assert isinstance(made.optimizer.learning_rate, float)


def test_an_unknown_key_names_the_nearest_valid_one():
    with pytest.raises(InputError, match=r"train\.yaml has the unknown key 'step'. Did you mean 'steps'"):
        config.from_mapping(Settings, {"step": 3}, name="train.yaml")


def test_an_unknown_nested_key_is_refused_with_its_place():
    with pytest.raises(
        InputError, match=r"config\.optimizer has the unknown key 'learn_rate'.*'learning_rate'"
    ):
        config.from_mapping(Settings, {"steps": 1, "optimizer": {"learn_rate": 1.0}})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "lacks steps"),
        ({"steps": "3"}, r"config\.steps must be int, got '3'"),
        ({"steps": True}, r"config\.steps must be int, got True"),
        ({"steps": 1, "precision": "fp8"}, "one of 'no', 'bf16', got 'fp8'"),
        ({"steps": 1, "optimizer": {"betas": [0.9]}}, r"betas must have 2 items, got 1"),
        ({"steps": 1, "layers": "down"}, r"layers must be a list, got 'down'"),
        ({"steps": 1, "resume": 4}, r"resume must be .*got 4"),
        ({"steps": 1, "ema": 1}, r"ema must be bool, got 1"),
        ([1], "must be a mapping"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_values_are_refused_in_words(mapping, message):
    with pytest.raises(InputError, match=message):
        config.from_mapping(Settings, mapping)


def test_yaml_there_and_back(tmp_path):
    settings = Settings(7, Optimizer(3e-5, (0.8, 0.9)), ("mid", "up"), "bf16", Path("out"), False)
    config.save_config(settings, tmp_path / "run.yaml")
    assert config.load_config(Settings, tmp_path / "run.yaml") == settings
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_exponents_without_a_dot_are_numbers_and_overrides_win(tmp_path):
    (tmp_path / "run.yaml").write_text("steps: 5\noptimizer:\n  learning_rate: 1e-3\n")
    assert config.load_config(Settings, tmp_path / "run.yaml").optimizer.learning_rate == 1e-3
    changed = config.load_config(Settings, tmp_path / "run.yaml", ["optimizer.learning_rate=2e-4", "steps=6"])
    assert (changed.steps, changed.optimizer.learning_rate) == (6, 2e-4)
    with pytest.raises(InputError, match="must read key=value"):
        config.load_config(Settings, tmp_path / "run.yaml", ["steps"])
    with pytest.raises(InputError, match="reaches into 'steps'"):
        config.load_config(Settings, tmp_path / "run.yaml", ["steps.more=1"])


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("- 1", "must hold a mapping")])
def test_broken_yaml_is_refused(tmp_path, text, message):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        config.read_yaml(tmp_path / "run.yaml")
    with pytest.raises(InputError, match="Cannot read the settings file"):
        config.read_yaml(tmp_path / "missing.yaml")


def test_the_packaged_weights_are_beside_the_source_or_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv(config.WEIGHTS_VARIABLE, raising=False)
    assert config.packaged_weights() == Path(__file__).parents[1] / "weights"
    monkeypatch.setenv(config.WEIGHTS_VARIABLE, str(tmp_path))
    assert config.packaged_weights() == tmp_path
    with pytest.raises(WeightsNotFoundError, match=r"no 'faces'.*EMOJI_ADAPTER_WEIGHTS"):
        config.packaged_part("faces")
    (tmp_path / "micro" / "faces").mkdir(parents=True)
    assert config.packaged_part("faces") == tmp_path / "micro" / "faces"
