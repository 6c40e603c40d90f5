"""Background and accessories."""

import torch

from emoji_adapter.renderer import colours
from emoji_adapter.renderer.canvas import EYE_Y, Canvas, smoothstep
from emoji_adapter.renderer.eyes import SIDES, eye_x
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUND_RGB


def background(canvas: Canvas) -> torch.Tensor:
    """The backdrop, (batch, 3, size, size): its colour with a soft light somewhere behind the person."""
    table = torch.tensor(BACKGROUND_RGB, device=canvas.colour.device)
    colour = table[canvas.parameters.background][:, :, None, None] * (1 + 0.08 * canvas.nuisance[1][:, None])
    cx, cy = 0.5 * canvas.nuisance[2], 0.5 * canvas.nuisance[3] - 0.2
    glow = torch.exp(-((canvas.u - cx) ** 2 + (canvas.v - cy) ** 2) / 0.9)[:, None]
    return (colour * (0.78 + 0.38 * glow)).clamp(0, 1)


def _wears(canvas: Canvas, name: str) -> torch.Tensor:
    return (canvas.parameters.accessory == ACCESSORIES.index(name)).float()[:, None, None]


def draw_scarf(canvas: Canvas) -> None:
    """A scarf around the neck."""
    worn = _wears(canvas, "scarf")
    bend = 0.80 + 0.10 * (1 - (canvas.px / 0.5) ** 2).clamp_min(-0.6)
    mask = canvas.soft(torch.maximum(bend - canvas.py, canvas.px.abs() - 0.56)) * worn
    mask = mask * canvas.soft(canvas.py - bend - 0.34)
    canvas.paint(mask, (colours.clothes(canvas, 4) * canvas.rgb(1.15, 0.75, 0.70)).clamp(0, 1) + 0.06)
    fold = torch.cos((canvas.py + 0.35 * canvas.px.abs()) * 26.0).clamp_min(0)
    canvas.shade(mask * fold, 0.78)
    canvas.height = torch.where(mask > 0.5, 0.42 - 0.5 * canvas.px**2 + 0.015 * fold, canvas.height)


def draw_glasses(canvas: Canvas) -> None:
    """Round glasses with a thick dark frame."""
    worn = _wears(canvas, "glasses") * canvas.front
    centre = eye_x(canvas)
    for _, sign in SIDES:
        away = (((canvas.x - sign * centre) / 1.08) ** 2 + (canvas.y - EYE_Y - 0.005) ** 2).sqrt()
        canvas.paint(worn * canvas.soft((away - 0.232).abs() - 0.019), canvas.rgb(0.10, 0.09, 0.12))
        arm = canvas.soft((canvas.y - EYE_Y + 0.03).abs() - 0.017) * smoothstep(
            canvas.x * sign - centre, 0.225, 0.245
        )
        canvas.paint(worn * arm, canvas.rgb(0.10, 0.09, 0.12))
    bridge = canvas.soft((canvas.y - EYE_Y + 0.02).abs() - 0.017) * canvas.soft(
        canvas.x.abs() - (centre - 0.235).clamp_min(0.02)
    )
    canvas.paint(worn * bridge, canvas.rgb(0.10, 0.09, 0.12))


def draw_hat(canvas: Canvas) -> None:
    """A knitted hat down to above the brows."""
    worn = _wears(canvas, "hat")
    px, py = canvas.px, canvas.py
    dome = (
        (px / (canvas.half_width + 0.13)).abs() ** 2.4
        + ((py + 0.10) / (canvas.half_height + 0.17)).abs() ** 2.4
        + 1e-6
    ) ** (1 / 2.4) - 1
    brim = torch.where(canvas.head > 0.5, canvas.y, py) + 0.53 - 0.10 * (px / 0.6) ** 2
    mask = canvas.soft(torch.maximum(dome * 0.65, brim)) * worn
    colour = colours.clothes(canvas, 5) * canvas.rgb(1.0, 0.92, 0.95)
    canvas.paint(mask, colour)
    band = canvas.soft((-brim - 0.07).abs() - 0.07) * mask
    canvas.shade(band, 0.78)
    canvas.height = torch.where(
        mask > 0.5, 0.28 + 0.55 * canvas.depth.clamp_min(0.2) + 0.02 * band, canvas.height
    )


def draw_earrings(canvas: Canvas) -> None:
    """Big golden drops below the ears."""
    worn = _wears(canvas, "earrings")
    for _, sign in SIDES:
        x = canvas.px * sign - canvas.half_width * 1.02 + sign * 0.20 * canvas.yaw.sin()
        y = canvas.py - 0.29 - 0.4 * canvas.pitch.sin()
        away = (x**2 + y**2 + 1e-6).sqrt()
        mask = canvas.soft(away - 0.085) * worn
        canvas.paint(mask, canvas.rgb(0.95, 0.76, 0.22))
        canvas.shade(mask * canvas.soft((away - 0.062).abs() - 0.012), 0.75)
        canvas.height = torch.where(
            mask > 0.5, 0.35 + 0.6 * (0.085**2 - away**2).clamp_min(0).sqrt(), canvas.height
        )
