"""A small face swapper in the layout of insightface's INSwapper."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.microworld.networks.blocks import conv_norm
from emoji_adapter.microworld.networks.onnx_export import export_onnx

SIZE, LATENT, CODE = 128, 512, 128


class _Styled(nn.Module):
    """Convolution whose normalised result is scaled and shifted by a code (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.convolution = conv_norm(channels, width)
        self.modulation = nn.Linear(CODE, 2 * width)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)
        return functional.leaky_relu(self.convolution(features) * (1 + scale) + shift, 0.1)


class _StyledResidual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _Styled(width, width), _Styled(width, width)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        return features + self.second(self.first(features, code), code)


class Swapper(nn.Module):
    """Aligned face and embedding of somebody else in, the same face as that person out.

    A U-Net without attention; the person enters at the bottom and on the way up. It paints a picture and a
    mask and keeps the target where the mask is low.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 96, 128), depth: int = 3):
        super().__init__()
        self.person = nn.Sequential(nn.Linear(LATENT, CODE), nn.SiLU(), nn.Linear(CODE, CODE), nn.SiLU())
        self.enter = nn.Sequential(conv_norm(3, widths[0]), nn.LeakyReLU(0.1))
        steps = [nn.Sequential(conv_norm(a, b, 3, 2), nn.LeakyReLU(0.1)) for a, b in pairwise(widths)]
        self.down = nn.ModuleList(steps)
        self.middle = nn.ModuleList(_StyledResidual(widths[-1]) for _ in range(depth))
        upward = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_Styled(below + width, width) for below, width in upward)
        self.out = nn.Conv2d(widths[0], 4, 3, padding=1)

    def forward(
        self, target: Float[Tensor, "batch 3 128 128"], source: Float[Tensor, "batch 512"]
    ) -> Float[Tensor, "batch 3 128 128"]:
        """Swapped faces, RGB in [0, 1].

        Args:
            target: crops aligned as `norm_crop` does at 128, RGB in [0, 1].
            source: unit embeddings of the wanted people.
        """
        code = self.person(source * LATENT**0.5)
        levels = [self.enter(target * 2.0 - 1.0)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        for block in self.middle:
            features = block(features, code)
        for up in self.up:
            wide = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = up(torch.cat([wide, levels.pop()], 1), code)
        picture, mask = self.out(features).float().sigmoid().split([3, 1], 1)
        return target + (picture - target) * mask


def export_swapper(swapper: Swapper, path: str | Path) -> Path:
    """Write the swapper as INSwapper expects it: inputs target, source; `emap`, the identity, comes last.

    `INSwapper` multiplies the unit embedding by `emap` and normalises again.
    """
    dynamic = {name: {0: "batch"} for name in ("target", "source", "output")}
    examples = [torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, LATENT)]
    emap = ("emap", np.eye(LATENT, dtype=np.float16))
    return export_onnx(
        swapper,
        examples,
        path,
        inputs=["target", "source"],
        outputs=["output"],
        dynamic=dynamic,
        last_initializer=emap,
    )
