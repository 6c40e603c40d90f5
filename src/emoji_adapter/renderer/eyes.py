"""Eyes and brows."""

import torch
from torch import Tensor

from emoji_adapter.renderer import colours
from emoji_adapter.renderer.canvas import EYE_Y, Canvas, smoothstep

SIDES = (("Left", 1.0), ("Right", -1.0))
"""The subject's sides and where they lie: Left is at positive x, on the viewer's right."""


def eye_x(canvas: Canvas) -> Tensor:
    """Distance of the eyes' centres from the middle of the face."""
    return 0.262 * (1 + 0.10 * canvas.who("eye_spacing")) * (canvas.half_width / 0.60)


def draw_eyes(canvas: Canvas) -> None:
    """Both eyes with lids, irises and highlights."""
    for side, sign in SIDES:
        _draw_eye(canvas, side, sign)


def _draw_eye(canvas: Canvas, side: str, sign: float) -> None:
    blink, wide, squint = (canvas.does(f"eye{name}{side}") for name in ("Blink", "Wide", "Squint"))
    width = 0.203 * (1 + 0.07 * canvas.who("eye_size"))
    x = (canvas.x - sign * eye_x(canvas)) * sign  # grows towards the ear
    y = canvas.y - EYE_Y + x * (0.12 * canvas.who("eye_tilt"))
    arch = (1 - (x / width) ** 2).clamp_min(0)
    tall = 0.125 * (1 + 0.08 * canvas.who("eye_size"))
    closing = 0.045 * arch  # a closed lid hangs a little
    upper = torch.lerp(-tall * (1 + 0.50 * wide - 0.38 * squint) * arch**0.7, closing, blink)
    lower = torch.lerp(0.092 * (1 + 0.22 * wide - 0.80 * squint) * arch**0.75, closing, blink)
    outside = torch.maximum(torch.maximum(upper - y, y - lower), x.abs() - width)
    opening = canvas.soft(outside) * canvas.front * (1 - smoothstep(blink, 0.88, 0.97))
    _shade_lids(canvas, x, y, upper, lower, arch, width, squint, wide, blink)
    canvas.paint(opening, canvas.rgb(0.97, 0.97, 0.98))
    canvas.shade(opening * smoothstep(y - upper, 0.07, 0.0), 0.80)
    _draw_iris(canvas, side, sign, x, y, opening, width)
    line = canvas.soft((y - upper).abs() - 0.021 * (0.35 + 0.65 * arch.sqrt())) * (arch > 0) * canvas.front
    canvas.paint(line, 0.30 * colours.brow(canvas))
    under = canvas.soft((y - lower).abs() - 0.007) * (arch > 0.05) * canvas.front * (1 - blink)
    canvas.shade(under * 0.6, 0.5)


def _shade_lids(  # noqa: PLR0913
    canvas: Canvas, x: Tensor, y: Tensor, upper: Tensor, lower: Tensor, arch: Tensor, width: Tensor,
    squint: Tensor, wide: Tensor, blink: Tensor,
) -> None:  # fmt: skip
    """The lid above the eye, deeper when it is closed, and the fold that a squint pushes up below it."""
    lid = smoothstep(upper - y, 0.10, 0.0) * (y < upper) * (x.abs() < width * 1.02) * canvas.front
    canvas.shade(lid * arch.sqrt() * (0.55 + 0.45 * blink) * (1 - 0.7 * wide), 0.78)
    fold = canvas.soft((y - lower - 0.062).abs() - 0.016, 1.6) * (x.abs() < width * 0.85) * canvas.front
    canvas.shade(fold * squint, 0.55)


def _draw_iris(
    canvas: Canvas, side: str, sign: float, x: Tensor, y: Tensor, opening: Tensor, width: Tensor
) -> None:
    out_, in_, up, down = (canvas.does(f"eyeLook{name}{side}") for name in ("Out", "In", "Up", "Down"))
    cx, cy = 0.098 * (out_ - in_) * (width / 0.203), 0.062 * (down - up) - 0.008
    away = ((x - cx) ** 2 + (y - cy) ** 2).sqrt()
    canvas.paint(opening * canvas.soft(away - 0.088), 0.45 * colours.iris(canvas))
    canvas.paint(opening * canvas.soft(away - 0.072), colours.iris(canvas))
    canvas.paint(opening * canvas.soft(away - 0.040), canvas.rgb(0.03, 0.03, 0.04))
    spark = ((x - cx + sign * 0.028) ** 2 + (y - cy + 0.030) ** 2).sqrt()
    canvas.paint(opening * canvas.soft(spark - 0.022), canvas.rgb(1.0, 1.0, 1.0))


def draw_brows(canvas: Canvas) -> None:
    """Both brows: bars that sink and knit, rise at the outer end, or rise at the inner end."""
    inner_up = canvas.does("browInnerUp")
    for side, sign in SIDES:
        down, outer = canvas.does(f"browDown{side}"), canvas.does(f"browOuterUp{side}")
        x = canvas.x * sign
        start, end = 0.085 - 0.035 * down, 0.46
        t = ((x - start) / (end - start)).clamp(0, 1)
        base = -0.345 - 0.028 * canvas.who("brow_height")
        tilt = 0.045 * canvas.who("brow_tilt")
        line = base - 0.055 * (4 * t * (1 - t)) * (1 + 0.5 * outer) - tilt * (t - 0.5)
        line = line + down * (0.125 * (1 - t) ** 1.2 + 0.02 * t) - outer * (0.03 + 0.15 * t)
        line = line - inner_up * (0.15 * (1 - t) ** 1.3 - 0.045 * t)
        thick = 0.036 * (1 + 0.35 * canvas.who("brow_thickness")) * (1.15 - 0.65 * t**1.5)
        beyond = (start - x).clamp_min(0) + (x - end).clamp_min(0)
        away = ((canvas.y - line) ** 2 + beyond**2).sqrt() - thick
        canvas.paint(canvas.soft(away) * canvas.front, colours.brow(canvas))
        frown = canvas.soft((canvas.x * sign - 0.045).abs() - 0.012, 1.6) * smoothstep(
            (canvas.y + 0.27).abs(), 0.09, 0.04
        )
        canvas.shade(frown * down * canvas.front, 0.62)
