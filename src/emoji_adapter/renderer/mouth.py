"""Mouth, teeth, tongue, and the folds around them."""

import torch
from torch import Tensor

from emoji_adapter.renderer import colours
from emoji_adapter.renderer.canvas import MOUTH_Y, Canvas, smoothstep
from emoji_adapter.renderer.eyes import SIDES


def _by_side(canvas: Canvas, x: Tensor, name: str) -> Tensor:
    """The expression number of the side that x lies on, blended over the middle."""
    left = smoothstep(x, -0.12, 0.12)
    return left * canvas.does(name + "Left") + (1 - left) * canvas.does(name + "Right")


def mouth_shift(canvas: Canvas) -> Tensor:
    """How far the jaw carries the mouth sideways."""
    return 0.105 * (canvas.does("jawLeft") - canvas.does("jawRight"))


def half_width(canvas: Canvas, side: str) -> Tensor:
    """Distance of a mouth corner from the middle of the mouth."""
    wide = 1 + 0.30 * canvas.does(f"mouthStretch{side}") + 0.12 * canvas.does(f"mouthSmile{side}")
    wide = (
        wide
        * (1 - 0.50 * canvas.does("mouthPucker"))
        * (1 - 0.10 * canvas.does("jawOpen") - 0.16 * canvas.does("cheekPuff"))
    )
    return 0.300 * (1 + 0.10 * canvas.who("mouth_width")) * wide


def corner_height(canvas: Canvas, side: str) -> Tensor:
    """How far a mouth corner is below the middle of the closed mouth."""
    return 0.150 * canvas.does(f"mouthFrown{side}") - 0.165 * canvas.does(f"mouthSmile{side}")


def draw_mouth(canvas: Canvas) -> None:
    """Lips with whatever shows between them, and the tongue when it is out."""
    jaw, pucker, tongue = canvas.does("jawOpen"), canvas.does("mouthPucker"), canvas.does("tongueOut")
    x, y = canvas.x - mouth_shift(canvas), canvas.y - MOUTH_Y
    right = x < 0
    width = torch.where(right, half_width(canvas, "Right"), half_width(canvas, "Left"))
    corner = torch.where(right, corner_height(canvas, "Right"), corner_height(canvas, "Left"))
    s = (x / width).abs()
    arch = (1 - s**2).clamp_min(0)
    lift_all = 0.14 * (corner_height(canvas, "Right") + corner_height(canvas, "Left"))
    middle = corner * s.clamp_max(1) ** 1.7 - lift_all
    sneer = _by_side(canvas, x, "noseSneer")
    lift = sneer * 0.085 * torch.exp(-(((s - 0.45) / 0.38) ** 2))
    gap = jaw * 0.155 + pucker * 0.016
    upper = middle - 0.30 * gap * arch**0.6 - lift * arch.sqrt()
    lower = middle + 1.45 * gap * arch**0.6
    full = 1 + 0.45 * canvas.who("lip_fullness") + 0.55 * pucker - 0.35 * canvas.mean("mouthStretch")
    top, bottom = upper - 0.052 * full * arch.sqrt(), lower + 0.060 * full * arch.sqrt()
    lip = colours.lips(canvas)
    canvas.paint(
        canvas.soft(torch.maximum(torch.maximum(top - y, y - bottom), (s - 1) * width)) * canvas.front, lip
    )
    canvas.shade(canvas.soft(torch.maximum(top - y, y - upper)) * (s < 1) * canvas.front, 0.84)
    hole = canvas.soft(torch.maximum(upper - y, y - lower)) * (s < 1) * canvas.front
    hole = hole * smoothstep(jaw + sneer + pucker, 0.02, 0.2)
    canvas.paint(hole, canvas.rgb(0.24, 0.05, 0.07))
    _draw_inside(canvas, x, y, upper, lower, hole, width, tongue)
    seam = canvas.soft((y - upper).abs() - 0.013) * canvas.soft((s - 1.02) * width) * canvas.front
    canvas.paint(seam, 0.20 * lip + 0.02)
    for side, sign in SIDES:
        dot = (
            (x - sign * half_width(canvas, side)) ** 2 + (y - 0.72 * corner_height(canvas, side)) ** 2
        ).sqrt()
        canvas.paint(canvas.soft(dot - 0.019) * canvas.front, 0.22 * lip + 0.02)
    _draw_tongue(canvas, x, y, jaw, tongue, lower)


def _draw_inside(
    canvas: Canvas,
    x: Tensor,
    y: Tensor,
    upper: Tensor,
    lower: Tensor,
    hole: Tensor,
    width: Tensor,
    tongue: Tensor,
) -> None:
    teeth = (
        hole
        * canvas.soft(y - upper - 0.062)
        * canvas.soft(x.abs() - 0.80 * width)
        * (1 - canvas.does("mouthPucker"))
    )
    canvas.paint(teeth, canvas.rgb(0.96, 0.95, 0.91))
    bed = ((x / (0.62 * width)) ** 2 + ((y - lower) / 0.085) ** 2).sqrt() - 1
    canvas.paint(hole * canvas.soft(bed * 0.09) * (1 - tongue), canvas.rgb(0.80, 0.33, 0.36))


def _draw_tongue(canvas: Canvas, x: Tensor, y: Tensor, jaw: Tensor, tongue: Tensor, lower: Tensor) -> None:
    start, length = 0.06 * jaw, 0.05 + 0.20 * tongue + 0.15 * jaw
    tip = y - start - length
    side = x.abs() - 0.118
    round_ = ((x / 0.118) ** 2 + (tip.clamp_min(-0.09) / 0.09 + 1).clamp_min(0) ** 2).sqrt() - 1
    shape = torch.where(tip > -0.09, round_ * 0.1, side)
    mask = canvas.soft(torch.maximum(shape, start - y)) * canvas.front * smoothstep(tongue, 0.1, 0.3)
    canvas.paint(mask, canvas.rgb(0.90, 0.38, 0.42))
    canvas.shade(mask * canvas.soft(x.abs() - 0.012, 1.5) * canvas.soft(tip + 0.07), 0.72)


def draw_folds(canvas: Canvas) -> None:
    """Folds from the nose to the corners of the mouth, wrinkles of a sneer, blush of puffed cheeks."""
    for side, sign in SIDES:
        smile, sneer = canvas.does(f"mouthSmile{side}"), canvas.does(f"noseSneer{side}")
        x, y = canvas.x * sign, canvas.y
        end = half_width(canvas, side) + 0.05
        t = ((y - 0.20) / 0.26).clamp(0, 1)
        path = 0.135 + (end - 0.135) * t**0.8 + 0.05 * t * (1 - t)
        reach = smoothstep(y, 0.16, 0.22) * smoothstep(y, 0.46, 0.38)
        fold = canvas.soft((x - path).abs() - 0.013, 1.6) * reach * canvas.front
        canvas.shade(fold * torch.maximum(smile, 0.8 * sneer), 0.66)
        wrinkle = torch.cos((y - 0.02 + 0.5 * x) * 48.0).clamp_min(0) ** 2
        place = smoothstep((x - 0.085).abs(), 0.065, 0.02) * smoothstep((y - 0.02).abs(), 0.13, 0.06)
        canvas.shade(wrinkle * place * sneer * canvas.front, 0.52)
    puff = canvas.does("cheekPuff")
    for sign in (1.0, -1.0):
        away = ((canvas.x - sign * 0.36) ** 2 + (canvas.y - 0.34) ** 2).sqrt()
        blush = smoothstep(away, 0.22, 0.05) * canvas.front * puff * 0.38
        canvas.paint(blush, canvas.rgb(0.90, 0.34, 0.34))
