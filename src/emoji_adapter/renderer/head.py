"""Head, ears, neck, nose and the relief of the face."""

import torch

from emoji_adapter.renderer import colours
from emoji_adapter.renderer.canvas import EYE_Y, MOUTH_Y, NOSE_Y, Canvas, bump, smoothstep
from emoji_adapter.renderer.eyes import SIDES, eye_x
from emoji_adapter.renderer.mouth import half_width


def draw_neck(canvas: Canvas) -> None:
    """Neck and shoulders."""
    neck = canvas.soft(canvas.px.abs() - 0.27 * (1 + 0.1 * canvas.who("jaw_width"))) * smoothstep(
        canvas.py, 0.2, 0.3
    )
    skin = colours.skin(canvas)
    canvas.paint(neck, 0.72 * skin)
    canvas.height = canvas.height + neck * (0.18 - 1.5 * canvas.px**2)
    slope = 0.92 + 0.68 * (canvas.px / 0.9) ** 2 + 0.10 * torch.exp(-((canvas.px / 0.3) ** 2))
    body = canvas.soft(slope - canvas.py)
    canvas.paint(body, colours.clothes(canvas, 0))
    canvas.height = torch.where(
        body > 0.5, 0.25 - 0.12 * canvas.px**2 + 0.2 * (canvas.py - slope).clamp(0, 0.3), canvas.height
    )


def draw_ears(canvas: Canvas) -> None:
    """Ears: they lie behind the head and move against its turn."""
    for _, sign in SIDES:
        x = (canvas.px * sign - canvas.half_width * 0.97 + sign * 0.20 * canvas.yaw.sin()) / (
            0.105 * (1 + 0.2 * canvas.who("ear_size"))
        )
        y = (canvas.py - 0.02 - 0.4 * canvas.pitch.sin()) / (0.165 * (1 + 0.2 * canvas.who("ear_size")))
        mask = canvas.soft(((x**2 + y**2 + 1e-6).sqrt() - 1) * 0.12)
        canvas.paint(mask, 0.93 * colours.skin(canvas))
        canvas.shade(canvas.soft(((x**2 + y**2 + 1e-6).sqrt() - 0.55) * 0.12, 2.0), 0.80)
        canvas.height = torch.maximum(canvas.height, mask * 0.12 * (1 - 0.5 * (x**2 + y**2)).clamp_min(0))


def draw_head(canvas: Canvas) -> None:
    """The head's skin and its relief; beard and freckles."""
    canvas.paint(canvas.head, colours.skin(canvas))
    canvas.height = torch.where(
        canvas.head > 0.5, 0.15 + 0.55 * canvas.depth + _relief(canvas) * canvas.front, canvas.height
    )
    _draw_beard(canvas)
    _draw_freckles(canvas)


def _relief(canvas: Canvas) -> torch.Tensor:
    x, y = canvas.x, canvas.y
    wide = 1 + 0.28 * canvas.who("nose_width")
    tip = NOSE_Y + 0.035 * canvas.who("nose_length")
    relief = (
        0.105
        * torch.exp(-((x / (0.062 * wide)) ** 2))
        * smoothstep(y, -0.22, tip)
        * smoothstep(y, tip + 0.10, tip)
    )
    relief = relief + 0.095 * bump(x, y, 0.0, tip, 0.088 * wide, 0.075)
    relief = relief + 0.030 * bump(x, y, 0.0, MOUTH_Y + 0.29, 0.16, 0.10)
    relief = relief + (0.022 + 0.075 * canvas.does("mouthPucker")) * bump(x, y, 0.0, MOUTH_Y, 0.20, 0.13)
    puff = canvas.does("cheekPuff")
    for side, sign in SIDES:
        smile, sneer = canvas.does(f"mouthSmile{side}"), canvas.does(f"noseSneer{side}")
        relief = relief + (0.035 + 0.07 * smile + 0.02 * canvas.who("cheeks")) * bump(
            x, y, sign * 0.34, 0.16 - 0.05 * smile, 0.14, 0.11
        )
        relief = relief + 0.13 * puff * bump(x, y, sign * 0.37, 0.36, 0.17, 0.17)
        relief = relief + 0.05 * bump(x, y, sign * 0.095 * wide, tip + 0.025 - 0.045 * sneer, 0.048, 0.04)
        relief = relief - 0.035 * bump(x, y, sign * eye_x(canvas), EYE_Y, 0.20, 0.15)
        relief = relief + 0.030 * bump(x, y, sign * 0.24, -0.32, 0.20, 0.06)
    return relief


def draw_nose(canvas: Canvas) -> None:
    """Nostrils and the shadow under the tip."""
    wide = 1 + 0.28 * canvas.who("nose_width")
    tip = NOSE_Y + 0.035 * canvas.who("nose_length")
    for side, sign in SIDES:
        rise = 0.045 * canvas.does(f"noseSneer{side}")
        x, y = (canvas.x * sign - 0.062 * wide) / 0.036, (canvas.y - tip - 0.062 + rise) / 0.021
        canvas.shade(canvas.soft(((x**2 + y**2 + 1e-6).sqrt() - 1) * 0.026) * canvas.front, 0.36)
        wing = canvas.soft(((canvas.x * sign - 0.118 * wide).abs() - 0.011), 1.5) * smoothstep(
            (canvas.y - tip - 0.03 + rise).abs(), 0.055, 0.02
        )
        canvas.shade(wing * canvas.front, 0.70)
    under = bump(canvas.x, canvas.y, 0.0, tip + 0.095, 0.10 * wide, 0.025)
    canvas.shade(under * canvas.front, 0.82)


def _draw_beard(canvas: Canvas) -> None:
    """Stubble to full beard for a third of the people, kept clear of the mouth."""
    amount = smoothstep(canvas.who("beard"), 0.35, 0.75)
    jaw = smoothstep(canvas.y, 0.16, 0.36) * smoothstep(canvas.x.abs() + 1.1 * (canvas.y - 0.1), 0.46, 0.60)
    lip = smoothstep((canvas.y - MOUTH_Y + 0.125).abs(), 0.055, 0.025) * smoothstep(
        canvas.x.abs(), 0.30, 0.20
    )
    widest = torch.maximum(half_width(canvas, "Left"), half_width(canvas, "Right"))
    clear = smoothstep(
        ((canvas.x / (widest + 0.07)) ** 2 + ((canvas.y - MOUTH_Y - 0.01) / 0.13) ** 2).sqrt(), 0.85, 1.1
    )
    mask = torch.maximum(jaw * clear, lip) * amount * canvas.front
    canvas.paint(mask * 0.85, 0.85 * colours.hair(canvas))


def _draw_freckles(canvas: Canvas) -> None:
    amount = smoothstep(canvas.who("freckles"), 0.4, 0.7)
    dots = (torch.sin(canvas.x.abs() * 62.0) * torch.sin(canvas.y * 62.0 + 1.0)).clamp_min(0)
    place = bump(canvas.x.abs(), canvas.y, 0.27, 0.13, 0.15, 0.075)
    canvas.shade(smoothstep(dots, 0.3, 0.8) * place * amount * canvas.front, 0.66)
