"""The trunk of the judges: plain convolutions, one after the other.

No shortcuts, no depthwise convolutions, in the manner of VGG (Simonyan & Zisserman 2015), on purpose unlike
the residual and inverted blocks of the networks that condition, filter or teach: a judge must not share their
blind spots. Batch statistics make it learn from few pictures; when it judges they are frozen, so one picture
gets the same answer alone and in a batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SIDE = 96
"""Side in pixels of the pictures that the judges look at; other sizes are resampled."""

GRID = SIDE // 16
"""Side of the last feature map: the side is halved four times."""


class PlainTrunk(nn.Module):
    """Picture to a 6x6 feature map.

    Args:
        widths: channels of the four stages, at 48x48, 24x24, 12x12 and 6x6 positions.
    """

    def __init__(self, widths: tuple[int, int, int, int]):
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, width in enumerate(widths):
            layers += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if stage:
                layers += [
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
            before = width
        self.stages = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c 6 6"]:
        """Look at pictures.

        Args:
            images: RGB in [0, 1], any size; resampled to 96x96.
        """
        return self.stages((fit(images) - 0.5) * 4)


class PlacePool(nn.Module):
    """Weights a place and channel instead of a mean: faces are roughly aligned, so places mean something.

    Args:
        width: channels of the feature map.
        readings: numbers read.
    """

    def __init__(self, width: int, readings: int):
        super().__init__()
        self.narrow = nn.Sequential(
            nn.Conv2d(width, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()
        )
        self.read = nn.Linear(32 * GRID**2, readings)

    def forward(self, features: Float[Tensor, "b c 6 6"]) -> Float[Tensor, "b d"]:
        """Pool to [B, readings]."""
        return self.read(self.narrow(features))


def fit(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 96 96"]:
    """Resample pictures to the judges' side, antialiased, in channels-last memory."""
    if images.shape[-2:] != (SIDE, SIDE):
        images = functional.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)
