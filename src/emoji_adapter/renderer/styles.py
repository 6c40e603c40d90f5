"""Six looks that differ in colour and shade rather than in fine texture."""

from dataclasses import dataclass

import torch
from torch import Tensor

from emoji_adapter.renderer.canvas import Canvas, smoothstep
from emoji_adapter.renderer.colours import luminance
from emoji_adapter.renderer.vocabulary import STYLES


@dataclass(frozen=True)
class _Look:
    """How a style is lit: ambient and Lambert light, its hardness in [0, 1], gloss, how far to the side."""

    ambient: float
    diffuse: float
    hard: float
    gloss: float
    slant: float


_LOOKS = {
    "photo": _Look(0.50, 0.62, 0.0, 0.16, 0.55),
    "cartoon": _Look(0.80, 0.26, 1.0, 0.0, 0.5),
    "watercolor": _Look(0.80, 0.26, 0.0, 0.0, 0.45),
    "noir": _Look(0.36, 0.86, 0.3, 0.10, 0.95),
    "sepia": _Look(0.46, 0.72, 0.0, 0.10, 0.5),
    "neon": _Look(0.44, 0.34, 0.0, 0.06, 0.4),
}


def _normals(height: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit normals of a relief in half picture widths; height is (batch, size, size)."""
    size = height.shape[-1]
    padded = torch.nn.functional.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    gx = ((padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * (size / 4)).clamp(-2.2, 2.2)
    gy = ((padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * (size / 4)).clamp(-2.2, 2.2)
    length = (gx**2 + gy**2 + 1).sqrt()
    return -gx / length, -gy / length, 1 / length


def _per_style(canvas: Canvas, name: str) -> Tensor:
    values = torch.tensor([getattr(_LOOKS[style], name) for style in STYLES], device=canvas.colour.device)
    return values[canvas.parameters.style][:, None, None]


def finish(canvas: Canvas, backdrop: Tensor) -> Tensor:
    """Light the figure, lay it over the backdrop and grade the picture.

    Args:
        canvas: The drawn figure.
        backdrop: (batch, 3, size, size).

    Returns:
        The picture, (batch, 3, size, size) in [0, 1].
    """
    nx, ny, nz = _normals(canvas.height)
    slant = _per_style(canvas, "slant")
    lx, ly, strength = (row[:, None, None] for row in canvas.parameters.light.T)
    lx, ly = lx * slant, ly * slant - 0.15
    length = (lx**2 + ly**2 + 0.75).sqrt()
    lambert = ((nx * lx + ny * ly + nz * 0.75**0.5) / length).clamp_min(0)
    lambert = torch.lerp(lambert, smoothstep(lambert, 0.58, 0.82), _per_style(canvas, "hard"))
    gloss = ((nx * lx + ny * ly + nz * (0.75**0.5 + length)) / (2 * length)).clamp_min(0) ** 24 * _per_style(
        canvas, "gloss"
    )
    light = _per_style(canvas, "ambient") + _per_style(canvas, "diffuse") * lambert * (0.88 + 0.24 * strength)
    lit = canvas.colour * light[:, None] + gloss[:, None]
    rim = (1 - nz) ** 1.5
    figure = canvas.figure
    edge = 4 * figure * (1 - figure)
    parts = (lit, figure[:, None], backdrop, edge[:, None], rim[:, None], nx[:, None])
    out = torch.zeros_like(lit)
    for number, grade in enumerate((_photo, _cartoon, _watercolor, _noir, _sepia, _neon)):
        out = torch.where(
            (canvas.parameters.style == number)[:, None, None, None], grade(canvas, *parts), out
        )
    return out.clamp(0, 1)


def _over(figure: Tensor, front: Tensor, back: Tensor) -> Tensor:
    return back + figure * (front - back)


def _vignette(canvas: Canvas, strength: float) -> Tensor:
    return (1 - strength * smoothstep((canvas.u**2 + canvas.v**2).sqrt(), 0.6, 1.45))[:, None]


def _saturate(colour: Tensor, factor: float) -> Tensor:
    grey = luminance(colour)
    return grey + factor * (colour - grey)


def _photo(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    return _over(figure, lit * (1 - 0.12 * rim), back * 0.94) * _vignette(canvas, 0.22)


def _cartoon(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    flat = _over(figure, _saturate(lit, 1.30) * 1.03, _saturate(0.15 + 0.85 * back, 1.25))
    line = torch.maximum(edge * 1.2, smoothstep(rim, 0.30, 0.48) * 0.55 * figure)
    return flat * (1 - 0.82 * line.clamp(0, 1))


def _watercolor(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    paper = torch.tensor([0.97, 0.95, 0.91], device=lit.device).reshape(1, 3, 1, 1)
    wash = 0.5 + 0.5 * torch.sin(3.1 * canvas.u + 2.3 * canvas.v) * torch.cos(2.7 * canvas.v - 1.3 * canvas.u)
    soft = _over(
        figure,
        paper + 0.74 * (_saturate(lit, 1.25) * 1.08 - paper),
        paper + (0.42 + 0.22 * wash[:, None]) * (back - paper),
    )
    return soft * (1 - 0.20 * edge)


def _noir(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    tint = torch.tensor([0.90, 0.98, 1.12], device=lit.device).reshape(1, 3, 1, 1)
    grey = luminance(lit).clamp(0.02, 1) ** 0.85
    tone = 0.92 * smoothstep(grey, -0.08, 1.06) * tint
    return _over(figure, tone, 0.45 * _saturate(back, 0.62)) * _vignette(canvas, 0.45)


def _sepia(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    tint = torch.tensor([1.06, 0.86, 0.62], device=lit.device).reshape(1, 3, 1, 1)
    tone = (0.06 + 1.12 * luminance(lit)) * tint
    return _over(figure, tone, 0.30 * luminance(back) * tint + 0.62 * _saturate(back, 0.75)) * _vignette(
        canvas, 0.32
    )


def _neon(
    canvas: Canvas, lit: Tensor, figure: Tensor, back: Tensor, edge: Tensor, rim: Tensor, nx: Tensor
) -> Tensor:
    pink, cyan = (
        torch.tensor(c, device=lit.device).reshape(1, 3, 1, 1) for c in ((1.0, 0.16, 0.75), (0.10, 0.85, 1.0))
    )
    glow = rim * (smoothstep(nx, 0.05, 0.5) * cyan + smoothstep(nx, -0.05, -0.5) * pink)
    night = torch.tensor([0.86, 0.78, 1.14], device=lit.device).reshape(1, 3, 1, 1)
    return _over(figure, _saturate(lit, 1.15) * night + 1.25 * glow, 0.50 * _saturate(back, 1.35))
