"""What a picture shows, in words: style, background, accessory, sometimes the expression; never who it is."""

import random

from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer.blendshapes import DRAWN
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
EXPRESSION_WORDS: tuple[str, ...] = (
    "tongue out", "eyes closed", "winking", "laughing", "smiling", "smirking", "sad", "mouth open", "angry",
    "surprised", "pouting", "puffed cheeks", "disgusted", "raised eyebrows", "looking left", "looking right",
    "looking up", "looking down", "neutral",
)  # fmt: skip
"""The coarse words that captions use; left and right as the viewer sees them."""


def expression_words(expression: Float[Tensor, " drawn"]) -> list[str]:
    """The coarse words that fit an expression, the most striking first."""
    value = dict(zip(DRAWN, expression.tolist(), strict=True))

    def both(name: str) -> tuple[float, float]:
        pair = value[name + "Left"], value[name + "Right"]
        return min(pair), max(pair)

    blink, smile, frown, down, wide = (
        both(n) for n in ("eyeBlink", "mouthSmile", "mouthFrown", "browDown", "eyeWide")
    )
    tests = {
        "tongue out": value["tongueOut"] > 0.3,
        "eyes closed": blink[0] > 0.7,
        "winking": blink[1] > 0.7 and blink[0] < 0.3,
        "laughing": smile[0] > 0.3 and value["jawOpen"] > 0.35,
        "smiling": smile[0] > 0.3 and value["jawOpen"] <= 0.35,
        "smirking": smile[1] > 0.4 and smile[0] < 0.2 and frown[1] < 0.3,
        "sad": frown[0] > 0.3,
        "mouth open": value["jawOpen"] > 0.4 and smile[1] < 0.3,
        "angry": down[0] > 0.4,
        "surprised": wide[0] > 0.4,
        "pouting": value["mouthPucker"] > 0.4,
        "puffed cheeks": value["cheekPuff"] > 0.4,
        "disgusted": both("noseSneer")[1] > 0.4,
        "raised eyebrows": both("browOuterUp")[0] > 0.4,
        "looking left": value["eyeLookInLeft"] > 0.6,
        "looking right": value["eyeLookOutLeft"] > 0.6,
        "looking up": value["eyeLookUpLeft"] > 0.6,
        "looking down": value["eyeLookDownLeft"] > 0.6,
    }
    return [word for word, holds in tests.items() if holds] or ["neutral"]


def prompt(style: str, background: str, accessory: str = "none", words: str = "") -> str:
    """The canonical prompt, e.g. `a watercolor portrait, blue background, wearing a hat, smiling`."""
    return ", ".join(
        p for p in (f"a {style} portrait", f"{background} background", _WEARING[accessory], words) if p
    )


def caption(parameters: FaceParameters, row: int, dice: random.Random, share_expression: float = 0.5) -> str:
    """One of many ways to say what a picture shows.

    Args:
        parameters: A batch, on the CPU.
        row: The picture.
        dice: Chooses the wording, and leaves parts out now and then.
        share_expression: How often the expression is named.
    """
    style, background = STYLES[int(parameters.style[row])], BACKGROUNDS[int(parameters.background[row])]
    parts = [dice.choice(_OPENINGS if dice.random() < 0.6 else _OPENINGS[:1]).format(s=style)]
    rest = (
        [dice.choice(_BACKDROPS if dice.random() < 0.5 else _BACKDROPS[:1]).format(b=background)]
        if dice.random() < 0.92
        else []
    )
    if parameters.accessory[row] > 0:
        rest.append(_WEARING[ACCESSORIES[int(parameters.accessory[row])]])
    if dice.random() < share_expression:
        words = expression_words(parameters.expression[row])
        rest.extend(words[: dice.choice((1, 2, 3))])
    dice.shuffle(rest)
    return ", ".join(parts + rest)


def captions(parameters: FaceParameters, seed: int, share_expression: float = 0.5) -> list[str]:
    """A caption for every picture of a batch."""
    dice = random.Random(seed)
    return [caption(parameters, row, dice, share_expression) for row in range(len(parameters))]


def contradiction(expression: Float[Tensor, " drawn"], dice: random.Random) -> str:
    """A word that does not fit the expression."""
    strong = [
        w
        for w in ("smiling", "sad", "angry", "surprised", "eyes closed", "laughing")
        if w not in expression_words(expression)
    ]
    return dice.choice(strong)


def vocabulary_text() -> list[str]:
    """Every word that captions can hold, for the tokenizer."""
    texts = [*STYLES, *BACKGROUNDS, *EXPRESSION_WORDS, *_WEARING.values(), *_OPENINGS, *_BACKDROPS]
    return [text.replace("{s}", "photo").replace("{b}", "red") for text in texts if text]
