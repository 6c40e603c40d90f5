"""What a model card tells: base model, licences of what the adapter builds on, recipe, scores."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import tiny
from emoji_adapter.errors import InputError
from emoji_adapter.hub.card import model_card
from emoji_adapter.hub.figures import eval_results, markdown, read_evaluation

SCORES = Path(__file__).parents[2] / "benchmarks" / "results" / "evaluate_second_landing.json"


def config(**more):
    return tiny.adapter(tiny.unet(), **more).config


def test_metadata_is_what_the_hub_reads(tmp_path):
    card = model_card(config(), "org/name", "org/base", read_evaluation(SCORES))
    card.save(tmp_path / "README.md")
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.base_model, data["base_model_relation"]) == ("org/base", "adapter")
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "emoji_adapter",
        "text-to-image",
    )
    assert {"ip-adapter", "expression", "safetensors"} <= set(data.tags)
    assert data.model_name == "name"
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    last = json.loads(SCORES.read_text())["rows"][-1]
    assert scores["identity_position"] == last["id"]["position"]
    assert scores["expression_normalised"] == last["exp"]["normalised"]
    assert scores["identity_leak"] == last["leak"]["mean"]
    (position,) = [r for r in data.eval_results if r.metric_type == "identity_position"]
    assert position.metric_args == {"ci95": last["id"]["position_ci95"]}
    assert position.dataset_args["cells"] == last["n"]


def test_licences_of_what_it_builds_on_are_told():
    photos = config(
        identity_encoder="buffalo_l",
        expression_encoder="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        licence="my own terms",
    )
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    card = model_card(photos, "org/name", base)
    assert f"| base model | `{base}` | openrail++ |" in card.text
    assert "| `buffalo_l` | non-commercial research only (insightface) |" in card.text
    assert "| `laion/CLIP-ViT-H-14-laion2B-s32B-b79K` | mit |" in card.text
    assert "**non-commercial research only**" in card.text
    assert (card.data.license, card.data.license_name) == ("other", "my own terms")
    second = model_card(config(second_recogniser="glintr100@4ab1d6435d63"), "org/name", base).text
    assert "`glintr100@4ab1d6435d63` | non-commercial research only (insightface) |" in second
    assert "**non-commercial research only**" in second
    own = model_card(config(identity_encoder="mine@0123456789ab"), "org/name", base).text
    assert "its authors' own" in own
    assert "~/.insightface/models/mine" in own
    assert str(Path.home()) not in own


def test_recipe_use_and_scores_are_in_the_text():
    made = config(recipe="sd15_identity (seed 3)", commit="abc123")
    text = model_card(made, "org/name", "org/base", read_evaluation(SCORES), "other.safetensors").text
    assert "sd15_identity (seed 3)" in text
    assert "abc123" in text
    assert 'load_emoji_adapter("org/name", weight_name="other.safetensors")' in text
    assert "| emoji adapter | 0.183 (0.11 to 0.25) |" in text
    assert "drawn faces only" in text
    assert "## Scores" not in model_card(made, "org/name", "org/base").text


def test_the_table_has_a_line_for_each_row_and_leaves_out_what_was_not_measured():
    rows = [
        {"name": "plain", "n": 2, "exp": {"mean": 0.2, "ci95": [None, None]}},
        {"name": "adapter", "n": 2, "id": {"mean": 0.5, "ci95": [0.4, 0.6]}, "exp": {"mean": 0.0}},
    ]
    table = read_evaluation({"protocol": {"judges": "antelopev2"}, "rows": rows})
    assert markdown(table).splitlines() == [
        "|  | ID ↑ | Exp ↓ |",
        "| --- | --- | --- |",
        "| plain |  | 0.200 |",
        "| adapter | 0.500 (0.40 to 0.60) | 0.000 |",
    ]
    assert [(r.metric_type, r.metric_value) for r in eval_results(table)] == [
        ("identity_cosine", 0.5),
        ("expression_error", 0.0),
    ]
    assert {r.dataset_type for r in eval_results(table)} == {"emoji-adapter-acceptance"}


def test_who_judged_is_said_as_the_table_says_it():
    rows = [{"name": "adapter", "n": 2, "id": {"mean": 0.5}}]
    photographs = "By `emoji-adapter accept` on photographs of the publisher's choice, judges `buffalo_s`"
    for judges, said in (
        ("micro", "By `emoji-adapter evaluate`, judges `micro`, which no adapter was trained with; 95 %"),
        ("buffalo_s", f"{photographs}, of which the recogniser is none that the adapter listens to"),
    ):
        table = read_evaluation({"protocol": {"judges": judges}, "rows": rows})
        assert said in model_card(config(), "org/name", "org/base", table).text


@pytest.mark.parametrize("content", ["[]", '{"rows": []}', '{"protocol": {}, "rows": [{"name": "x"}]}'])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(InputError, match=r"scores.json holds no table of scores: expected 'protocol' and"):
        read_evaluation(tmp_path / "scores.json")
    with pytest.raises(InputError, match=r"Cannot read the evaluation .*none.json: No such file"):
        read_evaluation(tmp_path / "none.json")
