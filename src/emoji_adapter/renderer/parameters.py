"""The numbers that a drawn face is made of, and how they are drawn at random."""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

IDENTITY_NAMES: tuple[str, ...] = (
    "skin_tone", "skin_hue", "head_width", "head_length", "jaw_width", "chin_width", "cheeks",
    "hair_kind", "hair_length", "hair_volume", "hair_hue", "hair_light", "fringe", "parting",
    "eye_size", "eye_spacing", "eye_tilt", "eye_hue", "eye_light",
    "nose_width", "nose_length", "mouth_width", "lip_fullness", "lip_hue",
    "brow_thickness", "brow_tilt", "brow_height", "beard", "freckles", "ear_size",
)  # fmt: skip
"""One number in [-1, 1] each. Hair belongs to the identity."""
IDENTITY_DIM = len(IDENTITY_NAMES)
POSE_LIMITS = (0.35, 0.28, 0.15, 0.10, 0.07, 0.05)
"""Half ranges of yaw, pitch, roll (radians), relative scale, and shift in x and y (half picture widths)."""
USUAL_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
"""A face seen from the front, upright and in the middle."""


@dataclass(frozen=True)
class FaceParameters:
    """A batch of faces as numbers.

    Attributes:
        identity: who, in [-1, 1], order `IDENTITY_NAMES`.
        expression: what the face does, in [0, 1], order `DRAWN`; zeros are neutral.
        pose: yaw, pitch, roll in radians, scale (1 is usual), shift in x and y in half picture widths.
        light: direction of the light in x and y (-1 to 1) and its strength (0 to 1).
        style, background, accessory: positions in the vocabulary.
        variation: nuisance in [-1, 1]: colours of clothes and accessories, shade of the background.
    """

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch drawn"]
    pose: Float[Tensor, "batch 6"]
    light: Float[Tensor, "batch 3"]
    style: Int[Tensor, " batch"]
    background: Int[Tensor, " batch"]
    accessory: Int[Tensor, " batch"]
    variation: Float[Tensor, "batch 8"]

    def __len__(self) -> int:
        return self.identity.shape[0]

    def to(self, device: torch.device | str) -> "FaceParameters":
        """The same faces on another device."""
        return FaceParameters(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def index(self, rows: Tensor | slice) -> "FaceParameters":
        """Some of the faces, by row."""
        return FaceParameters(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def replace(self, **tensors: Tensor) -> "FaceParameters":
        """The same faces with some tensors exchanged."""
        return replace(self, **tensors)

    def as_takes(self, count: int) -> "FaceParameters":
        """The same faces in runs of `count` that differ in the expression alone: all else is the first's."""
        first = torch.arange(len(self), device=self.expression.device) // count * count
        return self.index(first).replace(expression=self.expression)

    def turned_back(self, generator: torch.Generator) -> "FaceParameters":
        """The same faces with heads turned and shifted less, each by a share of its own between 0 and 1."""
        share = torch.rand(len(self), 1, generator=generator, device=self.pose.device)
        usual = self.pose.new_tensor(USUAL_POSE)
        return self.replace(pose=usual + share * (self.pose - usual))

    def pose_shares(self) -> Float[Tensor, "batch 6"]:
        """How far each head is from `USUAL_POSE`, as shares of `POSE_LIMITS`: in [-1, 1]."""
        return (self.pose - self.pose.new_tensor(USUAL_POSE)) / self.pose.new_tensor(POSE_LIMITS)

    @staticmethod
    def cat(batches: "list[FaceParameters]") -> "FaceParameters":
        """Several batches as one."""
        return FaceParameters(
            **{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(FaceParameters)}
        )


class _Dice:
    """Random numbers of one generator, on its device."""

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, low: float = 0.0, high: float = 1.0, width: int | None = None) -> Tensor:
        shape = (self.count,) if width is None else (self.count, width)
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def integer(self, high: int) -> Tensor:
        return torch.randint(high, (self.count,), generator=self.generator, device=self.device)

    def chance(self, share: float) -> Tensor:
        return (self.uniform() < share).float()

    def choice(self, *weights: float) -> Tensor:
        edges = torch.tensor(weights, device=self.device).cumsum(0)
        return torch.searchsorted(edges / edges[-1], self.uniform()).clamp_max(len(weights) - 1)


def sample_identity(count: int, generator: torch.Generator) -> Float[Tensor, "batch identity"]:
    """Draw people: every number uniform in [-1, 1] (our choice)."""
    return _Dice(count, generator).uniform(-1.0, 1.0, IDENTITY_DIM)


def _one_or_both(dice: _Dice) -> tuple[Tensor, Tensor]:
    """Activity of the left and of the right side: both alike, both, left only, right only."""
    kind, strength = dice.choice(0.4, 0.2, 0.2, 0.2), dice.uniform(0.45, 1.0)
    other = torch.where(kind == 1, dice.uniform(0.45, 1.0), strength)
    return strength * (kind != 3), other * (kind != 2)


def _eyes(dice: _Dice) -> dict[str, Tensor]:
    kind = dice.choice(0.34, 0.26, 0.2, 0.2)  # plain, blink, wide, squint
    blink, blink_other = _one_or_both(dice)
    full = dice.chance(0.6)
    blink, blink_other = (torch.where((full > 0) & (b > 0), 1.0, b) for b in (blink, blink_other))
    wide, squint = _one_or_both(dice), _one_or_both(dice)
    out: dict[str, Tensor] = {}
    for side, b, w, s in zip(("Left", "Right"), (blink, blink_other), wide, squint, strict=True):
        out |= {
            f"eyeBlink{side}": b * (kind == 1),
            f"eyeWide{side}": w * (kind == 2),
            f"eyeSquint{side}": s * (kind == 3),
        }
    return out


def _gaze(dice: _Dice, closed: Tensor) -> dict[str, Tensor]:
    """Both eyes look at the same point; closed eyes look nowhere."""
    angle, reach = dice.uniform(0, 2 * math.pi), dice.uniform(0.5, 1.0) * dice.chance(0.55) * (1 - closed)
    x, y = (angle.cos() * reach * 1.2).clamp(-1, 1), (angle.sin() * reach * 1.2).clamp(-1, 1)
    left, right, up, down = x.relu(), (-x).relu(), (-y).relu(), y.relu()
    return {
        "eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": right, "eyeLookOutRight": right,
        "eyeLookUpLeft": up, "eyeLookUpRight": up, "eyeLookDownLeft": down, "eyeLookDownRight": down,
    }  # fmt: skip


def _brows(dice: _Dice) -> dict[str, Tensor]:
    kind = dice.choice(0.28, 0.2, 0.18, 0.16, 0.18)  # plain, down, outer up, inner up, one up and one down
    down, up, swap = _one_or_both(dice), _one_or_both(dice), dice.chance(0.5)
    crossed = kind == 4
    strong = dice.uniform(0.5, 1.0)
    inner = dice.uniform(0.45, 1.0) * ((kind == 3) | ((kind == 2) & (dice.chance(0.3) > 0)))
    return {
        "browDownLeft": torch.where(crossed, strong * swap, down[0] * (kind == 1)),
        "browDownRight": torch.where(crossed, strong * (1 - swap), down[1] * (kind == 1)),
        "browOuterUpLeft": torch.where(crossed, strong * (1 - swap), up[0] * (kind == 2)),
        "browOuterUpRight": torch.where(crossed, strong * swap, up[1] * (kind == 2)),
        "browInnerUp": inner,
    }


def _mouth(dice: _Dice) -> dict[str, Tensor]:
    kind = dice.choice(0.22, 0.26, 0.2, 0.16, 0.16)  # plain, smile, frown, crossed, round or stretched
    smile, frown, stretch, sneer = (_one_or_both(dice) for _ in range(4))
    swap, strong = dice.chance(0.5), dice.uniform(0.5, 1.0)
    crossed, shaped, round_ = kind == 3, kind == 4, dice.chance(0.5)
    tongue = dice.uniform(0.5, 1.0) * dice.chance(0.14) * (1 - shaped.float())
    open_ = dice.uniform(0.35, 1.0) * dice.chance(0.42)
    puff = dice.uniform(0.5, 1.0) * dice.chance(0.1) * (open_ == 0) * (tongue == 0)
    open_ = torch.maximum(open_, 0.35 * (tongue > 0))
    side = dice.uniform(0.5, 1.0) * dice.chance(0.14)
    shift = dice.chance(0.5)
    sneering = dice.chance(0.16)
    return {
        "jawOpen": open_, "tongueOut": tongue, "cheekPuff": puff,
        "jawLeft": side * shift, "jawRight": side * (1 - shift),
        "mouthPucker": strong * shaped * round_,
        "mouthStretchLeft": stretch[0] * shaped * (1 - round_),
        "mouthStretchRight": stretch[1] * shaped * (1 - round_),
        "mouthSmileLeft": torch.where(crossed, strong * swap, smile[0] * (kind == 1)),
        "mouthSmileRight": torch.where(crossed, strong * (1 - swap), smile[1] * (kind == 1)),
        "mouthFrownLeft": torch.where(crossed, strong * (1 - swap), frown[0] * (kind == 2)),
        "mouthFrownRight": torch.where(crossed, strong * swap, frown[1] * (kind == 2)),
        "noseSneerLeft": sneer[0] * sneering, "noseSneerRight": sneer[1] * sneering,
    }  # fmt: skip


def sample_expression(count: int, generator: torch.Generator) -> Float[Tensor, "batch drawn"]:
    """Draw expressions: large, often lopsided or eyes closed; what cannot be seen is zero (our choice)."""
    dice = _Dice(count, generator)
    eyes = _eyes(dice)
    closed = ((eyes["eyeBlinkLeft"] > 0.6) & (eyes["eyeBlinkRight"] > 0.6)).float()
    values = eyes | _gaze(dice, closed) | _brows(dice) | _mouth(dice)
    return torch.stack([values[name].float() for name in DRAWN], dim=1)


def sample_scene(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw everything that is neither identity nor expression, by field name of `FaceParameters`."""
    dice = _Dice(count, generator)
    pose = dice.uniform(-1, 1, 6) * torch.tensor(POSE_LIMITS, device=dice.device)
    pose[:, 3] += 1.0
    light = torch.stack([dice.uniform(-0.8, 0.8), dice.uniform(-0.9, 0.1), dice.uniform()], dim=1)
    accessory = dice.integer(2 * len(ACCESSORIES)) - len(ACCESSORIES)
    return {
        "pose": pose,
        "light": light,
        "style": dice.integer(len(STYLES)),
        "background": dice.integer(len(BACKGROUNDS)),
        "accessory": accessory.clamp_min(0),
        "variation": dice.uniform(-1, 1, 8),
    }


def sample(count: int, generator: torch.Generator) -> FaceParameters:
    """Draw pictures of people: identity, expression and scene, each independent of the others."""
    identity, expression = sample_identity(count, generator), sample_expression(count, generator)
    return FaceParameters(identity=identity, expression=expression, **sample_scene(count, generator))
