"""The embedded weights keep to their budget and say where they come from."""

import json
from pathlib import Path

from emoji_adapter.config import packaged_weights, read_yaml
from emoji_adapter.microworld.build import STAGES

WEIGHTS = packaged_weights() / "micro"


def test_budget() -> None:
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 15_000_000
    assert sum(sizes.values()) <= 40_000_000


def test_no_pickles() -> None:
    suffixes = {path.suffix for path in WEIGHTS.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".onnx", ".txt"}


def test_the_card_tells_of_every_stage() -> None:
    card = json.loads(Path(WEIGHTS / "card.json").read_text())
    assert card["licence"] == "Apache-2.0"
    assert set(card["stages"]) == set(STAGES)
    for stage in card["stages"].values():
        assert {"recipe", "seed", "steps", "date", "machine", "batch"} <= set(stage)


def test_every_adapter_of_the_ablation_is_there_packed() -> None:
    rows = read_yaml(Path(__file__).parents[2] / "benchmarks" / "ablation.yaml")["rows"]
    wanted = {Path(row["adapter"]).name for row in rows if row.get("adapter", "micro") != "micro"}
    assert {path.stem for path in (WEIGHTS.parent / "ablation").glob("*.safetensors")} == wanted
