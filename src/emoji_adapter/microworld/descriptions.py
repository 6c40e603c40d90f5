"""Words for people and for what a face does, as captions of photos hold them.

The base model learns to draw from captions alone, so what they never say it draws by chance, and an adapter
has nothing to steer. Real captions tell of "a pale woman with curly red hair, eyes closed"; so do ours, each
trait by one word of its own. Prompts of evaluation never describe the person.
"""

from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import IDENTITY_NAMES

_SCALES: dict[str, tuple[str, ...]] = {
    "skin_tone": ("porcelain", "fair", "tanned", "bronze", "ebony"),
    "skin_hue": ("rosy", "", "golden"),
    "head_width": ("slim", "", "broad"),
    "head_length": ("compact", "", "oblong"),
    "jaw_width": ("tapered", "", "squarejawed"),
    "chin_width": ("pointed", "", "blunt"),
    "cheeks": ("hollow", "", "chubby"),
    "hair_kind": ("straight", "wavy", "curly"),
    "hair_length": ("cropped", "", "longhaired"),
    "hair_volume": ("sleek", "", "fluffy"),
    "hair_hue": ("raven", "brunette", "ginger", "blond", "silver", "pinkhaired", "bluehaired"),
    "hair_light": ("darkened", "", "lightened"),
    "fringe": ("", "", "", "fringed"),
    "parting": ("leftparted", "", "rightparted"),
    "eye_size": ("beady", "", "bigeyed"),
    "eye_spacing": ("closeset", "", "wideset"),
    "eye_tilt": ("droopyeyed", "", "cateyed"),
    "eye_hue": ("darkeyed", "hazeleyed", "greeneyed", "blueeyed", "violeteyed"),
    "nose_width": ("thinnosed", "", "widenosed"),
    "nose_length": ("snubnosed", "", "longnosed"),
    "mouth_width": ("smallmouthed", "", "widemouthed"),
    "lip_fullness": ("thinlipped", "", "fulllipped"),
    "brow_thickness": ("thinbrowed", "", "bushybrowed"),
    "brow_tilt": ("sternbrowed", "", "softbrowed"),
    "brow_height": ("lowbrowed", "", "highbrowed"),
    "beard": ("", "", "", "bearded"),
    "freckles": ("", "", "", "freckled"),
    "ear_size": ("smalleared", "", "bigeared"),
}
_OF_HAIR = {"hair_kind", "hair_length", "hair_volume", "hair_hue", "hair_light", "fringe", "parting"}
_BALD = -0.83
PERSON_WORDS: tuple[str, ...] = ("bald", *(word for scale in _SCALES.values() for word in scale if word))
"""Every word that `person_words` can give."""


def person_words(identity: Float[Tensor, " identity"]) -> list[str]:
    """One word for each trait of a person that is not middling; equal bins over [-1, 1]."""
    value = dict(zip(IDENTITY_NAMES, identity.tolist(), strict=True))
    bald = value["hair_kind"] < _BALD
    words = ["bald"] if bald else []
    for name, scale in _SCALES.items():
        place = min(int((value[name] + 1) / 2 * len(scale)), len(scale) - 1)
        if scale[place] and not (bald and name in _OF_HAIR):
            words.append(scale[place])
    return words


EXPRESSION_WORDS: tuple[str, ...] = (
    "tongue out", "eyes closed", "winking", "laughing", "smiling", "smirking", "sad", "mouth open", "angry",
    "surprised", "pouting", "puffed cheeks", "disgusted", "raised eyebrows", "looking left", "looking right",
    "looking up", "looking down", "neutral",
)  # fmt: skip
"""The coarse words; left and right as the viewer sees them."""


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


_PARTS: dict[str, str] = {
    "eyeBlink": "{} eye closed", "eyeWide": "{} eye wide", "eyeSquint": "{} eye squinting",
    "browDown": "{} brow lowered", "browOuterUp": "{} brow raised", "noseSneer": "{} nostril raised",
    "mouthSmile": "{} corner up", "mouthFrown": "{} corner down", "mouthStretch": "{} corner stretched",
    "jaw": "jaw to the {}",
}  # fmt: skip
_SIDES = {"Left": "right", "Right": "left"}  # the subject's own -> as the viewer sees it
_GRADES: dict[str, tuple[tuple[str, float, float], ...]] = {
    "jawOpen": (("mouth ajar", 0.2, 0.55), ("mouth gaping", 0.55, 2.0)),
    "browInnerUp": (("worried brows", 0.3, 2.0),),
}
PART_WORDS: tuple[str, ...] = (
    *(words.format(side) for words in _PARTS.values() for side in _SIDES.values()),
    *(word for grades in _GRADES.values() for word, _, _ in grades),
)
"""Every phrase that `part_words` can give."""


def part_words(expression: Float[Tensor, " drawn"]) -> list[str]:
    """What each part of the face does, side by side, as the viewer sees it; nothing for a neutral face."""
    value = dict(zip(DRAWN, expression.tolist(), strict=True))
    words = [
        words.format(seen)
        for name, words in _PARTS.items()
        for own, seen in _SIDES.items()
        if value[name + own] > 0.3
    ]
    grades = [(word, value[name], low, high) for name, g in _GRADES.items() for word, low, high in g]
    return words + [word for word, x, low, high in grades if low < x <= high]
