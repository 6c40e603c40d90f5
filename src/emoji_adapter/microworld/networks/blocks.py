"""Building blocks that the stand-in networks share: plain convolutional ones with batch normalisation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class RenormBatchNorm2d(nn.BatchNorm2d):
    """Batch renormalisation (Ioffe 2017, arXiv 1702.03275): trains as the network will run.

    Batches of one kind each (small canvases, then large ones) have statistics of their own. Plain batch
    normalisation trains with these and runs with their mean; here the running statistics count in training
    too, after a start in which they settle. In evaluation mode it is plain batch normalisation.
    """

    START, RAMP, MOST_SCALE, MOST_SHIFT = 200, 1000, 3.0, 5.0
    """Batches without and batches until full correction, and its limits (the paper's)."""

    def __init__(self, width: int, *, affine: bool = True):
        super().__init__(width, momentum=0.02, affine=affine)

    def forward(self, input: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Features of the same shape."""
        if not self.training:
            return super().forward(input)
        scale, shift = self._correction(input)
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return functional.batch_norm(input, None, None, scale, shift, training=True, eps=self.eps)

    @torch.no_grad()
    def _correction(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What takes the batch's normalisation to that of the running statistics; then these are moved on."""
        running_mean, running_var, seen = self.running_mean, self.running_var, self.num_batches_tracked
        assert running_mean is not None  # noqa: S101, always tracked
        assert running_var is not None  # noqa: S101
        assert seen is not None  # noqa: S101
        var, mean = torch.var_mean(features.float(), dim=(0, 2, 3), correction=0)
        share = ((seen.float() - self.START) / self.RAMP).clamp(0, 1)
        most, reach = 1 + (self.MOST_SCALE - 1) * share, self.MOST_SHIFT * share
        spread = (running_var + self.eps).sqrt()
        scale = torch.minimum(torch.maximum((var + self.eps).sqrt() / spread, 1 / most), most)
        shift = torch.minimum(torch.maximum((mean - running_mean) / spread, -reach), reach)
        running_mean.lerp_(mean, self.momentum or 0.0)
        running_var.lerp_(var, self.momentum or 0.0)
        seen.add_(1)
        return scale, shift


def conv_norm(channels: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation; the two become one convolution in ONNX."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, RenormBatchNorm2d(width))


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
        nn.init.zeros_(self.narrow.get_parameter("1.weight"))

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
