"""A face in numbers, beside its caption: what the base model hears while it learns, and is never asked later.

Real checkpoints can be steered to faces that no words name: textual inversion finds tokens for them (Gal et
al. 2022, arXiv 2208.01618), adapters do. A small model that hears a few hundred words only has no such
directions. So rows of its training hold further tokens, small functions of the renderer's numbers; they are
dropped often, and thrown away with this module: the checkpoint hears text alone. Our choice, see ADR 16.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from emoji_adapter.microworld.stages.language import WIDTH
from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import IDENTITY_NAMES, FaceParameters

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_EXPRESSION = (
    tuple(f"eye{part}Left" for part in _EYE),
    tuple(f"eye{part}Right" for part in _EYE),
    ("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    ("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthStretchLeft",
     "mouthStretchRight"),
    ("jawLeft", "jawRight", "jawOpen", "tongueOut", "mouthPucker", "cheekPuff", "noseSneerLeft",
     "noseSneerRight"),
)  # fmt: skip
_IDENTITY = (
    ("skin_tone", "skin_hue", "freckles", "lip_hue"),
    ("head_width", "head_length", "jaw_width", "chin_width", "cheeks", "ear_size"),
    ("hair_kind", "hair_length", "hair_volume", "hair_hue", "hair_light", "fringe", "parting"),
    ("eye_size", "eye_spacing", "eye_tilt", "eye_hue", "eye_light"),
    ("nose_width", "nose_length", "mouth_width", "lip_fullness"),
    ("brow_thickness", "brow_tilt", "brow_height", "beard"),
)  # fmt: skip


def _places(groups: tuple[tuple[str, ...], ...], names: tuple[str, ...]) -> list[list[int]]:
    return [[names.index(name) for name in group] for group in groups]


_EXPRESSION_AT, _IDENTITY_AT = _places(_EXPRESSION, DRAWN), _places(_IDENTITY, IDENTITY_NAMES)
_HAIR = 2
DROPS = {"expression": 0.25, "identity": 0.25, "scene": 0.5}
"""How often a row is not told its expression, its person, and each of pose, light and variation."""


class Heard(NamedTuple):
    """What a row's cross-attention hears.

    Attributes:
        states: (size, tokens, width).
        mask: (size, tokens), what is heard; None for all.
    """

    states: Tensor
    mask: Tensor | None


class _Group(nn.Module):
    """Some numbers as tokens."""

    def __init__(self, numbers: int, tokens: int):
        super().__init__()
        self.tokens = tokens
        self.net = nn.Sequential(nn.Linear(numbers, WIDTH), nn.SiLU(), nn.Linear(WIDTH, tokens * WIDTH))
        self.skip = nn.Linear(numbers, tokens * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.norm((self.net(numbers) + self.skip(numbers)).unflatten(-1, (self.tokens, -1)))


class Numbers(nn.Module):
    """Tokens of expression (10), person (7) and scene (3: pose, light, variation)."""

    def __init__(self) -> None:
        super().__init__()
        self.expression = nn.ModuleList(_Group(len(names), 2) for names in _EXPRESSION)
        self.identity = nn.ModuleList(
            _Group(len(names), 2 if place == _HAIR else 1) for place, names in enumerate(_IDENTITY)
        )
        self.scene = nn.ModuleList(_Group(numbers, 1) for numbers in (6, 3, 8))

    def forward(self, faces: FaceParameters) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of expression, person and scene, each (batch, tokens, width)."""
        dtype = self.scene[0].skip.weight.dtype
        spoken = (
            _tokens(self.expression, faces.expression * 2 - 0.5, _EXPRESSION_AT),
            _tokens(self.identity, faces.identity, _IDENTITY_AT),
        )
        scene = [
            group(numbers.to(dtype))
            for group, numbers in zip(
                self.scene, (2 * faces.pose_shares(), faces.light, faces.variation), strict=True
            )
        ]
        return *spoken, torch.cat(scene, dim=1)

    def beside(
        self,
        text: Float[Tensor, "batch states width"],
        faces: FaceParameters,
        generator: torch.Generator,
        *,
        pairs: bool = False,
    ) -> Heard:
        """Text states and, as `DROPS` says, tokens of the faces.

        Args:
            text: text states.
            faces: what the pictures show.
            generator: of the drops, on the device of the states.
            pairs: rows are takes, two by two; both are told the same, and always the expression.
        """
        expression, identity, scene = self(faces)
        size, device = len(text), text.device

        def kept(share: float, tokens: int, width: int) -> Bool[Tensor, "batch width"]:
            drawn = torch.rand(size, tokens, generator=generator, device=device) >= share
            drawn = drawn[::2].repeat_interleave(2, 0) if pairs else drawn
            return drawn.expand(size, width)

        mask = [
            torch.ones(text.shape[:2], dtype=torch.bool, device=device),
            kept(0.0 if pairs else DROPS["expression"], 1, expression.shape[1]),
            kept(DROPS["identity"], 1, identity.shape[1]),
            kept(DROPS["scene"], scene.shape[1], scene.shape[1]),
        ]
        states = torch.cat([text.to(expression), expression, identity, scene], dim=1)
        return Heard(states, torch.cat(mask, dim=1))


def _tokens(groups: nn.ModuleList, numbers: Tensor, places: list[list[int]]) -> Tensor:
    dtype = groups[0].skip.weight.dtype
    return torch.cat(
        [group(numbers[:, at].to(dtype)) for group, at in zip(groups, places, strict=True)], dim=1
    )
