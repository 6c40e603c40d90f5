"""What captions name, and whether the tokenizer knows their words."""

import random

import torch

from emoji_adapter.microworld.captions import caption, captions, contradiction, prompt, vocabulary_text
from emoji_adapter.microworld.descriptions import PERSON_WORDS, expression_words, part_words, person_words
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.language import make_tokenizer, tokenize
from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import IDENTITY_NAMES, sample, sample_identity
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES


def expression(**values: float) -> torch.Tensor:
    return torch.tensor([values.get(name, 0.0) for name in DRAWN])


def test_words_of_expressions() -> None:
    assert expression_words(expression()) == ["neutral"]
    assert expression_words(expression(mouthSmileLeft=1, mouthSmileRight=1)) == ["smiling"]
    assert expression_words(expression(mouthSmileLeft=1, mouthSmileRight=1, jawOpen=1))[0] == "laughing"
    assert expression_words(expression(eyeBlinkLeft=1)) == ["winking"]
    assert expression_words(expression(eyeLookOutLeft=1, eyeLookInRight=1)) == ["looking right"]


def person(**values: float) -> torch.Tensor:
    return torch.tensor([values.get(name, 0.0) for name in IDENTITY_NAMES])


def test_parts_of_a_face_are_named_by_side_as_seen() -> None:
    assert part_words(expression()) == []
    assert part_words(expression(eyeBlinkLeft=1, browDownRight=1)) == [
        "right eye closed",
        "left brow lowered",
    ]
    assert part_words(expression(jawOpen=0.3)) == ["mouth ajar"]
    assert part_words(expression(jawOpen=1.0)) == ["mouth gaping"]


def test_people_are_described_by_what_can_be_seen_of_them() -> None:
    middling = person_words(person())
    assert {"tanned", "wavy", "blond", "greeneyed"} == set(middling)
    assert {"porcelain", "raven", "freckled", "bigeared"} <= set(
        person_words(person(skin_tone=-1, hair_hue=-1, freckles=1, ear_size=1))
    )
    bald = person_words(person(hair_kind=-1, hair_hue=-1, fringe=1))
    assert "bald" in bald
    assert not {"raven", "fringed", "straight"} & set(bald)
    assert len(set(PERSON_WORDS)) == len(PERSON_WORDS)


def test_captions_of_the_base_model_describe_the_person_and_fit_the_text_encoder() -> None:
    drawn = sample(500, torch.Generator().manual_seed(0))
    texts = captions(drawn, 0, describe=0.7)
    described = sum(any(word in PERSON_WORDS for word in text.replace(",", "").split()) for text in texts)
    assert 300 < described < 400
    tokenizer = make_tokenizer()
    assert all(len(tokenizer(text).input_ids) < 70 for text in texts)
    known = {word for text in vocabulary_text() for word in text.replace(",", "").split()}
    assert {word for text in texts for word in text.replace(",", "").split()} <= known
    assert all(len(tokenizer.tokenize(word)) == 1 for word in known)


def test_other_captions_do_not_name_the_person() -> None:
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
