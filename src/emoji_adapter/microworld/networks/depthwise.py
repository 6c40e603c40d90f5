"""The trunk of the judges: depthwise convolutions and channel perceptrons.

The form is that of ConvNeXt (Liu et al., 2022, https://arxiv.org/abs/2201.03545, figure 4), on purpose
unlike the plain
residual networks of the recognisers that condition the adapter: a judge must not share its blind spots with
    a teacher.
No batch statistics anywhere, so one picture gets the same answer alone and in a batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SIDE = 96
"""Side in pixels of the pictures that the judges look at; other sizes are resampled."""

GRID = SIDE // 16
"""Side of the last feature map: two strided convolutions and two downsamplings halve the side four times."""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a [B, C, H, W] map, position by position."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; the memory layout stays channels-last where it was."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class DepthwiseBlock(nn.Module):
    """Depthwise 5x5 convolution, then a perceptron on the channels, added to the input.

    Args:
        width: channels.
        expansion: hidden channels of the perceptron, in widths.
    """

    def __init__(self, width: int, expansion: int = 4):
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Refine a feature map; the shape stays."""
        hidden = self.norm(self.spatial(features).permute(0, 2, 3, 1))
        hidden = self.narrow(functional.gelu(self.widen(hidden))) * self.gain
        return features + hidden.permute(0, 3, 1, 2)


class DepthwiseTrunk(nn.Module):
    """Picture to a 6x6 feature map.

    Args:
        widths: channels of the three stages, at 24x24, 12x12 and 6x6 positions.
        depths: blocks of the three stages.
    """

    def __init__(self, widths: tuple[int, int, int], depths: tuple[int, int, int]):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0] // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(widths[0] // 2, widths[0], 3, stride=2, padding=1),
            ChannelNorm(widths[0]),
        )
        layers: list[nn.Module] = []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                layers += [ChannelNorm(widths[stage - 1]), nn.Conv2d(widths[stage - 1], width, 2, stride=2)]
            layers += [DepthwiseBlock(width) for _ in range(depth)]
        self.stages = nn.Sequential(*layers, ChannelNorm(widths[-1]))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c 6 6"]:
        """Look at pictures.

        Args:
            images: RGB in [0, 1], any size; resampled to 96x96.
        """
        return self.stages(self.stem((fit(images) - 0.5) * 4))


class PlacePool(nn.Module):
    """One weight a place and channel instead of a mean: faces are roughly aligned, so places mean something.

    Args:
        width: channels of the feature map.
        readings: weighted sums taken of each channel.
    """

    def __init__(self, width: int, readings: int):
        super().__init__()
        self.weigh = nn.Conv2d(width, width * readings, GRID, groups=width)

    def forward(self, features: Float[Tensor, "b c 6 6"]) -> Float[Tensor, "b d"]:
        """Pool to [B, width * readings]."""
        return self.weigh(features).flatten(1)


def fit(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 96 96"]:
    """Resample pictures to the judges' side, antialiased, in channels-last memory."""
    if images.shape[-2:] != (SIDE, SIDE):
        images = functional.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)
