"""What a picture shows, in words: style, background, accessory, and more or less of the face."""

import random

from jaxtyping import Float
from torch import Tensor

from emoji_adapter.microworld.descriptions import (
    EXPRESSION_WORDS,
    PART_WORDS,
    PERSON_WORDS,
    expression_words,
    part_words,
    person_words,
)
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

_WEARING = {
    "none": "",
    "glasses": "wearing glasses",
    "hat": "wearing a hat",
    "scarf": "wearing a scarf",
    "earrings": "wearing earrings",
}
_OPENINGS = (
    "a {s} portrait",
    "{s} portrait of a person",
    "a {s} picture of a person",
    "a {s} face",
    "{s}",
    "a person, {s} style",
)
_BACKDROPS = ("{b} background", "on a {b} background", "{b} backdrop", "in front of a {b} wall")
_MOST = 14
"""Words for a person; longer captions would leave few of the 77 states after their end."""


def prompt(style: str, background: str, accessory: str = "none", words: str = "") -> str:
    """The canonical prompt, e.g. `a watercolor portrait, blue background, wearing a hat, smiling`."""
    return ", ".join(
        p for p in (f"a {style} portrait", f"{background} background", _WEARING[accessory], words) if p
    )


def caption(parameters: FaceParameters, row: int, dice: random.Random, *, describe: float = 0.0) -> str:
    """One of many ways to say what a picture shows.

    Args:
        parameters: A batch, on the CPU.
        row: The picture.
        dice: Chooses the wording, and leaves parts out now and then.
        describe: How often the person is described and the expression named in detail, as the base model
            needs it. At 0 the expression is named coarsely in half of the captions and the person never.
    """
    style, background = STYLES[int(parameters.style[row])], BACKGROUNDS[int(parameters.background[row])]
    parts = [dice.choice(_OPENINGS if dice.random() < 0.6 else _OPENINGS[:1]).format(s=style)]
    rest = (
        [dice.choice(_BACKDROPS if dice.random() < 0.5 else _BACKDROPS[:1]).format(b=background)]
        if dice.random() < 0.92
        else []
    )
    if dice.random() < describe:
        rest.append(" ".join(_some(person_words(parameters.identity[row]), dice)))
    if parameters.accessory[row] > 0:
        rest.append(_WEARING[ACCESSORIES[int(parameters.accessory[row])]])
    if dice.random() < (describe or 0.5):
        words = expression_words(parameters.expression[row])
        rest.extend(words[: dice.choice((1, 2, 3))])
    if dice.random() < describe:
        parts_of_face = part_words(parameters.expression[row])
        rest.extend(parts_of_face if dice.random() < 0.7 else _some(parts_of_face, dice))
    dice.shuffle(rest)
    return ", ".join(parts + rest)


def _some(words: list[str], dice: random.Random) -> list[str]:
    """At least two words, if there are so many, in any order."""
    most = min(_MOST, len(words))
    return dice.sample(words, dice.randint(min(2, most), most))


def captions(parameters: FaceParameters, seed: int, *, describe: float = 0.0) -> list[str]:
    """A caption for every picture of a batch; pictures in the same row of two batches are worded alike."""
    return [
        caption(parameters, row, random.Random(seed * 1_000_003 + row), describe=describe)
        for row in range(len(parameters))
    ]


def contradiction(expression: Float[Tensor, " drawn"], dice: random.Random) -> str:
    """A word that does not fit the expression."""
    strong = [
        w
        for w in ("smiling", "sad", "angry", "surprised", "eyes closed", "laughing")
        if w not in expression_words(expression)
    ]
    return dice.choice(strong)


PHRASES: tuple[str, ...] = (*EXPRESSION_WORDS, *PART_WORDS)
"""Phrases of captions whose words mean something only together (`left eye closed, right brow raised`)."""


def vocabulary_text() -> list[str]:
    """Every word that captions can hold, for the tokenizer."""
    texts = [*STYLES, *BACKGROUNDS, *PERSON_WORDS, *PHRASES, *_WEARING.values(), *_OPENINGS, *_BACKDROPS]
    return [text.replace("{s}", "photo").replace("{b}", "red") for text in texts if text]
