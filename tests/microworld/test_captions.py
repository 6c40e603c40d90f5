"""Captions name the scene, never the person; the tokenizer knows their words."""

import random

import torch

from emoji_adapter.microworld.captions import caption, contradiction, expression_words, prompt
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.language import make_tokenizer, tokenize
from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import sample_identity
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES


def expression(**values: float) -> torch.Tensor:
    return torch.tensor([values.get(name, 0.0) for name in DRAWN])


def test_words_of_expressions() -> None:
    assert expression_words(expression()) == ["neutral"]
    assert expression_words(expression(mouthSmileLeft=1, mouthSmileRight=1)) == ["smiling"]
    assert expression_words(expression(mouthSmileLeft=1, mouthSmileRight=1, jawOpen=1))[0] == "laughing"
    assert expression_words(expression(eyeBlinkLeft=1)) == ["winking"]
    assert expression_words(expression(eyeLookOutLeft=1, eyeLookInRight=1)) == ["looking right"]


def test_the_person_does_not_change_the_caption() -> None:
    one = pictures("train", 20, 0)
    other = one.replace(identity=sample_identity(20, torch.Generator().manual_seed(1)))
    for row in range(20):
        assert caption(one, row, random.Random(row)) == caption(other, row, random.Random(row))


def test_captions_name_the_style() -> None:
    drawn = pictures("train", 40, 0)
    dice = random.Random(0)
    texts = [caption(drawn, row, dice) for row in range(40)]
    assert all(STYLES[int(drawn.style[row])] in text for row, text in enumerate(texts))
    named = [BACKGROUNDS[int(drawn.background[row])] in text for row, text in enumerate(texts)]
    assert sum(named) > 30


def test_contradictions_contradict() -> None:
    smiling = expression(mouthSmileLeft=1, mouthSmileRight=1)
    assert {contradiction(smiling, random.Random(i)) for i in range(30)} == {
        "sad", "angry", "surprised", "eyes closed", "laughing",
    }  # fmt: skip


def test_tokenizer_knows_the_words_and_spells_the_others() -> None:
    tokenizer = make_tokenizer()
    known = tokenizer.tokenize(prompt("watercolor", "blue", "hat", "tongue out"))
    assert "watercolor</w>" in known
    assert "tongue</w>" in known
    assert len(tokenizer.tokenize("zebra")) > 1
    ids = tokenize(tokenizer, ["a photo portrait", ""])
    assert ids.shape == (2, 77)
    assert int(ids[1, 0]) == tokenizer.bos_token_id
    assert (ids[1, 1:] == tokenizer.eos_token_id).all()
