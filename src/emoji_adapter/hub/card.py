"""The model card of an adapter: metadata for the Hub, and what people need to know."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from emoji_adapter.faces.packs import MICRO, how_to_get
from emoji_adapter.hub.figures import eval_results, is_drawn, markdown
from emoji_adapter.hub.licences import HUB_LICENCES, non_commercial, parts

_TAGS = ("emoji-adapter", "ip-adapter", "face", "expression", "diffusers", "safetensors")
_FAMILIES = {"sd15": "stable-diffusion", "sd2": "stable-diffusion", "sdxl": "stable-diffusion-xl"}


def model_card(
    config: Mapping[str, Any],
    repo: str,
    base_model: str,
    evaluation: Mapping[str, Any] | None = None,
    weight_name: str | None = None,
) -> ModelCard:
    """The card of an adapter.

    Args:
        config: its configuration.
        repo: id of the repository that it is for, "owner/name".
        base_model: Hub id of the base model.
        evaluation: table of scores, from `read_evaluation`; its last row becomes `eval_results`.
        weight_name: name of the weight file where it is not the usual one.
    """
    licence = config["licence"].lower() or "unknown"
    known = licence in HUB_LICENCES
    data = ModelCardData(
        model_name=repo.rpartition("/")[2],
        base_model=base_model,
        base_model_relation="adapter",
        library_name="emoji_adapter",
        license=licence if known or licence == "unknown" else "other",
        license_name=None if known or licence == "unknown" else licence,
        pipeline_tag="text-to-image",
        tags=[*_TAGS, *filter(None, [_FAMILIES.get(config["base_family"])])],
        eval_results=eval_results(evaluation) if evaluation else None,
    )
    sections = [
        _about(config, base_model),
        _use(repo, base_model, weight_name),
        _builds_on(config, base_model),
        _recipe(config),
    ]
    if evaluation:
        sections.append(_scores(evaluation))
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {data.model_name}\n\n" + "\n\n".join(sections) + "\n")


def _about(config: Mapping[str, Any], base_model: str) -> str:
    identity, expression = (len(config[f"{branch}_layers"] or []) for branch in ("identity", "expression"))
    return (
        f"A dual adapter for `{base_model}`: **who** (identity, {identity} layers, "
        f"{config['identity_tokens']} tokens) and **what the face does** (expression, {expression} layers, "
        f"{config['expression_tokens']} tokens), each from a picture, with a free prompt. The base model "
        "stays frozen."
    )


def _use(repo: str, base_model: str, weight_name: str | None) -> str:
    named = f', weight_name="{weight_name}"' if weight_name else ""
    return f"""## Use

```python
from emoji_adapter import EmojiDiffPipeline  # pip install emoji_adapter

pipe = EmojiDiffPipeline.from_pretrained("{base_model}")
pipe.load_emoji_adapter("{repo}"{named})
image = pipe("a watercolor portrait", identity_image="me.png", expression="anybody.png").images[0]
```"""


def _builds_on(config: Mapping[str, Any], base_model: str) -> str:
    lines = [f"| {part.role} | `{part.name}` | {part.licence} |" for part in parts(config, base_model)]
    text = "\n".join(
        ["## Licences", "", f"This adapter: {config['licence'] or 'not said'}. Trained with, and needs:",
         "", "| what | which | licence of the weights |", "| --- | --- | --- |", *lines]
    )  # fmt: skip
    pack = config["identity_encoder"]
    text += f"\n\nThe face pack `{pack}` cannot be exchanged for another one. {_public(how_to_get(pack))}"
    if non_commercial(config):
        text += " So pictures of people can be drawn with this adapter for **non-commercial research only**."
    if pack == MICRO:
        text += " It knows **drawn faces only**: photographs of people are not recognised."
    return text


def _recipe(config: Mapping[str, Any]) -> str:
    told = {"Recipe": config["recipe"], "Commit of emoji_adapter": config["commit"]}
    lines = [f"- {name}: {value}" for name, value in told.items() if value]
    return "\n".join(["## Training", "", *(lines or ["- The file does not tell how it was trained."])])


def _scores(evaluation: Mapping[str, Any]) -> str:
    protocol = evaluation["protocol"]
    if is_drawn(protocol):
        how = "`emoji-adapter evaluate`, judges `micro`, which no adapter was trained with"
    else:
        how = (
            "`emoji-adapter accept` on photographs of the publisher's choice, judges "
            f"`{protocol.get('judges')}`, of which the recogniser is none that the adapter listens to"
        )
    return f"## Scores\n\nBy {how}; 95 % intervals in brackets.\n\n{markdown(evaluation)}"


def _public(words: str) -> str:
    """Without the folders of this machine."""
    from emoji_adapter.faces.packs import home

    return words.replace(str(home()), "~/.insightface/models")
