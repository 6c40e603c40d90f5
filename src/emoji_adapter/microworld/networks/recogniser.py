"""Two small face recognisers in ArcFace's layout: aligned 112x112 crop in, 512 numbers out."""

from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.faces.batched import align_batch
from emoji_adapter.microworld.networks.blocks import (
    InvertedBlock,
    RenormBatchNorm2d,
    ResidualBlock,
    conv_norm,
)
from emoji_adapter.microworld.networks.onnx_export import export_onnx

SIZE, WIDTH = 112, 512


def normalise(crops: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """RGB in [0, 1] to what insightface feeds a recogniser: (x - 127.5) / 127.5 of the bytes."""
    return crops * 2.0 - 1.0


def _readout(channels: int) -> nn.Sequential:
    """7x7 features to 512 numbers of about unit variance: depth-wise over the whole map, then linear."""
    spread = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
    return nn.Sequential(
        spread,
        RenormBatchNorm2d(channels),
        nn.Conv2d(channels, WIDTH, 1, bias=False),
        RenormBatchNorm2d(WIDTH, affine=False),
        nn.Flatten(),
    )


class Recogniser(nn.Module):
    """The recogniser that conditions: residual blocks of 3x3 convolutions (sizes are our choice)."""

    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 96, 128)):
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, widths[0], 3, 2), nn.PReLU(widths[0])]
        for before, after in pairwise(widths):
            layers += [ResidualBlock(before, after, 2), ResidualBlock(after, after)]
        self.body = nn.Sequential(*layers)
        self.readout = _readout(widths[-1])

    def forward(self, crops: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch 512"]:
        """Embeddings, not normalised, of crops normalised by `normalise`."""
        return self.readout(self.body(crops)).float()


class SecondRecogniser(nn.Module):
    """A recogniser of other make for second opinions: inverted blocks with depth-wise 5x5 convolutions."""

    def __init__(self, widths: tuple[int, int, int, int] = (24, 40, 80, 128)):
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, widths[0], 3, 2), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [conv_norm(before, after, 3, 2), InvertedBlock(after, 5, 3), InvertedBlock(after, 5, 3)]
        self.body = nn.Sequential(*layers)
        self.readout = _readout(widths[-1])

    def forward(self, crops: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch 512"]:
        """Embeddings, not normalised, of crops normalised by `normalise`."""
        return self.readout(self.body(crops)).float()


def recognise(
    network: nn.Module, images: Float[Tensor, "batch 3 h w"], landmarks: Float[Tensor, "batch 5 2"]
) -> Float[Tensor, "batch 512"]:
    """Unit embeddings of faces in pictures in [0, 1], aligned as insightface does."""
    return functional.normalize(network(normalise(align_batch(images, landmarks, SIZE))), dim=1)


def export_recogniser(network: nn.Module, path: str | Path) -> Path:
    """Write a recogniser as an insightface recognition model: normalisation outside, dynamic batch."""
    dynamic = {"input.1": {0: "batch"}, "embedding": {0: "batch"}}
    example = torch.zeros(1, 3, SIZE, SIZE)
    return export_onnx(network, [example], path, inputs=["input.1"], outputs=["embedding"], dynamic=dynamic)
