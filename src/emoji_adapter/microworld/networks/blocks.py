"""Building blocks that the stand-in networks share: plain convolutional ones with batch normalisation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def conv_norm(channels: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation; the two become one convolution in ONNX."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width))


class InvertedBlock(nn.Module):
    """Depth-wise convolution, widening, narrowing, residual: much field of view for few parameters.

    Args:
        width: channels in and out.
        kernel: size of the depth-wise convolution.
        expansion: how much wider the middle is.
    """

    def __init__(self, width: int, kernel: int = 5, expansion: int = 2):
        super().__init__()
        self.spatial = conv_norm(width, width, kernel, groups=width)
        self.widen = conv_norm(width, width * expansion, 1)
        self.narrow = conv_norm(width * expansion, width, 1)
        nn.init.zeros_(self.narrow[1].weight)

    def forward(self, features: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Features of the same shape."""
        hidden = torch.relu(self.widen(self.spatial(features)))
        return features + self.narrow(hidden)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the first may halve the size, then the short cut is a strided 1x1 convolution."""

    def __init__(self, channels: int, width: int, stride: int = 1):
        super().__init__()
        self.first = conv_norm(channels, width, 3, stride)
        self.activation = nn.PReLU(width)
        self.second = conv_norm(width, width)
        plain = stride == 1 and channels == width
        self.shortcut = nn.Identity() if plain else conv_norm(channels, width, 1, stride)

    def forward(self, features: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d h2 w2"]:
        """Features, of half the size where the stride is 2."""
        return self.shortcut(features) + self.second(self.activation(self.first(features)))


def parameter_count(network: nn.Module) -> int:
    """Trainable parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
